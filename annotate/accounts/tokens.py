"""Decides which API tokens work: a person makes them for their own programs, with a scope and a date of expiry."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.models import ApiToken, User
from annotate.models.base import database_now, is_storable
from annotate.models.event import record
from annotate.models.incidental import by_the_way

PREFIX = "gl_"  # so that people and scanners of secrets know one when they see one
MAX_DAYS = 365
MAX_LIVE = 20
_HINT = len(PREFIX) + 4  # 24 of the 256 random bits are shown again in lists; the rest cannot be guessed
_MAY_SIGN_IN = Q(user__is_active=True, user__is_simulated=False)
_USED_EVERY = timedelta(minutes=1)  # how often `last_used_at` is written at most


@transaction.atomic
def create(*, by: User, name: str, scope: str, days: int = 90, now: datetime | None = None) -> tuple[ApiToken, str]:
    """Make a token for the programs of `by`; returns it with its secret.

    Only a hash of the secret is stored, so it is shown this once.
    """
    if not by.is_active or by.is_simulated:
        raise AccessDenied(_("This account has no tokens: nobody signs in with it."))
    name = name.strip()
    if not 1 <= len(name) <= 100 or not is_storable(name):
        raise InvalidInput(_("A token needs a name of 1 to 100 characters, by which you know it again."))
    if scope not in ApiToken.Scope.values:
        raise InvalidInput(_("%(scope)r is no scope of a token.") % {"scope": scope})
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(_("A token is valid for 1 to %(days)d days.") % {"days": MAX_DAYS})
    User.objects.select_for_update().get(pk=by.pk)  # two made at once count each other
    now, secret = now or database_now(), PREFIX + secrets.token_urlsafe(32)
    if live(by, now).count() >= MAX_LIVE:
        raise Conflict(_("You have %(n)d tokens, which is all you can have. Revoke one first.") % {"n": MAX_LIVE})
    token = ApiToken.objects.create(
        user=by,
        name=name,
        token_sha256=_digest(secret),
        hint=secret[:_HINT],
        scope=scope,
        expires_at=now + timedelta(days=days),
    )
    record("token.created", project=None, by=by, token=token.public_id, scope=scope, days=days)
    return token, secret


def verify(secret: str, *, now: datetime | None = None) -> ApiToken | None:
    """The token with this secret, its `user` loaded, if it works now; None otherwise.

    It is looked up by the hash of the whole secret, so the time that takes tells nothing about other secrets.
    """
    now = now or database_now()
    token = (
        ApiToken.objects.select_related("user")
        .filter(_is_live(now), _MAY_SIGN_IN, token_sha256=_digest(secret))
        .first()
    )
    if token and (token.last_used_at is None or token.last_used_at <= now - _USED_EVERY):
        by_the_way(lambda: _note_use(token, now))
    return token


def live(user: User, now: datetime | None = None) -> QuerySet[ApiToken]:
    """The tokens of `user` that are neither revoked nor expired, newest first."""
    return user.api_tokens.filter(_is_live(now or database_now())).order_by("-pk")


@transaction.atomic
def revoke(*, by: User, public_id: str, now: datetime | None = None) -> ApiToken:
    """End one of the tokens of `by`; NotFound for other people's."""
    token = ApiToken.objects.filter(user=by, public_id=public_id).first()
    if token is None:
        raise NotFound(_("You have no such token."))
    if live(by, now).filter(pk=token.pk).update(revoked_at=now or database_now()) != 1:
        raise Conflict(_("This token works no longer anyway: it was revoked or has expired."))
    record("token.revoked", project=None, by=by, token=public_id)
    return token


def revoke_all(*, user: User, now: datetime | None = None) -> int:
    """End all tokens of `user`; returns how many. The caller records an event that says why."""
    return live(user, now).update(revoked_at=now or database_now())


def _is_live(now: datetime) -> Q:
    """Filters by columns of the row only: after waiting for a row's lock, PostgreSQL checks the row's own columns
    again, but not those of joined rows.
    """
    return Q(revoked_at__isnull=True, expires_at__gt=now)


def _note_use(token: ApiToken, now: datetime) -> None:
    is_due = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - _USED_EVERY)
    ApiToken.objects.filter(is_due, pk=token.pk).update(last_used_at=now)
    token.last_used_at = now


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
