"""Decides who can be let into a project by a one-time link: made by an admin, used by one person, once."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.access import MAY
from annotate.accounts.sign_in import check_password
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.models import Invitation, Member, Project, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Role

MAX_DAYS = 90
GIVABLE = tuple(role for role in Role if role != Role.OWNER)


class AddressTaken(InvalidInput):
    """There is an account with this address; its person has to sign in to accept the invitation."""


@transaction.atomic
def invite(
    *,
    project: Project,
    role: str,
    by: User,
    is_trusted: bool = False,
    email: str = "",
    days: int = 7,
    now: datetime | None = None,
) -> tuple[Invitation, str]:
    """Make an invitation; returns it with its token. Only a hash of the token is stored, so it is shown this once."""
    access.require(by, project, to="manage")
    if role not in GIVABLE:
        raise InvalidInput(_("Nobody can be invited as %(role)s.") % {"role": role})
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(_("An invitation is valid for 1 to %(days)d days.") % {"days": MAX_DAYS})
    email = email.strip().lower()
    if email and project.members.filter(user__email=email).exists():
        raise Conflict(_("%(email)s belongs to this project already.") % {"email": email})
    now, token = now or database_now(), secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        project=project,
        token_sha256=_digest(token),
        role=role,
        is_trusted=is_trusted,
        email=email,
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
    record("invitation.created", project=project, by=by, invitation=invitation.public_id, role=role, trusted=is_trusted)
    return invitation, token


def open_in(project: Project, now: datetime | None = None) -> QuerySet[Invitation]:
    """The invitations into the project that can still be accepted, oldest first."""
    return _open(now or database_now()).filter(project=project).select_related("created_by").order_by("pk")


def find(*, token: str, by: User | None, now: datetime | None = None) -> Invitation:
    """The invitation with this token. NotFound if it cannot be accepted, except for the member who has accepted it."""
    invitations = Invitation.objects.select_related("project", "created_by")
    invitation = invitations.filter(token_sha256=_digest(token)).first()
    if invitation is None:
        raise _gone()
    if by and by.pk == invitation.used_by_id and access.membership(by, invitation.project):
        return invitation
    if not _open(now or database_now()).filter(pk=invitation.pk).exists():
        raise _gone()
    return invitation


@transaction.atomic
def accept(*, invitation: Invitation, by: User, now: datetime | None = None) -> Member:
    """Make `by` a member and the invitation used. A member keeps their role, and the invitation stays unused."""
    if member := access.membership(by, invitation.project):
        return member
    if invitation.email and by.email != invitation.email:
        raise Conflict(_("This invitation is for %(email)s.") % {"email": invitation.email})
    now = now or database_now()
    if _open(now).filter(pk=invitation.pk).update(used_by=by, used_at=now) != 1:
        raise _gone()
    role, is_trusted = invitation.role, invitation.is_trusted
    try:
        with transaction.atomic():
            member = Member.objects.create(project=invitation.project, user=by, role=role, is_trusted=is_trusted)
    except IntegrityError:
        raise Conflict(_("You joined this project a moment ago.")) from None
    record(
        "invitation.accepted",
        project=invitation.project,
        by=by,
        invitation=invitation.public_id,
        role=role,
        trusted=is_trusted,
    )
    return member


def accept_as_new(
    *, invitation: Invitation, name: str, email: str, password: str, now: datetime | None = None
) -> Member:
    """Make a new user and accept the invitation for them, both or neither."""
    user = User(email=(invitation.email or email).strip().lower(), name=name.strip())
    check_password(password, user)
    user.set_password(password)  # before the transaction: hashing takes long
    if User.objects.filter(email=user.email).exists():
        raise _taken()
    with transaction.atomic():
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError:
            raise _taken() from None
        return accept(invitation=invitation, by=user, now=now)


@transaction.atomic
def revoke(*, project: Project, public_id: str, by: User, now: datetime | None = None) -> Invitation:
    """End an invitation before it is used; Conflict if it was used or revoked already."""
    access.require(by, project, to="manage")
    invitation = Invitation.objects.filter(project=project, public_id=public_id).first()
    if invitation is None:
        raise NotFound(_("There is no such invitation."))
    open_ones = Invitation.objects.filter(pk=invitation.pk, used_at__isnull=True, revoked_at__isnull=True)
    if open_ones.update(revoked_at=now or database_now()) != 1:
        raise Conflict(_("This invitation was used or revoked in the meantime."))
    record("invitation.revoked", project=project, by=by, invitation=public_id)
    return invitation


def _open(now: datetime) -> QuerySet[Invitation]:
    """Invitations that are unused, not expired, and whose author still manages the project.

    Otherwise somebody who was removed could come back by a link that they had made.
    """
    still = Member.objects.filter(
        project=OuterRef("project"), user=OuterRef("created_by"), role__in=MAY["manage"], user__is_active=True
    )
    return Invitation.objects.filter(Exists(still), used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def _gone() -> NotFound:
    return NotFound(_("This invitation does not work: it was used, withdrawn or has expired. Ask for a new one."))


def _taken() -> AddressTaken:
    return AddressTaken(_("There is an account with this address. Sign in, then open the invitation again."))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
