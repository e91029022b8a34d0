"""New passwords: changed by who knows the old one, or chosen through a one-time link by who does not.

Whoever may make a link for somebody can become them. So it takes a site owner, or somebody who manages every
project that the person belongs to and thereby could do all that the person can.
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
    """Give `by` a new password. Sessions but `session` end, open links too, and on request tokens; returns how many."""
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
    """For whom `by` may make a link: never for themselves, who change it, nor for those who cannot sign in."""
    others = User.objects.filter(is_active=True, is_simulated=False).exclude(pk=by.pk)
    if not by.is_active:
        return others.none()
    return others if by.is_site_owner else others.filter(_is_in_the_hands_of(by), is_site_owner=False)


@transaction.atomic
def make_link(*, user: User, by: User, now: datetime | None = None) -> tuple[PasswordReset, str]:
    """A link for `user` to choose a new password, and its token, which is nowhere else. Older links end."""
    if not may_be_helped(by).filter(pk=user.pk).exists():
        raise AccessDenied(
            _("For %(person)s only those who run this site can make a link for a new password.") % {"person": user}
        )
    now, token = now or database_now(), secrets.token_urlsafe(32)
    User.objects.select_for_update().get(pk=user.pk)  # of two links made at once the later one works
    n_revoked = _revoke_links(user, now)
    link = PasswordReset.objects.create(user=user, token_sha256=_digest(token), created_by=by, expires_at=now + VALID)
    record("password.link_made", project=None, by=by, user=user.public_id, link=link.public_id, n_revoked=n_revoked)
    return link, token


@transaction.atomic
def make_link_in(*, project: Project, person: str, by: User) -> tuple[PasswordReset, str]:
    """The same for a member of a project, by their public id, for who manages it."""
    access.require(by, project, to="manage")
    user = User.objects.filter(memberships__project=project, public_id=person).first()
    if user is None:
        raise NotFound(_("There is no such person in this project."))
    return make_link(user=user, by=by)


def find(*, token: str, now: datetime | None = None) -> PasswordReset:
    """The open link with this token. NotFound, the same for all that do not work."""
    links = _open(now or database_now()).select_related("user", "created_by")
    link = links.filter(token_sha256=_digest(token)).first()
    # Who has lost the right meanwhile, or helped somebody who owns a project by now, helps no longer.
    if link is None or not may_be_helped(link.created_by).filter(pk=link.user_id).exists():
        raise _gone()
    return link


def use(*, token: str, new: str, client: str, now: datetime | None = None) -> User:
    """Choose the password, once: all sessions, tokens and other links of the person end."""
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
    """Belongs to projects, owns none of them, and `by` manages them all."""
    all_of_them = Member.objects.filter(user=OuterRef("pk"))
    managed = Member.objects.filter(user=by, role__in=MAY["manage"]).values("project")
    beyond = all_of_them.filter(Q(role=Role.OWNER) | ~Q(project__in=managed))
    return Q(Exists(all_of_them)) & ~Q(Exists(beyond))


def _open(now: datetime) -> QuerySet[PasswordReset]:
    """By columns of the row alone: who waited for it looks at these again, and at nothing joined to it (PostgreSQL)."""
    return PasswordReset.objects.filter(used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def _revoke_links(user: User, now: datetime) -> int:
    return _open(now).filter(user=user).update(revoked_at=now)


def _gone() -> NotFound:
    return NotFound(_("This link does not work: it was used, replaced or has expired. Ask for a new one."))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
