"""How many questions of the open round one person can still answer, and why there is none for them now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import Annotation, Lease, Project, QueueEntry, Round, User
from annotate.money import payments


@dataclass(frozen=True)
class Empty:
    """Why there is nothing to answer now, with the open questions of the round."""

    # budget: the budget for people does not allow another answer. not_for_me: the person may answer none that is open.
    kind: Literal["no_round", "round_done", "held_by_others", "all_answered_by_me", "not_for_me", "budget"]
    n_waiting: int = 0  # open questions
    n_held_by_others: int = 0  # those of them that the person may answer and that others have leased


@dataclass(frozen=True)
class OwnProgress:
    """How far one person is in the open round, and what they did today."""

    n_left: int  # questions of the open round that this person can still answer
    n_answered_today: int  # current labels, in any round of the project, since midnight in the project's time zone
    n_in_round: int  # questions of the open round, whoever answers them


def why_empty(*, project: Project, annotator: User) -> Empty:
    """Why `leases.lease_next` found nothing for this person. Two queries; where answers are paid perhaps a third."""
    if not project.rounds.filter(state=Round.State.OPEN).exists():
        return Empty("no_round")
    waiting = queue.of_open_round(project).filter(state=QueueEntry.State.OPEN)
    mine = Annotation.objects.filter(entry=OuterRef("pk"), annotator=annotator, is_current=True)
    others = Lease.objects.filter(entry=OuterRef("pk"), ended_at__isnull=True).exclude(annotator=annotator)
    askable = Q(pk__in=queue.askable(annotator, project).values("pk"))
    counts = waiting.aggregate(
        n_waiting=Count("pk"),
        n_said=Count("pk", filter=Q(Exists(mine))),
        n_askable=Count("pk", filter=askable),
        n_held=Count("pk", filter=askable & Q(Exists(others))),
    )
    if not counts["n_waiting"]:
        return Empty("round_done")
    kind: Literal["budget", "held_by_others", "all_answered_by_me", "not_for_me"] = "not_for_me"
    if counts["n_askable"]:
        kind = "held_by_others" if payments.refusal(project) is None else "budget"
    elif counts["n_said"] == counts["n_waiting"]:
        kind = "all_answered_by_me"
    return Empty(kind, counts["n_waiting"], counts["n_held"])


def remaining(*, project: Project, annotator: User, now: datetime | None = None) -> OwnProgress:
    """This person's progress, for the line above the question; one query."""
    midnight = (
        (now or timezone.now())
        .astimezone(ZoneInfo(project.time_zone))
        .replace(hour=0, minute=0, second=0, microsecond=0)
    )
    left = queue.answerable(annotator, project)
    today = Annotation.objects.filter(
        project=project, annotator=annotator, created_at__gte=midnight, is_current=True, label__isnull=False
    )
    counts = Project.objects.filter(pk=project.pk).values_list(
        _count(left), _count(today), _count(queue.of_open_round(project))
    )
    return OwnProgress(*counts.get())


def _count(rows: QuerySet[Any]) -> Coalesce:
    """The number of rows as one column, so that several counts take one query."""
    count = rows.order_by().annotate(one=Value(1)).values("one").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(count), Value(0))
