"""Who gets which question now: a lease takes one slot of an entry, and gives it back exactly once."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from annotate import access
from annotate.errors import Conflict, LeaseLost
from annotate.models import Annotation, Lease, QueueEntry, Round, User
from annotate.models.base import database_now


@transaction.atomic
def lease(*, entry: QueueEntry, annotator: User, now: datetime | None = None) -> Lease:
    """Hold `entry` for `annotator`; Conflict says why it cannot be had."""
    now = now or database_now()
    access.require(annotator, entry.round.project, to="annotate")
    expire(entry=entry, now=now)
    if held := Lease.objects.filter(entry=entry, annotator=annotator, ended_at__isnull=True).first():
        return held
    # A skip may still become an answer; an answer is changed, not given again.
    if Annotation.objects.filter(entry=entry, annotator=annotator, is_current=True, label__isnull=False).exists():
        raise Conflict(f"{annotator} has answered this question already.")
    _take_slot(entry)
    try:
        with transaction.atomic():
            return Lease.objects.create(
                entry=entry,
                annotator=annotator,
                granted_at=now,
                expires_at=now + timedelta(seconds=settings.ANSWER_LEASE_SECONDS),
            )
    except IntegrityError:
        raise Conflict(f"{annotator} holds this question in another window.") from None


@transaction.atomic
def end(*, lease: Lease, outcome: str, now: datetime | None = None) -> None:
    """End a lease once; LeaseLost if it has ended or run out. An answer keeps its slot, all else returns it."""
    now = now or database_now()
    active = Lease.objects.filter(pk=lease.pk, ended_at__isnull=True, expires_at__gt=now)
    if active.update(ended_at=now, outcome=outcome) != 1:
        raise LeaseLost("This item is no longer held for you.")
    if outcome != Lease.Outcome.ANSWERED:
        return_slot(lease.entry_id)


def expire(*, entry: QueueEntry, now: datetime) -> int:
    """End what has run out on this entry; returns how many slots came back."""
    n_expired = 0
    for old in Lease.objects.filter(entry=entry, ended_at__isnull=True, expires_at__lte=now):
        # Filtered again: whoever changes the row gives the slot back, nobody else.
        if Lease.objects.filter(pk=old.pk, ended_at__isnull=True).update(ended_at=now, outcome=Lease.Outcome.EXPIRED):
            return_slot(entry.pk)
            n_expired += 1
    return n_expired


def close_questions(questions: QuerySet[QueueEntry], *, now: datetime) -> int:
    """Make open questions unresolved: their leases end, what is taken is what was answered. Returns how many."""
    n_closed = 0
    for entry in questions.filter(state=QueueEntry.State.OPEN):
        held = Lease.objects.filter(entry=entry, ended_at__isnull=True)
        held.update(ended_at=now, outcome=Lease.Outcome.RELEASED)
        answered = entry.annotations.filter(is_current=True, is_counted=True, label__isnull=False)
        entry.n_taken, entry.state = answered.count(), QueueEntry.State.UNRESOLVED
        entry.save(update_fields=["n_taken", "state"])
        n_closed += 1
    return n_closed


def return_slot(entry_id: int) -> None:
    QueueEntry.objects.filter(pk=entry_id, n_taken__gt=0).update(n_taken=F("n_taken") - 1)


def _take_slot(entry: QueueEntry) -> None:
    """One more slot, only while the round is open and one is free: a single statement that must change a row."""
    free = QueueEntry.objects.filter(
        pk=entry.pk,
        state=QueueEntry.State.OPEN,
        n_taken__lt=F("overlap"),
        round__state=Round.State.OPEN,
    )
    if free.update(n_taken=F("n_taken") + 1) == 1:
        return
    entry.refresh_from_db()
    if entry.round.state != Round.State.OPEN:
        raise Conflict(f"Round {entry.round.index} is closed.")
    if entry.state in (QueueEntry.State.UNRESOLVED, QueueEntry.State.SKIPPED):
        raise Conflict(f"This question is {entry.state}: its item was withdrawn, or everybody skipped it.")
    raise Conflict("Enough people have answered this question or hold it now.")
