"""Takes answers: submit, skip, change, draft. Append-only, at most once per idempotency key, counted while leased.

Also a person's own answers, as far as they can still be changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import BigIntegerField, CharField, DateTimeField, F, OuterRef, QuerySet, Subquery, Value

from annotate import access
from annotate.errors import Conflict, InvalidInput, LeaseLost
from annotate.labeling import context, gold, slots
from annotate.labeling.context import AnswerContext, Answers
from annotate.models import Annotation, Draft, Label, Lease, Project, QueueEntry, Round, User
from annotate.models.annotation import SkipReason
from annotate.models.base import is_storable
from annotate.models.compiled import CompiledUpdate
from annotate.models.write_lock import sqlite_write_lock
from annotate.money import payments

MAX_COMMENT = 5_000  # characters
_MAX_KEY = 100
_MAX_REVISIONS = 50  # of one person's answer to one item; each is kept for ever


@dataclass(frozen=True)
class Answer:
    """What a person said: a label (or its index among the project's), or why they skipped."""

    label: Label | int | None = None
    skip_reason: str | None = None
    seconds: float | None = None
    is_flagged: bool = False
    comment: str = ""

    def __post_init__(self) -> None:
        if (self.label is None) == (self.skip_reason is None):
            raise InvalidInput("An answer is a label or a reason to skip, one of the two.")
        if self.skip_reason is not None and self.skip_reason not in SkipReason.values:
            raise InvalidInput(f"{self.skip_reason!r} is no reason to skip; there are: {', '.join(SkipReason.values)}.")
        if self.seconds is not None and not 0 <= self.seconds < 1e7:
            raise InvalidInput(f"{self.seconds!r} seconds cannot have been spent on one item.")
        check_comment(self.comment)


@dataclass(frozen=True)
class OwnAnswer:
    """One of a person's own answers, and the lease by which it can be changed."""

    annotation: Annotation
    lease_id: str


def submit(
    *, lease_id: str, project: Project | str, answer: Answer, key: str, by: User, now: datetime | None = None
) -> Annotation:
    """Store one answer to a leased question. The same key again returns the first; another body is refused.

    `project` is a row, or the slug of one that need not be loaded before: access is checked here.

    An answer whose lease was lost is stored too, uncounted: nothing that a person did is dropped. Six queries
    where a first answer becomes gold.
    """
    # 1. What stays true is read before the transaction: the database has one writer at a time.
    question = _load(lease_id, project, answer, key, by, now)
    with sqlite_write_lock(), transaction.atomic():
        # 2. Under the lock of the question, what others may have said in the meantime.
        slots.lock([question.entry.pk])
        answers, first = context.answers(question, key)
        return _replayed(first, question, answer) if first else _submit(question, answers, answer, key)


def _submit(question: AnswerContext, answers: Answers, answer: Answer, key: str) -> Annotation:
    is_counted = _end_lease(question, answer)
    # An uncounted answer never takes a counted one's place.
    is_current = is_counted or answers.current(question.person) is None
    annotation = _append(question, answers, answer, key, is_counted=is_counted, is_current=is_current)
    if is_counted:
        if answer.label is None:
            slots.give_back([question.entry.pk])
        gold.settle(question, answers.plus(annotation, is_trusted=question.is_trusted))
    return annotation


@sqlite_write_lock()
@transaction.atomic
def change(
    *, lease_id: str, project: Project, answer: Answer, key: str, by: User, now: datetime | None = None
) -> Annotation:
    """Replace one's own answer while its round is open; the earlier one stays as a revision.

    `lease_id` is the lease that it was given under, see `history`. A late answer stays uncounted.
    """
    context.lock(lease_id, by)
    question = _load(lease_id, project, answer, key, by, now)
    answers, first = context.answers(question, key)
    if first:
        return _replayed(first, question, answer)
    if question.entry.round.state != Round.State.OPEN:
        raise Conflict(f"Round {question.entry.round.index} is closed; its answers stand.")
    earlier = answers.current(by)
    if earlier is None or earlier.entry_id != question.entry.pk:
        raise Conflict(f"{by} has not answered this question.")
    if earlier.is_counted:
        _move_slot(question, earlier, answer)
    annotation = _append(question, answers, answer, key, is_counted=earlier.is_counted, is_current=True)
    if annotation.is_counted:
        gold.settle(question, answers.plus(annotation, is_trusted=question.is_trusted))
    return annotation


def history(*, project: Project, by: User, n: int = 10) -> list[OwnAnswer]:
    """This person's last answers and skips in the open round, newest first; one query."""
    lease = Lease.objects.filter(entry=OuterRef("entry"), annotator=by).order_by("-pk")
    rows: Any = (
        Annotation.objects.filter(annotator=by, is_current=True)
        .filter(entry__round__project=project, entry__round__state=Round.State.OPEN)
        .select_related("entry__item__content", "entry__round", "item", "label")
        .annotate(lease_public_id=Subquery(lease.values("public_id")[:1]))
        .order_by("-pk")[:n]
    )
    return [OwnAnswer(row, row.lease_public_id) for row in rows]


def save_draft(
    *, lease: Lease, by: User, label: Label | None = None, is_flagged: bool = False, comment: str = ""
) -> Draft:
    """Keep what somebody has begun to say; it outlives the lease. One query, the last writer wins."""
    if lease.annotator_id != by.pk:
        raise LeaseLost("This item is held for somebody else.")
    if lease.outcome in (Lease.Outcome.ANSWERED, Lease.Outcome.SKIPPED):
        raise Conflict("This question is answered already; change the answer instead.")
    check_comment(comment)
    draft = Draft(entry=lease.entry, annotator=by, label=label, is_flagged=is_flagged, comment=comment)
    Draft.objects.bulk_create(
        [draft],
        update_conflicts=True,
        unique_fields=["entry", "annotator"],
        update_fields=["label", "is_flagged", "comment", "updated_at"],
    )
    return draft


def drafts_of(leases: Sequence[Lease], by: User) -> dict[int, Draft]:
    """This person's drafts by entry id; one query."""
    drafts = Draft.objects.filter(annotator=by, entry__in=[lease.entry_id for lease in leases])
    return {draft.entry_id: draft for draft in drafts.select_related("label")}


def check_comment(text: str) -> None:
    """InvalidInput unless every database can keep this comment."""
    if len(text) > MAX_COMMENT:
        raise InvalidInput(f"A comment has at most {MAX_COMMENT:,} characters; this one has {len(text):,}.")
    if not is_storable(text):
        raise InvalidInput("The comment holds half a character or a NUL.")


def _load(
    lease_id: str, project: Project | str, answer: Answer, key: str, by: User, now: datetime | None
) -> AnswerContext:
    """The question that this is an answer to, once access and the answer itself were checked."""
    if not 1 <= len(key) <= _MAX_KEY or not is_storable(key):
        raise InvalidInput(f"An answer's key has 1 to {_MAX_KEY} characters.")
    index = answer.label if isinstance(answer.label, int) else None
    question = context.load(lease_id=lease_id, project=project, by=by, index=index, now=now)
    if question is None:
        if isinstance(project, str):
            access.member_of(by, project, to="annotate")
        raise LeaseLost("This item is held for somebody else, or for nobody.")
    question.require_annotator()
    if isinstance(answer.label, Label) and answer.label.schema_id != question.schema_id:
        raise InvalidInput(f"{answer.label} is not one of this project's labels.")
    if answer.label is not None and _label_id(question, answer) is None:
        raise InvalidInput(f"This project has no label {answer.label}.")
    return question


def _label_id(question: AnswerContext, answer: Answer) -> int | None:
    return answer.label.pk if isinstance(answer.label, Label) else question.label_id


def _replayed(first: Annotation, question: AnswerContext, answer: Answer) -> Annotation:
    before = (first.entry_id, first.annotator_id, first.label_id, first.skip_reason, first.is_flagged, first.comment)
    again = (question.entry.pk, question.person.pk, _label_id(question, answer), answer.skip_reason)
    if before != (*again, answer.is_flagged, answer.comment):
        raise Conflict("This answer's key was used before for another answer; nothing was changed.")
    return first


def _end_lease(question: AnswerContext, answer: Answer) -> bool:
    """Whether the question was still held for this person. A label keeps the slot."""
    outcome = Lease.Outcome.SKIPPED if answer.label is None else Lease.Outcome.ANSWERED
    # Run out or not: while nobody else needed the question it was still theirs (see leases.lease_next).
    return _END.run(lease=question.lease.pk, now=question.now, outcome=outcome.value) == 1


def _end(*, lease: Value, now: Value, outcome: Value) -> tuple[QuerySet[Lease], dict[str, Any]]:
    active = Lease.objects.filter(pk=lease, ended_at__isnull=True)
    return active, {"ended_at": now, "outcome": outcome}


_END = CompiledUpdate(_end, lease=BigIntegerField(), now=DateTimeField(), outcome=CharField())


def _move_slot(question: AnswerContext, earlier: Annotation, answer: Answer) -> None:
    """A label taken back frees its slot; a skip that becomes a label needs one again."""
    if (earlier.label_id is None) == (answer.label is None):
        return
    if answer.label is None:
        slots.give_back([question.entry.pk])
        return
    held = Lease.objects.filter(entry=question.entry, annotator=question.person, ended_at__isnull=True)
    if again := list(held.values_list("pk", flat=True)):
        held.update(ended_at=question.now, outcome=Lease.Outcome.ANSWERED)
        payments.release(again, now=question.now)
        return  # leased once more after the skip: that slot serves
    # Skipped by all is no end for somebody who thinks again.
    free = QueueEntry.objects.filter(pk=question.entry.pk, n_taken__lt=F("overlap"), item__withdrawn_at__isnull=True)
    free = free.exclude(state=QueueEntry.State.UNRESOLVED)
    if free.update(n_taken=F("n_taken") + 1) != 1:
        raise Conflict("Others have taken this question over in the meantime; your skip stands.")


def _append(
    question: AnswerContext, answers: Answers, answer: Answer, key: str, *, is_counted: bool, is_current: bool
) -> Annotation:
    """The next revision of this person's answer; a draft of it is no longer needed."""
    mine = answers.by(question.person)
    if len(mine) >= _MAX_REVISIONS:
        raise Conflict(f"You have answered this item {len(mine)} times; your last answer stands.")
    if is_current and any(row.is_current for row in mine):
        Annotation.objects.filter(pk__in=[row.pk for row in mine if row.is_current]).update(is_current=False)
    if question.has_draft:
        Draft.objects.filter(entry=question.entry, annotator=question.person).delete()
    # Paid once per answered question: neither a skip nor a second thought is a second label.
    is_paid = any(row.entry_id == question.entry.pk and row.price_micros for row in mine)
    is_owed = answer.label is not None and not is_paid and (is_counted or _came_late(question))
    price = _paid(question, is_owed=is_owed)
    annotation = Annotation(
        project=question.project,
        item_id=question.entry.item_id,
        entry=question.entry,
        annotator=question.person,
        label_id=_label_id(question, answer),
        skip_reason=answer.skip_reason,
        guidelines_id=question.guidelines_id,
        revision=max((row.revision for row in mine), default=0) + 1,
        is_current=is_current,
        is_counted=is_counted,
        is_blind=question.entry.is_blind and not question.has_seen,
        suggestion=question.entry.suggestion,
        is_flagged=answer.is_flagged,
        comment=answer.comment,
        seconds=answer.seconds,
        price_micros=price,
        idempotency_key=key,
    )
    return _insert(annotation)


def _paid(question: AnswerContext, *, is_owed: bool) -> int:
    """What the answer is paid, in micros; what was reserved for it and is not owed is free again."""
    if is_owed:
        return payments.settle(question.lease, question.project, now=question.now)
    if question.project.human_price_micros:
        payments.release([question.lease.pk], now=question.now)
    return 0


def _came_late(question: AnswerContext) -> bool:
    """The work was done, and the question went to somebody else meanwhile; not: it was given back, or answered."""
    lease, current = question.lease, question.entry.round
    if lease.outcome == Lease.Outcome.RELEASED:  # by the round's end, not by themselves
        return current.closed_at is not None and lease.ended_at == current.closed_at
    return lease.outcome not in (Lease.Outcome.ANSWERED, Lease.Outcome.SKIPPED)


def _insert(annotation: Annotation) -> Annotation:
    try:
        with transaction.atomic():
            annotation.save(force_insert=True)
    except IntegrityError:  # the same key at the same moment, for another question
        raise Conflict("This answer's key was used before for another answer; nothing was changed.") from None
    return annotation
