"""Lists the members of a project with what each has done; changes roles, removes members, hands the project over."""

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
from annotate.models import Annotation, Invitation, Lease, Member, Project, Proof, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Role
from annotate.runs import lifecycle


@dataclass(frozen=True)
class Person:
    """One member, with the answers, leases and invitations that removing the member would touch."""

    member: Member
    n_answers: int  # current ones, skips left out
    n_uncounted: int  # of the answers: came after their lease was lost
    n_today: int  # of the answers: since midnight in the project's time zone
    last_at: datetime | None  # of the latest answer
    n_held: int  # active leases
    n_run_out: int  # of the leases: past their time, active until somebody else needs the question
    n_invitations: int  # open ones that the member made or that are addressed to the member


_NO_ANSWERS: dict[str, Any] = {"n_answers": 0, "n_uncounted": 0, "n_today": 0, "last_at": None}
_NO_LEASES = {"n_held": 0, "n_run_out": 0}


@dataclass(frozen=True)
class Left:
    """What became of a removed member's answers, leases, invitations and runs."""

    person: User
    n_answers: int  # kept
    n_released: int  # leases
    n_revoked: int  # invitations
    n_paused: int  # runs that the member started: they go on for whoever resumes them


def in_project(project: Project, now: datetime | None = None) -> list[Person]:
    """All members by role, owner first, then by name. The number of queries does not grow with the members."""
    now = now or database_now()
    members = project.members.select_related("user__vouched_by")
    answers = {row.pop("annotator"): row for row in _answer_counts(project, now)}
    active = {row.pop("annotator"): row for row in _lease_counts(project, now)}
    invitations = list(_unused(project).filter(expires_at__gt=now).values_list("created_by", "email"))
    people = [
        Person(
            member=member,
            **answers.get(member.user_id, _NO_ANSWERS),
            **active.get(member.user_id, _NO_LEASES),
            n_invitations=sum(by == member.user_id or email == member.user.email for by, email in invitations),
        )
        for member in members
    ]
    order = list(Role.values)
    return sorted(people, key=lambda person: (order.index(person.member.role), str(person.member.user).lower()))


@transaction.atomic
def set_member(*, project: Project, person: str, role: str, is_trusted: bool, by: User) -> Member:
    """Change a member's role and trust; `person` is the public id of the user.

    A role that may not annotate releases the member's leases; one that may not manage revokes the open invitations
    that the member made, and pauses the runs that the member started: they may spend the project's money.
    """
    user = _find(project=project, person=person, by=by).user
    member = projects.add_member(project=project, user=user, role=role, is_trusted=is_trusted, by=by)
    if role not in MAY["annotate"]:
        leases.release_all(project=project, user=user)
    if role not in MAY["manage"]:
        _revoke(_unused(project).filter(created_by=user))
        lifecycle.pause_all_of(user=user, by=by, project=project)
    return member


@transaction.atomic
def remove(*, project: Project, person: str, by: User) -> Left:
    """Remove a member, who is refused from the next request on. Answers are kept, leases released, their runs paused.

    Revokes the open invitations that the member made or that are addressed to the member. Conflict for the owner.
    """
    user = _find(project=project, person=person, by=by).user
    # The filter is in the DELETE, so that no owner is removed, and of two concurrent removals only one happens.
    if not project.members.filter(user=user).exclude(role=Role.OWNER).delete()[0]:
        raise Conflict(_("%(person)s owns this project and stays in it.") % {"person": user})
    left = Left(
        person=user,
        n_answers=_answers(project).filter(annotator=user).count(),
        n_released=leases.release_all(project=project, user=user),
        # Invitations to the same address would let the person in again.
        n_revoked=_revoke(_unused(project).filter(Q(created_by=user) | Q(email=user.email))),
        n_paused=len(lifecycle.pause_all_of(user=user, by=by, project=project)),
    )
    record(
        "member.removed",
        project=project,
        by=by,
        user=user.public_id,
        n_answers=left.n_answers,
        n_released=left.n_released,
        n_revoked=left.n_revoked,
        n_paused=left.n_paused,
    )
    return left


@transaction.atomic
def release(*, project: Project, person: str, by: User) -> tuple[User, int]:
    """Release all leases of a member, who has perhaps gone home; returns the user and how many leases it were."""
    user = _find(project=project, person=person, by=by).user
    n_released = leases.release_all(project=project, user=user)
    record("member.released", project=project, by=by, user=user.public_id, n_released=n_released)
    return user, n_released


