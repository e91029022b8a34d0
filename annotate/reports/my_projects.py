"""The projects that somebody belongs to, and where each of them stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from annotate.labeling import queue
from annotate.models import Member, QueueEntry, Round, User


@dataclass(frozen=True)
class ProjectProgress:
    """Where one of my projects stands."""

    member: Member
    round: Round | None  # the latest
    n_questions: int = 0  # of the open round
    n_done: int = 0
    n_mine: int = 0  # questions that I could answer now


def standings(user: User) -> list[ProjectProgress]:
    """The projects that `user` belongs to, by name; four queries however many they are."""
    members = list(Member.objects.filter(user=user).select_related("project").order_by("project__name", "pk"))
    for member in members:
        member.user = user
    rounds = Round.objects.filter(project__members__user=user)
    newest = Round.objects.filter(project=OuterRef("project")).order_by("-index").values("pk")[:1]
    latest = {round.project_id: round for round in rounds.filter(pk=Subquery(newest))}
    counts = {row.pop("project"): row for row in _questions(rounds.filter(state=Round.State.OPEN))}
    mine = dict(queue.answerable(user).order_by().values_list("round__project").annotate(n=Count("pk")))
    return [
        ProjectProgress(
            member=member,
            round=latest.get(member.project_id),
            n_mine=mine.get(member.project_id, 0),
            **counts.get(member.project_id, {}),
        )
        for member in members
    ]


def _questions(rounds: QuerySet[Round]) -> Iterable[Any]:
    is_done = ~Q(queue__state=QueueEntry.State.OPEN)
    return (
        rounds.order_by().values("project").annotate(n_questions=Count("queue"), n_done=Count("queue", filter=is_done))
    )
