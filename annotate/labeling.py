"""Takes answers: submit, skip, change. Append-only, at most once per idempotency key, counted while leased."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from annotate import access, projects, review, routing
from annotate.errors import Conflict, InvalidInput, LeaseLost
from annotate.models import Annotation, Label, Lease, QueueEntry, Round, User
from annotate.models.annotation import SkipReason
from annotate.models.base import database_now


@dataclass(frozen=True)
class Answer:
    """What a person said: a label, or why they skipped."""

    label: Label | None = None
    skip_reason: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.label is None) == (self.skip_reason is None):
            raise InvalidInput("An answer is a label or a reason to skip, one of the two.")
        if self.skip_reason is not None and self.skip_reason not in SkipReason.values:
            raise InvalidInput(f"{self.skip_reason!r} is no reason to skip; there are: {', '.join(SkipReason.values)}.")
        if self.seconds is not None and not 0 <= self.seconds < 1e7:
            raise InvalidInput(f"{self.seconds!r} seconds cannot have been spent on one item.")


@transaction.atomic
def submit(*, lease: Lease, answer: Answer, key: str, by: User, now: datetime | None = None) -> Annotation:
    """Store one answer to a leased question. The same key again returns the first; another body is refused.

    An answer whose lease was lost is stored too, uncounted: nothing that a person did is dropped.
    """
    now = now or database_now()
    if lease.annotator_id != by.pk:
        raise LeaseLost("This item is held for somebody else.")
    if first := _replayed(key, lease.entry, answer, by):
        return first
    _check(lease.entry, answer, by)
    outcome = Lease.Outcome.ANSWERED if answer.label else Lease.Outcome.SKIPPED
    try:
        routing.end(lease=lease, outcome=outcome, now=now)
        is_counted = True
    except LeaseLost:
        is_counted = False
    annotation = _append(lease.entry, answer, key, by, is_counted=is_counted)
    if is_counted:
        review.settle(lease.entry)
    return annotation


@transaction.atomic
def change(*, entry: QueueEntry, answer: Answer, key: str, by: User) -> Annotation:
    """Replace one's own answer while its round is open; the earlier one stays as a revision."""
    if first := _replayed(key, entry, answer, by):
        return first
    _check(entry, answer, by)
    if entry.round.state != Round.State.OPEN:
        raise Conflict(f"Round {entry.round.index} is closed; its answers stand.")
    earlier = Annotation.objects.filter(entry=entry, annotator=by, is_current=True).first()
    if earlier is None:
        raise Conflict(f"{by} has not answered this question.")
    if answer.label is None or earlier.label is None:
        raise Conflict("An answer is changed to another label; it cannot become a skip.")
    annotation = _append(entry, answer, key, by, is_counted=earlier.is_counted)
    if annotation.is_counted:
        review.settle(entry)
    return annotation


def _replayed(key: str, entry: QueueEntry, answer: Answer, by: User) -> Annotation | None:
    first = Annotation.objects.filter(idempotency_key=key).first()
    if first is None:
        return None
    same = (first.entry_id, first.annotator_id, first.label_id, first.skip_reason) == (
        entry.pk,
        by.pk,
        answer.label.pk if answer.label else None,
        answer.skip_reason,
    )
    if not same:
        raise Conflict("This answer's key was used before for another answer; nothing was changed.")
    return first


def _check(entry: QueueEntry, answer: Answer, by: User) -> None:
    project = entry.round.project
    access.require(by, project, to="annotate")
    if answer.label is not None and answer.label.schema_id != projects.current_schema(project).pk:
        raise InvalidInput(f"{answer.label} is not one of this project's labels.")


def _append(entry: QueueEntry, answer: Answer, key: str, by: User, *, is_counted: bool) -> Annotation:
    """The next revision of this person's answer. An uncounted one never takes a counted one's place."""
    mine = Annotation.objects.filter(item=entry.item_id, annotator=by)
    current = mine.filter(is_current=True).first()
    is_current = is_counted or current is None
    if is_current:
        mine.filter(is_current=True).update(is_current=False)
    project = entry.round.project
    return Annotation.objects.create(
        project=project,
        item_id=entry.item_id,
        entry=entry,
        annotator=by,
        label=answer.label,
        skip_reason=answer.skip_reason,
        guidelines=projects.current_guidelines(project),
        revision=(mine.aggregate(last=Max("revision"))["last"] or 0) + 1,
        is_current=is_current,
        is_counted=is_counted,
        is_blind=entry.is_blind,
        seconds=answer.seconds,
        # Paid once per answered question: neither a skip nor a second thought is a second label.
        price_micros=project.human_price_micros if answer.label and not _paid(entry, by) else 0,
        idempotency_key=key,
    )


def _paid(entry: QueueEntry, by: User) -> bool:
    return Annotation.objects.filter(entry=entry, annotator=by, price_micros__gt=0).exists()
