"""Decides which runs do not hold each other up: each lane has workers of its own, and no project can fill a lane.

A run's lane (`Run.queue`) says what it needs. `llm`: it waits for a server. `io`: it waits for disks and the database.
`ml`: it loads torch or the whole pool, so that memory allows few of them. annotate/tasks.py says which kind needs what.
"""

from collections.abc import Sequence

from django.conf import settings
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate.models import Run
from annotate.models.base import database_now

LANES = ("llm", "io", "ml")


def n_at_once(lane: str) -> int:
    """How many runs of this lane one worker performs at the same time."""
    return {"llm": settings.WORKER_LLM_RUNS, "io": settings.WORKER_IO_RUNS, "ml": settings.WORKER_ML_RUNS}[lane]


def waiting(lanes: Sequence[str], *, most_of_a_project: int | None = None) -> QuerySet[Run]:
    """The queued runs of these lanes in the order in which they are taken.

    First those of projects with the fewest runs at work in the lane, then the oldest. `most_of_a_project`: leave out
    runs of projects that have so many at work there already.
    """
    same = Run.objects.filter(project=OuterRef("project"), queue=OuterRef("queue"), state=Run.State.RUNNING)
    counted = same.order_by().values("project").annotate(n=Count("pk")).values("n")
    rows = Run.objects.filter(state=Run.State.QUEUED, queue__in=lanes).alias(n_at_work=Coalesce(Subquery(counted), 0))
    if most_of_a_project is not None:
        rows = rows.filter(n_at_work__lt=most_of_a_project)
    return rows.order_by(F("n_at_work").asc(), "created_at", "pk")


def most_of_a_project(n_places: int) -> int:
    """How many of so many places in a lane one project may take: all but one, so that others find one."""
    return max(1, n_places - 1)


def at_work(run: Run) -> QuerySet[Run]:
    """The runs that are at work now in the lane of a run that waits."""
    return Run.objects.filter(queue=run.queue, state=Run.State.RUNNING, lease_until__gte=database_now())


def n_before(run: Run) -> int:
    """How many runs were queued before this one in its lane."""
    earlier = Q(created_at__lt=run.created_at) | Q(created_at=run.created_at, pk__lt=run.pk)
    return Run.objects.filter(earlier, queue=run.queue, state=Run.State.QUEUED).count()
