"""What is left for one person to answer in the open round, and why `leases.lease_next` found nothing for them."""

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
    """Why there is nothing to answer now."""

    # budget: the cap for people leaves nothing for another answer
    kind: Literal["no_round", "round_done", "held_by_others", "all_answered_by_me", "not_for_me", "budget"]
    n_waiting: int = 0
    n_held_by_others: int = 0


@dataclass(frozen=True)
class OwnProgress:
    n_left: int  # questions of the open round that this person can still answer
    n_answered_today: int
    n_in_round: int


def why_empty(*, project: Project, annotator: User) -> Empty:
    """Why `lease_next` found nothing; two queries, and a third where answers are paid."""
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
    """How far this person is, for the line above the question; one query."""
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
    """How many rows, as a column of whatever is asked."""
    counted = rows.order_by().annotate(one=Value(1)).values("one").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted), Value(0))
