"""Decides who can be let into a project by a one-time link: made by an admin, used by one person, once.

A link that is mailed is not shown to its maker, and proves the address that it was mailed to.
"""

import secrets
from datetime import datetime, timedelta
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from annotate import access
from annotate.access import MAY
from annotate.accounts import addresses, mail, sign_in
from annotate.accounts.addresses import digest
from annotate.accounts.sign_in import check_password
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.models import Invitation, MailState, Member, Project, User
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
    by_hand: bool = False,
    now: datetime | None = None,
) -> tuple[Invitation, str | None]:
    """Make an invitation; returns it with its token. Only a hash of the token is stored, so it is shown this once.

    Where it names an address and the site has a mail server, the link is mailed there instead, and the token returned
    is None; `by_hand`: not so, the maker passes it on, and it proves no address.
    """
    access.require(by, project, to="manage")
    if role not in GIVABLE:
        raise InvalidInput(_("Nobody can be invited as %(role)s.") % {"role": role})
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(_("An invitation is valid for 1 to %(days)d days.") % {"days": MAX_DAYS})
    email = email.strip().lower()
    if email and project.members.filter(user__email=email).exists():
        raise Conflict(_("%(email)s belongs to this project already.") % {"email": email})
    now, token = now or database_now(), secrets.token_urlsafe(32)
    is_mailed = bool(email) and mail.is_set() and not by_hand
    if is_mailed:
        sign_in.count_mail(kind="invitation", email=email, by=by, now=now)
    invitation = Invitation.objects.create(
        project=project,
        token_sha256=digest(token),
        role=role,
        is_trusted=is_trusted,
        email=email,
        created_by=by,
        expires_at=now + timedelta(days=days),
    )
    facts = {"role": role, "trusted": is_trusted, "is_mailed": is_mailed}
    record("invitation.created", project=project, by=by, invitation=invitation.public_id, **facts)
    if is_mailed:
        _mail(invitation, by, token)
    return invitation, None if is_mailed else token


@transaction.atomic
def send_again(*, project: Project, public_id: str, by: User, now: datetime | None = None) -> Invitation:
    """Mail an open invitation that names an address, with a new link; the link before ends."""
    now = now or database_now()
    invitation = _locked(project, public_id, by, now)
    if not mail.is_set():
        raise Conflict(_("This site sends no mail. Pass the link on yourself."))
    if not invitation.email:
        raise Conflict(_("This invitation names no address. Pass the link on yourself."))
    sign_in.count_mail(kind="invitation", email=invitation.email, by=by, now=now)
    token = _renewed(invitation)
    record("invitation.mailed", project=project, by=by, invitation=public_id)
    _mail(invitation, by, token)
    return invitation


@transaction.atomic
def show_link(*, project: Project, public_id: str, by: User, now: datetime | None = None) -> tuple[Invitation, str]:
    """A new link of an open invitation, to pass on by hand: it proves no address. The link before ends."""
    invitation = _locked(project, public_id, by, now or database_now())
    token = _renewed(invitation)
    record("invitation.link_shown", project=project, by=by, invitation=public_id)
    return invitation, token


def open_in(project: Project, now: datetime | None = None) -> QuerySet[Invitation]:
    """The invitations into the project that can still be accepted, oldest first."""
    return _open(now or database_now()).filter(project=project).select_related("created_by").order_by("pk")


def find(*, token: str, by: User | None, now: datetime | None = None) -> Invitation:
    """The invitation with this token. NotFound if it cannot be accepted, except for the member who has accepted it."""
    invitations = Invitation.objects.select_related("project", "created_by")
    invitation = invitations.filter(token_sha256=digest(token)).first()
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
    # By the token, too: its link may have been replaced since it was opened, and this one then proves nothing.
    if _open(now).filter(pk=invitation.pk, token_sha256=invitation.token_sha256).update(used_by=by, used_at=now) != 1:
        raise _gone()
    role, is_trusted = invitation.role, invitation.is_trusted
    try:
        with transaction.atomic():
            member = Member.objects.create(project=invitation.project, user=by, role=role, is_trusted=is_trusted)
    except IntegrityError:
        raise Conflict(_("You joined this project a moment ago.")) from None
    addresses.prove(user=by, email=invitation.mailed_to, how="invitation", now=now)
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
    user = User(email=(invitation.email or email).strip().lower(), name=sign_in.checked_name(name))
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


def revoke_all_of(*, user: User, now: datetime) -> int:
    """End the open invitations that this user made, in all projects; returns how many."""
    return unused_of(user, now).update(revoked_at=now)


def unused_of(user: User, now: datetime) -> QuerySet[Invitation]:
    """The invitations by this user that nobody has used or revoked, and that have not expired."""
    return Invitation.objects.filter(created_by=user, used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def _locked(project: Project, public_id: str, by: User, now: datetime) -> Invitation:
    """The open invitation with this public id, row locked; NotFound if there is none, Conflict if it is not open."""
    access.require(by, project, to="manage")
    invitations = Invitation.objects.select_related("project").select_for_update(of=("self",))
    invitation = invitations.filter(project=project, public_id=public_id).first()
    if invitation is None:
        raise NotFound(_("There is no such invitation."))
    if not _open(now).filter(pk=invitation.pk).exists():
        raise Conflict(_("This invitation was used or revoked in the meantime."))
    return invitation


def _renewed(invitation: Invitation) -> str:
    """Give the invitation another token, which is in no mail yet; returns the token."""
    token = secrets.token_urlsafe(32)
    invitation.token_sha256, invitation.mailed_to = digest(token), ""
    invitation.mail_state, invitation.mail_problem = MailState.NONE, ""
    invitation.save(update_fields=["token_sha256", "mailed_to", "mail_state", "mail_problem"])
    return token


def _mail(invitation: Invitation, by: User, token: str) -> None:
    """Mail the link with this token to the invitation's address."""
    invitation.mailed_to, invitation.mail_state = invitation.email, MailState.WAITING
    invitation.save(update_fields=["mailed_to", "mail_state"])
    compose = partial(_letter, invitation, by, token)
    mail.send_after_commit(invitation, mail.letter(to=invitation.email, language=by.language, compose=compose))


def _letter(invitation: Invitation, by: User, token: str) -> tuple[str, list[str]]:
    names = {
        "person": by,
        "email": by.email,
        "project": invitation.project.name,
        "day": date_format(invitation.expires_at),
    }
    return _("Invitation to “%(project)s”") % names, [
        _("%(person)s (%(email)s) invites you to label in “%(project)s”.") % names,
        _("Open this link to join; it works once, until %(day)s:") % names,
        mail.link(reverse("invitation-accept", args=[token])),
        _("It is for this address only. If you did not expect it, do nothing."),
    ]


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
