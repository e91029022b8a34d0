"""Open questions that wait although somebody has nothing to answer: for whom they wait, and what that person can do."""

from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from annotate.errors import BudgetReached, Conflict
from annotate.labeling import leases, queue
from annotate.models import Annotation, Lease, Project, QueueEntry, User


@dataclass(frozen=True)
class Waiting:
    """The open questions of the open round, as one person sees them."""

    n: int = 0
    n_for_me: int = 0  # that this person can answer now
    n_skipped: int = 0  # that this person skipped, that now wait for others, and that they may have again
    n_for_nobody: int = 0  # that nobody in the project can be asked


def waiting(*, project: Project, person: User) -> Waiting:
    """Count the open questions of the open round by whom they wait for; one query."""
    counts = {
        "n": Count("pk"),
        "n_for_me": Count("pk", filter=Q(pk__in=queue.answerable(person, project).values("pk"))),
        "n_skipped": Count("pk", filter=Q(pk__in=_skipped(project, person).values("pk"))),
        "n_for_nobody": Count("pk", filter=queue.for_nobody()),
    }
    return Waiting(**_open(project).aggregate(**counts))


def lease_skipped(*, project: Project, by: User, n: int) -> list[Lease]:
    """Lease up to `n` questions that `by` skipped and that wait for others, so that `by` can answer them after all.

    Fewer, perhaps none, where others were quicker or the budget for people allows no more.
    """
    granted = []
    for entry in _skipped(project, by).select_related("round__project").order_by("position")[:n]:
        try:
            granted.append(leases.lease(entry=entry, annotator=by))
        except (BudgetReached, Conflict):
            continue
    return granted


def _open(project: Project) -> QuerySet[QueueEntry]:
    return queue.of_open_round(project).filter(state=QueueEntry.State.OPEN)


def _skipped(project: Project, person: User) -> QuerySet[QueueEntry]:
    """Open questions with a free slot that this person skipped and is not asked again."""
    mine = Annotation.objects.filter(entry=OuterRef("pk"), annotator=person, is_current=True, is_counted=True)
    skipped = _open(project).filter(Exists(mine.filter(label__isnull=True)), n_taken__lt=F("overlap"))
    member = queue.annotators().filter(user=person, project__rounds=OuterRef("round"))
    skipped = skipped.filter(Exists(member), item__withdrawn_at__isnull=True)
    return skipped.exclude(pk__in=queue.answerable(person, project).values("pk"))
