"""Decides how an account is shut: what ends with it, what must be handed over first, and how it is opened again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate import access, members
from annotate.accounts import addresses, invitations, passwords, sign_in, tokens
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.labeling import leases
from annotate.models import Lease, Project, Run, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Role
from annotate.runs import lifecycle, starter


@dataclass(frozen=True)
class Impact:
    """What deactivating an account ends, and which projects need another owner first."""

    n_sessions: int
    n_tokens: int
    n_leases: int
    n_invitations: int  # open ones that the account made
    n_links: int  # open ones for a new password or to prove an address
    n_answers: int  # stay as they are
    runs: list[Run]  # pause
    owned: list[Project]  # must be handed over, at the latest in the same step


@dataclass(frozen=True)
class Deactivated:
    """What became of a deactivated account's things."""

    person: User
    n_sessions: int
    n_tokens: int
    n_leases: int
    n_invitations: int
    n_links: int
    runs: list[Run]
    handed_over: list[members.HandOver] = field(default_factory=list)


def accounts(by: User) -> QuerySet[User]:
    """Every account of people, for owners of the site; simulated ones are left out."""
    access.require_site_owner(by)
    return User.objects.filter(is_simulated=False).select_related("vouched_by").order_by("pk")


def find(*, public_id: str, by: User) -> User:
    """The account with this public id, for owners of the site; NotFound if there is none."""
    user = accounts(by).filter(public_id=public_id).first()
    if user is None:
        raise NotFound(_("There is no such account."))
    return user


def owned_by(user: User) -> list[Project]:
    """The projects that this user owns, by name."""
    return list(Project.objects.filter(members__user=user, members__role=Role.OWNER).order_by("name", "pk"))


def impact(user: User, now: datetime | None = None) -> Impact:
    """What deactivating `user` would do now, in counts."""
    now = now or database_now()
    return Impact(
        n_sessions=sign_in.n_sessions(user=user, now=now),
        n_tokens=tokens.live(user, now).count(),
        n_leases=Lease.objects.filter(annotator=user, ended_at__isnull=True).count(),
        n_invitations=invitations.unused_of(user, now).count(),
        n_links=passwords.open_links(user, now).count() + addresses.open_links(user, now).count(),
        n_answers=user.annotations.filter(is_current=True, label__isnull=False).count(),
        runs=list(starter.unfinished(user)),
        owned=owned_by(user),
    )


def obstacle(user: User, by: User | None) -> str:
    """Why `by` (None: a command) cannot deactivate `user`; empty where it is possible."""
    if by is not None and by.pk == user.pk:
        return _("Nobody deactivates their own account; another owner of the site can.")
    if user.is_simulated:
        return _("%(person)s is simulated: nobody signs in with it.") % {"person": user}
    others = User.objects.filter(is_site_owner=True, is_active=True).exclude(pk=user.pk)
    if user.is_site_owner and not others.exists():
        return _("%(person)s is the last owner of this site who can sign in.") % {"person": user}
    return ""


@transaction.atomic
def deactivate(
    *, user: User, by: User | None, heirs: Mapping[str, str] | None = None, now: datetime | None = None
) -> Deactivated:
    """Shut the account: its sessions, tokens and open links end, its leases go back, runs it started pause.

    `by` owns the site, or is None for a command on the server. `heirs`: for each project that the account owns, by its
    short name, the public id of the member who owns it from now on (or of `by`). Conflict names those that are missing.
    """
    now = now or database_now()
    # All at once and in one order: two owners of the site who deactivate each other do not both succeed.
    is_concerned = User.objects.filter(is_site_owner=True) | User.objects.filter(pk=user.pk)
    rows = {row.pk: row for row in is_concerned.order_by("pk").select_for_update()}
    user = rows[user.pk]
    if by is not None:
        access.require_site_owner(rows.get(by.pk, by))
    if sentence := obstacle(user, by):
        raise Conflict(sentence)
    handed_over = _hand_over(user, by, heirs or {})
    if not User.objects.filter(pk=user.pk, is_active=True).update(is_active=False):
        raise Conflict(_("%(person)s is deactivated already.") % {"person": user})
    done = Deactivated(
        person=user,
        n_leases=leases.release_all(project=None, user=user, now=now),
        runs=lifecycle.pause_all_of(user=user, by=by),
        n_tokens=tokens.revoke_all(user=user, now=now),
        n_invitations=invitations.revoke_all_of(user=user, now=now),
        n_links=passwords.revoke_links(user, now) + addresses.revoke_links(user, now),
        n_sessions=sign_in.end_sessions(user=user, now=now),
        handed_over=handed_over,
    )
    counts = {name: getattr(done, name) for name in ("n_sessions", "n_tokens", "n_leases", "n_invitations", "n_links")}
    record("account.deactivated", project=None, by=by, user=user.public_id, n_runs=len(done.runs), **counts)
    return done


@transaction.atomic
def reactivate(*, user: User, by: User | None) -> User:
    """Open a deactivated account again, with its password and memberships; nothing that ended comes back."""
    if by is not None:
        access.require_site_owner(by)
    if not User.objects.filter(pk=user.pk, is_active=False, is_simulated=False).update(is_active=True):
        raise Conflict(_("%(person)s is not deactivated.") % {"person": user})
    record("account.reactivated", project=None, by=by, user=user.public_id)
    user.refresh_from_db()
    return user


@transaction.atomic
def hand_over_of_gone(*, project: Project, heir: str, by: User) -> members.HandOver:
    """Make the member `heir` (public id), or `by`, the owner of a project whose owner is deactivated.

    The owner until now stays as an admin, for the day on which the account is opened again.
    """
    Project.objects.select_for_update().get(pk=project.pk)  # locked first, as in members.hand_over
    access.require_site_owner(by)
    if User.objects.filter(memberships__project=project, memberships__role=Role.OWNER, is_active=True).exists():
        raise Conflict(_("The owner of %(project)s can sign in, and hand it over.") % {"project": project})
    access.require_hand_over(by, project)
    return _give(project, heir, by)


def _hand_over(user: User, by: User | None, heirs: Mapping[str, str]) -> list[members.HandOver]:
    """Give each project of the account to the one who is named for it; Conflict names the projects without one."""
    owned = owned_by(user)
    if unknown := sorted(set(heirs) - {project.slug for project in owned}):
        raise InvalidInput(_("%(person)s does not own: %(names)s.") % {"person": user, "names": ", ".join(unknown)})
    if missing := [project for project in owned if not heirs.get(project.slug)]:
        sentence = ngettext(
            "%(person)s owns a project that needs another owner first: %(names)s.",
            "%(person)s owns projects that need another owner first: %(names)s.",
            len(missing),
        )
        raise Conflict(sentence % {"person": user, "names": ", ".join(project.slug for project in missing)})
    return [_give(project, heirs[project.slug], by) for project in owned]


def _give(project: Project, heir: str, by: User | None) -> members.HandOver:
    member = members.heirs(project).filter(user__public_id=heir).first()
    new = member.user if member else by if by is not None and by.public_id == heir else None
    if new is None:
        names = {"project": project, "id": heir}
        raise InvalidInput(_("%(project)s cannot be handed over to %(id)s, who is no member who signs in.") % names)
    return members.make_owner(project=project, new=new, by=by, stays=True)
