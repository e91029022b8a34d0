"""Decides who gets a new password: whoever knows the old one, or whoever has a one-time link made by an admin.

Whoever makes a link for a person could use it to become that person. So only owners of the site may make one, and
those who manage every project that the person belongs to: they can do all that the person can do.
"""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.access import MAY
from annotate.accounts import sign_in, tokens
from annotate.errors import AccessDenied, NotFound
from annotate.models import Member, PasswordReset, Project, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Role

VALID = timedelta(hours=24)


def change(
    *,
    by: User,
    old: str,
    new: str,
    client: str,
    session: str = "",
    ends_tokens: bool = False,
    now: datetime | None = None,
) -> int:
    """Set the new password of `by`, who proves the old one.

    Ends all their sessions but `session`, their open links and, with `ends_tokens`, their API tokens; returns how many
    tokens ended.
    """
    sign_in.verify(email=by.email, password=old, client=client, now=now)
    sign_in.check_password(new, by)
    by.password = make_password(new)  # before the transaction: hashing takes long
    with transaction.atomic():
        by.save(update_fields=["password"])
        n_tokens = tokens.revoke_all(user=by, now=now) if ends_tokens else 0
        sign_in.end_sessions(user=by, but=session, now=now)
        _revoke_links(by, now or database_now())
        record("password.changed", project=None, by=by, n_tokens=n_tokens)
    return n_tokens


def may_be_helped(by: User) -> QuerySet[User]:
    """The people for whom `by` may make a link: not `by`, and nobody who cannot sign in."""
    others = User.objects.filter(is_active=True, is_simulated=False).exclude(pk=by.pk)
    if not by.is_active:
        return others.none()
    return others if by.is_site_owner else others.filter(_is_in_the_hands_of(by), is_site_owner=False)


@transaction.atomic
def make_link(*, user: User, by: User, now: datetime | None = None) -> tuple[PasswordReset, str]:
    """Make a link by which `user` can choose a new password; returns it with its token. Their older links end.

    Only a hash of the token is stored, so it is shown this once.
    """
    if not may_be_helped(by).filter(pk=user.pk).exists():
        raise AccessDenied(
            _("For %(person)s only those who run this site can make a link for a new password.") % {"person": user}
        )
    now, token = now or database_now(), secrets.token_urlsafe(32)
    User.objects.select_for_update().get(pk=user.pk)  # of two links made at once only the later one stays open
    n_revoked = _revoke_links(user, now)
    link = PasswordReset.objects.create(user=user, token_sha256=_digest(token), created_by=by, expires_at=now + VALID)
    record("password.link_made", project=None, by=by, user=user.public_id, link=link.public_id, n_revoked=n_revoked)
    return link, token


@transaction.atomic
def make_link_in(*, project: Project, person: str, by: User) -> tuple[PasswordReset, str]:
    """As `make_link`, for the member of `project` with the public id `person`; `by` must manage the project."""
    access.require(by, project, to="manage")
    user = User.objects.filter(memberships__project=project, public_id=person).first()
    if user is None:
        raise NotFound(_("There is no such person in this project."))
    return make_link(user=user, by=by)


def find(*, token: str, now: datetime | None = None) -> PasswordReset:
    """The open link with this token; NotFound, in the same words whatever the reason, if it does not work."""
    links = _open(now or database_now()).select_related("user", "created_by")
    link = links.filter(token_sha256=_digest(token)).first()
    # Its author may have lost the right since, for instance because the person owns a project by now.
    if link is None or not may_be_helped(link.created_by).filter(pk=link.user_id).exists():
        raise _gone()
    return link


def use(*, token: str, new: str, client: str, now: datetime | None = None) -> User:
    """Set the new password of the link's person, once; all their sessions, API tokens and other links end."""
    with sign_in.guessing(failures=NotFound, client=client, now=now):
        link = find(token=token, now=now)
    user, now = link.user, now or database_now()
    sign_in.check_password(new, user)
    user.password = make_password(new)  # before the transaction: hashing takes long
    with transaction.atomic():
        if _open(now).filter(pk=link.pk).update(used_at=now) != 1:
            raise _gone()
        user.save(update_fields=["password"])
        n_sessions = sign_in.end_sessions(user=user, now=now)
        n_tokens = tokens.revoke_all(user=user, now=now)
        _revoke_links(user, now)
        sign_in.forget_failures(user.email)
        record("password.reset", project=None, by=user, link=link.public_id, n_sessions=n_sessions, n_tokens=n_tokens)
    return user


def _is_in_the_hands_of(by: User) -> Q:
    """Users who belong to at least one project, own none, and belong only to projects that `by` manages."""
    all_of_them = Member.objects.filter(user=OuterRef("pk"))
    managed = Member.objects.filter(user=by, role__in=MAY["manage"]).values("project")
    beyond = all_of_them.filter(Q(role=Role.OWNER) | ~Q(project__in=managed))
    return Q(Exists(all_of_them)) & ~Q(Exists(beyond))


def _open(now: datetime) -> QuerySet[PasswordReset]:
    """Links that still work. Filters by columns of the row only: after waiting for a row's lock, PostgreSQL checks
    the row's own columns again, but not those of joined rows.
    """
    return PasswordReset.objects.filter(used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def _revoke_links(user: User, now: datetime) -> int:
    return _open(now).filter(user=user).update(revoked_at=now)


def _gone() -> NotFound:
    return NotFound(_("This link does not work: it was used, replaced or has expired. Ask for a new one."))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
