"""Who belongs to a project, what they did there, and how they leave."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils.translation import gettext as _

from annotate import access, projects
from annotate.access import MAY
from annotate.errors import Conflict, NotFound
from annotate.labeling import leases
from annotate.models import Annotation, Invitation, Lease, Member, Project, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Role


@dataclass(frozen=True)
class Person:
    """One member with what removing them would touch."""

    member: Member
    n_answers: int
    n_uncounted: int  # of them
    n_today: int  # of them, in the project's time zone
    last_at: datetime | None  # of them, the latest
    n_held: int
    n_run_out: int  # of them: nobody else has needed them yet
    n_invitations: int  # open ones that end with them


_SAID_NOTHING: dict[str, Any] = {"n_answers": 0, "n_uncounted": 0, "n_today": 0, "last_at": None}
_HOLDS_NOTHING = {"n_held": 0, "n_run_out": 0}


@dataclass(frozen=True)
class Left:
    """What became of somebody's work when they were removed."""

    person: User
    n_answers: int  # stay
    n_released: int
    n_revoked: int


def in_project(project: Project, now: datetime | None = None) -> list[Person]:
    """Everybody, those who decide first; four queries however many they are."""
    now = now or database_now()
    members = project.members.select_related("user")
    said = {row.pop("annotator"): row for row in _said(project, now)}
    held = {row.pop("annotator"): row for row in _held(project, now)}
    invitations = list(_unused(project).filter(expires_at__gt=now).values_list("created_by", "email"))
    people = [
        Person(
            member=member,
            **said.get(member.user_id, _SAID_NOTHING),
            **held.get(member.user_id, _HOLDS_NOTHING),
            n_invitations=sum(by == member.user_id or email == member.user.email for by, email in invitations),
        )
        for member in members
    ]
    order = list(Role.values)
    return sorted(people, key=lambda person: (order.index(person.member.role), str(person.member.user).lower()))


@transaction.atomic
def set_member(*, project: Project, person: str, role: str, is_trusted: bool, by: User) -> Member:
    """Change what somebody may do. Who may no longer annotate gives back what they hold."""
    user = _find(project=project, person=person, by=by).user
    member = projects.add_member(project=project, user=user, role=role, is_trusted=is_trusted, by=by)
    if role not in MAY["annotate"]:
        leases.release_all(project=project, user=user)
    if role not in MAY["manage"]:
        _revoke(_unused(project).filter(created_by=user))
    return member


@transaction.atomic
def remove(*, project: Project, person: str, by: User) -> Left:
    """Shut the door behind somebody: from the next request on. What they answered stays."""
    user = _find(project=project, person=person, by=by).user
    # Filtered again: an owner stays, and of two who remove at once one does.
    if not project.members.filter(user=user).exclude(role=Role.OWNER).delete()[0]:
        raise Conflict(_("%(person)s owns this project and stays in it.") % {"person": user})
    left = Left(
        person=user,
        n_answers=_answers(project).filter(annotator=user).count(),
        n_released=leases.release_all(project=project, user=user),
        # What they made, and what would let them in again.
        n_revoked=_revoke(_unused(project).filter(Q(created_by=user) | Q(email=user.email))),
    )
    record(
        "member.removed",
        project=project,
        by=by,
        user=user.public_id,
        n_answers=left.n_answers,
        n_released=left.n_released,
        n_revoked=left.n_revoked,
    )
    return left


@transaction.atomic
def release(*, project: Project, person: str, by: User) -> tuple[User, int]:
    """Give back whatever somebody holds, for instance because they went home; returns them and how many it were."""
    user = _find(project=project, person=person, by=by).user
    n_released = leases.release_all(project=project, user=user)
    record("member.released", project=project, by=by, user=user.public_id, n_released=n_released)
    return user, n_released


def _find(*, project: Project, person: str, by: User) -> Member:
    """The member with this public id, locked, for who manages the project."""
    access.require(by, project, to="manage")
    members = project.members.select_related("user").select_for_update(of=("self",))
    member = members.filter(user__public_id=person).first()
    if member is None:
        raise NotFound(_("There is no such person in this project."))
    return member


def _answers(project: Project) -> QuerySet[Annotation]:
    return Annotation.objects.filter(project=project, is_current=True, label__isnull=False)


def _said(project: Project, now: datetime) -> Iterable[Any]:
    return (
        _answers(project)
        .order_by()
        .values("annotator")
        .annotate(
            n_answers=Count("pk"),
            n_uncounted=Count("pk", filter=Q(is_counted=False)),
            n_today=Count("pk", filter=_today(project, now)),
            last_at=Max("created_at"),
        )
    )


def _today(project: Project, now: datetime) -> Q:
    local = now.astimezone(ZoneInfo(project.time_zone))
    return Q(created_at__gte=local.replace(hour=0, minute=0, second=0, microsecond=0))


def _held(project: Project, now: datetime) -> Iterable[Any]:
    """What ran out is held until somebody else needs it (see leases.lease_next), and goes back with the rest."""
    held = Lease.objects.filter(entry__round__project=project, ended_at__isnull=True).order_by().values("annotator")
    return held.annotate(n_held=Count("pk"), n_run_out=Count("pk", filter=Q(expires_at__lte=now)))


def _unused(project: Project) -> QuerySet[Invitation]:
    return Invitation.objects.filter(project=project, used_at__isnull=True, revoked_at__isnull=True)


def _revoke(invitations: QuerySet[Invitation]) -> int:
    now = database_now()
    return invitations.filter(expires_at__gt=now).update(revoked_at=now)