@dataclass(frozen=True)
class HandOver:
    """Who owned a project, who does now, and what became of the one who did."""

    project: Project
    old: User
    new: User
    left: Left | None  # None: the old owner stays, as an admin


def may_own(member: Member) -> bool:
    """Whether the project can be handed over to this member: somebody who signs in and does not own it."""
    return member.role != Role.OWNER and member.user.is_active and not member.user.is_simulated


def heirs(project: Project) -> QuerySet[Member]:
    """The members who can be made the owner: everybody who signs in, but the owner."""
    members = project.members.select_related("user").exclude(role=Role.OWNER)
    return members.filter(user__is_active=True, user__is_simulated=False).order_by("user__name", "user__email", "pk")


@transaction.atomic
def hand_over(*, project: Project, person: str, by: User, stays: bool = True) -> HandOver:
    """Make the member `person` (public id) the owner; the owner until now becomes an admin, or leaves.

    `by` owns the project, or owns the site where the owner's account is deactivated. The new owner is trusted.
    """
    # Locked first: of two who hand it over at once the later is no longer the owner.
    Project.objects.select_for_update().get(pk=project.pk)
    access.require_hand_over(by, project)
    new = heirs(project).filter(user__public_id=person).first()
    if new is None:
        raise NotFound(_("There is nobody in this project who could own it under this name."))
    return make_owner(project=project, new=new.user, by=by, stays=stays)


@transaction.atomic
def make_owner(*, project: Project, new: User, by: User | None, stays: bool) -> HandOver:
    """As `hand_over`, where the caller has checked the right to; `by` None: a command. `new` need not be a member."""
    owner = Member.objects.select_related("user").get(project=project, role=Role.OWNER)
    if owner.user_id == new.pk:
        raise Conflict(_("%(person)s owns this project already.") % {"person": new})
    project.members.filter(pk=owner.pk).update(role=Role.ADMIN)
    Member.objects.update_or_create(project=project, user=new, defaults={"role": Role.OWNER, "is_trusted": True})
    facts = {"old": owner.user.public_id, "new": new.public_id, "stays": stays}
    record("project.handed_over", project=project, by=by, **facts)
    left = None if stays else remove(project=project, person=owner.user.public_id, by=new)
    return HandOver(project=project, old=owner.user, new=new, left=left)


def n_unproven(members: Iterable[Member]) -> tuple[int, int]:
    """(n, m): of the m of these who may answer, n accounts prove nothing about who holds them.

    Two of those n may be one person, who then agrees with themselves. Simulated people are left out.
    """
    people = [one.user for one in members if one.role in MAY["annotate"]]
    answering = [user for user in people if user.is_active and not user.is_simulated]
    return sum(user.proof == Proof.UNPROVEN for user in answering), len(answering)


def _find(*, project: Project, person: str, by: User) -> Member:
    """The member whose user has this public id, row locked; NotFound if there is none. `by` must manage the project."""
    access.require(by, project, to="manage")
    members = project.members.select_related("user").select_for_update(of=("self",))
    member = members.filter(user__public_id=person).first()
    if member is None:
        raise NotFound(_("There is no such person in this project."))
    return member


def _answers(project: Project) -> QuerySet[Annotation]:
    """Current answers, counted or not; skips left out."""
    return Annotation.objects.filter(project=project, is_current=True, label__isnull=False)


def _answer_counts(project: Project, now: datetime) -> Iterable[Any]:
    """A row per annotator, with the fields of Person that count answers."""
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
    """Created since midnight in the project's time zone."""
    local = now.astimezone(ZoneInfo(project.time_zone))
    return Q(created_at__gte=local.replace(hour=0, minute=0, second=0, microsecond=0))


def _lease_counts(project: Project, now: datetime) -> Iterable[Any]:
    """A row per annotator, with how many leases are active and how many of these are past their time.

    Such a lease stays active until somebody else needs its question (leases.lease_next).
    """
    active = Lease.objects.filter(entry__round__project=project, ended_at__isnull=True).order_by().values("annotator")
    return active.annotate(n_held=Count("pk"), n_run_out=Count("pk", filter=Q(expires_at__lte=now)))


def _unused(project: Project) -> QuerySet[Invitation]:
    """Invitations that nobody has used or revoked, expired ones included."""
    return Invitation.objects.filter(project=project, used_at__isnull=True, revoked_at__isnull=True)


def _revoke(invitations: QuerySet[Invitation]) -> int:
    """Revoke those that have not expired; returns how many."""
    now = database_now()
    return invitations.filter(expires_at__gt=now).update(revoked_at=now)
