"""Stores answers: submit, skip, change, draft. Answers are append-only, one per idempotency key.

An answer counts for gold only if its lease was still active, and if its label still reads as one of the labels in
force. Also lists a person's own answers that can be changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import BigIntegerField, CharField, DateTimeField, F, OuterRef, QuerySet, Subquery, Value
from django.utils.translation import gettext as _

from annotate import access, projects
from annotate.errors import Conflict, InvalidInput, LeaseLost
from annotate.labeling import context, gold, slots
from annotate.labeling.context import AnswerContext, Answers
from annotate.labels import Reading
from annotate.models import Annotation, Draft, Label, LabelSchema, Lease, Project, QueueEntry, Round, User
from annotate.models.annotation import SkipReason
from annotate.models.base import is_storable
from annotate.models.compiled import CompiledUpdate
from annotate.models.write_lock import sqlite_write_lock
from annotate.money import payments

MAX_COMMENT = 5_000  # characters
_MAX_KEY = 100
_MAX_REVISIONS = 50  # answers of one person to one item, all of which are kept for ever


@dataclass(frozen=True)
class Answer:
    """What a person submits: a label (or its index), or the reason for a skip.

    `version` is the version of the labels that was shown, which an index refers to; None: the one in force.
    """

    label: Label | int | None = None
    skip_reason: str | None = None
    seconds: float | None = None
    is_flagged: bool = False
    comment: str = ""
    version: int | None = None

    def __post_init__(self) -> None:
        if (self.label is None) == (self.skip_reason is None):
            raise InvalidInput(_("An answer is a label or a reason to skip, one of the two."))
        if self.skip_reason is not None and self.skip_reason not in SkipReason.values:
            raise InvalidInput(
                _("%(given)s is no reason to skip; there are: %(known)s.")
                % {"given": repr(self.skip_reason), "known": ", ".join(SkipReason.values)}
            )
        if self.seconds is not None and not 0 <= self.seconds < 1e7:
            raise InvalidInput(_("%(time)s s cannot have been spent on one item.") % {"time": repr(self.seconds)})
        check_comment(self.comment)


@dataclass(frozen=True)
class OwnAnswer:
    """An answer of a person, and the public id of their latest lease on its question, which `change` takes.

    `label`: the label in force that the answer reads as; None for a skip, and where a change of labels made it void.
    """

    annotation: Annotation
    lease_id: str
    label: Label | None

    @property
    def is_void(self) -> bool:
        return self.annotation.label_id is not None and self.label is None


def submit(
    *, lease_id: str, project: Project | str, answer: Answer, key: str, by: User, now: datetime | None = None
) -> Annotation:
    """Store one answer to a leased question; if the lease was lost, the answer is stored, but not counted.

    Nor is it counted where it has a label of an earlier version that is void by now; the question is then asked again.
    `key` is the idempotency key: the same answer with the same key again returns the annotation stored first; another
    answer with that key is a Conflict. `project` is a row or a slug; a slug spares the caller a query, because access
    is checked here. Six queries where a first answer becomes gold.
    """
    # 1. The context, before the transaction: SQLite has one writer at a time, so the transaction is kept short.
    question = _load(lease_id, project, answer, key, by, now)
    with sqlite_write_lock(), transaction.atomic():
        # 2. Under the lock of the question, the answers, which others may have given in the meantime.
        slots.lock([question.entry.pk])
        answers, first = context.answers(question, key)
        if first:
            return _replayed(first, question, answer)
        _check_label(question, answer)
        return _submit(question, answers, answer, key)


def _submit(question: AnswerContext, answers: Answers, answer: Answer, key: str) -> Annotation:
    question, was_held = _end_lease(question, answer)
    is_counted = was_held and not _is_void(question, answer)
    # An uncounted answer never takes a counted one's place.
    is_current = is_counted or answers.current(question.person) is None
    annotation = _append(question, answers, answer, key, is_counted=is_counted, is_current=is_current)
    if was_held and (answer.label is None or not is_counted):
        slots.give_back([question.entry.pk])
    if is_counted:
        _settle(question, answers, annotation, answer)
    return annotation


def _settle(question: AnswerContext, answers: Answers, annotation: Annotation, answer: Answer) -> None:
    schema = _label(question, answer)[1]
    gold.settle(question, answers.plus(annotation, is_trusted=question.is_trusted, schema=schema))


@sqlite_write_lock()
@transaction.atomic
def change(
    *, lease_id: str, project: Project, answer: Answer, key: str, by: User, now: datetime | None = None
) -> Annotation:
    """Replace one's own answer to a question while its round is open; the earlier answer stays as a revision.

    `lease_id` is any lease of this person on that question, as `history` gives it. Changing an uncounted answer gives
    an uncounted one, unless only a change of labels made it void. `key` is an idempotency key, as in `submit`.
    """
    context.lock(lease_id, by)
    question = _load(lease_id, project, answer, key, by, now)
    answers, first = context.answers(question, key)
    if first:
        return _replayed(first, question, answer)
    _check_label(question, answer)
    if question.entry.round.state != Round.State.OPEN:
        raise Conflict(_("Round %(index)s is closed; its answers stand.") % {"index": question.entry.round.index})
    earlier = answers.current(by)
    if earlier is None or earlier.entry_id != question.entry.pk:
        raise Conflict(_("%(person)s has not answered this question.") % {"person": by})
    may_count = earlier.is_counted or _became_void(question, answers, earlier)
    is_counted = may_count and not _is_void(question, answer)
    if is_counted:
        _move_slot(question, earlier, answer)
    is_current = is_counted or not earlier.is_counted
    annotation = _append(question, answers, answer, key, is_counted=is_counted, is_current=is_current)
    if is_counted:
        _settle(question, answers, annotation, answer)
    return annotation


def history(*, project: Project, by: User, n: int = 10) -> list[OwnAnswer]:
    """This person's `n` latest current answers and skips in the open round, newest first; one query."""
    return _own(project, by, Annotation.objects.filter(entry__round__state=Round.State.OPEN), n)


def closed_history(*, project: Project, by: User, n: int = 10) -> list[OwnAnswer]:
    """This person's `n` latest current labels in closed rounds, newest first; one query."""
    rows = Annotation.objects.filter(entry__round__state=Round.State.CLOSED, label__isnull=False)
    return _own(project, by, rows, n)


def _own(project: Project, by: User, among: QuerySet[Annotation], n: int) -> list[OwnAnswer]:
    lease = Lease.objects.filter(entry=OuterRef("entry"), annotator=by).order_by("-pk")
    rows: Any = (
        among.filter(annotator=by, is_current=True, entry__round__project=project)
        .select_related("entry__item__content", "entry__round", "item", "label__schema")
        .annotate(lease_public_id=Subquery(lease.values("public_id")[:1]), in_force=_in_force(project))
        .order_by("-pk")[:n]
    )
    return [OwnAnswer(row, row.lease_public_id, _now(row.label, row.in_force)) for row in rows]


def save_draft(
    *, lease: Lease, by: User, label: Label | None = None, is_flagged: bool = False, comment: str = ""
) -> Draft:
    """Save the answer that somebody has begun, as their draft of this question; the last save wins. One query."""
    if lease.annotator_id != by.pk:
        raise LeaseLost(_("This item is held for somebody else."))
    if lease.outcome in (Lease.Outcome.ANSWERED, Lease.Outcome.SKIPPED):
        raise Conflict(_("This question is answered already; change the answer instead."))
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
    """This person's drafts of the leased questions, by queue entry id; one query where the labels never changed.

    Each with the label in force that its own reads as, or without one where that is void; the rest of it is kept.
    """
    project = OuterRef("entry__round__project")
    drafts: Any = Draft.objects.filter(annotator=by, entry__in=[lease.entry_id for lease in leases])
    found = {}
    for draft in drafts.select_related("label").annotate(in_force=_in_force(project)):
        draft.label = _now(draft.label, draft.in_force)
        found[draft.entry_id] = draft
    return found


def _in_force(project: Any) -> Subquery:
    return Subquery(LabelSchema.objects.filter(project=project).order_by("-version").values("pk")[:1])


def _now(label: Label | None, in_force: int) -> Label | None:
    """The label in force that `label` reads as."""
    if label is None or label.schema_id == in_force:
        return label
    history = Reading(in_force).history
    now = history.gold_label(label.pk)
    if now:
        now.schema = history.schema
    return now


def why_uncounted(annotation: Annotation) -> str | None:
    """What kept an answer from counting, by name; None for a counted one.

    round_closed, withdrawn, labels_changed (its label is void), or taken: somebody else had the question by then.
    """
    if annotation.is_counted:
        return None
    facts = QueueEntry.objects.filter(annotations=annotation)
    state, withdrawn_at, project = facts.values_list("round__state", "item__withdrawn_at", "round__project").get()
    if state != Round.State.OPEN:
        return "round_closed"
    if withdrawn_at:
        return "withdrawn"
    label = annotation.label
    in_force = LabelSchema.objects.filter(project=project).order_by("-version").values_list("pk", flat=True)[0]
    return "labels_changed" if label and _now(label, in_force) is None else "taken"


def check_comment(text: str) -> None:
    """InvalidInput for a comment that is too long, or that holds characters which a database cannot store."""
    if len(text) > MAX_COMMENT:
        raise InvalidInput(
            _("A comment has at most %(most)s characters; this one has %(many)s.")
            % {"most": f"{MAX_COMMENT:,}", "many": f"{len(text):,}"}
        )
    if not is_storable(text):
        raise InvalidInput(_("The comment holds half a character or a NUL."))


def _load(
    lease_id: str, project: Project | str, answer: Answer, key: str, by: User, now: datetime | None
) -> AnswerContext:
    """The context of the answer's question, after checks of the key, the person's access and the label."""
    if not 1 <= len(key) <= _MAX_KEY or not is_storable(key):
        raise InvalidInput(_("An answer's key has 1 to %(most)s characters.") % {"most": _MAX_KEY})
    index = answer.label if isinstance(answer.label, int) else None
    question = context.load(lease_id=lease_id, project=project, by=by, index=index, version=answer.version, now=now)
    if question is None:
        if isinstance(project, str):
            access.member_of(by, project, to="annotate")
        raise LeaseLost(_("This item is held for somebody else, or for nobody."))
    question.require_annotator()
    return question


def _check_label(question: AnswerContext, answer: Answer) -> None:
    """InvalidInput unless the label is one of this project's; Conflict where its version was taken back."""
    label, schema = _label(question, answer)
    if isinstance(answer.label, Label):
        if schema != question.schema_id and label not in question.reading.history.label_ids:
            raise InvalidInput(_("%(label)s is not one of this project's labels.") % {"label": answer.label})
        return
    if answer.label is None or label is not None:
        return
    if answer.version is None or question.project.schemas.filter(version=answer.version).exists():
        raise InvalidInput(_("This project has no label %(label)s.") % {"label": answer.label})
    raise Conflict(_("The labels that you saw are not in use any more; nothing was stored. Please answer again."))


def _label(question: AnswerContext, answer: Answer) -> tuple[int | None, int | None]:
    """The ids of the answer's label and of the version that it belongs to; None, None for a skip."""
    if isinstance(answer.label, Label):
        return answer.label.pk, answer.label.schema_id
    return question.label_id, question.label_schema_id


def _is_void(question: AnswerContext, answer: Answer) -> bool:
    """Whether the answer has a label that no label in force continues."""
    return answer.label is not None and question.reading.label_id(*_label(question, answer)) is None


def _became_void(question: AnswerContext, answers: Answers, earlier: Annotation) -> bool:
    """Whether this answer would count, had no change of labels made it void: the lease under it ended with it."""
    if earlier.label_id is None or answers.reads(earlier, question.reading) is not None:
        return False
    answered = Lease.objects.filter(entry=question.entry, annotator=question.person, outcome=Lease.Outcome.ANSWERED)
    return answered.exists()


def _replayed(first: Annotation, question: AnswerContext, answer: Answer) -> Annotation:
    """The annotation that was stored first under this key; Conflict if the submitted answer is another one."""
    stored = (first.entry_id, first.annotator_id, first.skip_reason, first.is_flagged, first.comment)
    submitted = (question.entry.pk, question.person.pk, answer.skip_reason, answer.is_flagged, answer.comment)
    if stored != submitted or not _says_the_same(first, question, answer):
        raise Conflict(_("This answer's key was used before for another answer; nothing was changed."))
    return first


def _says_the_same(first: Annotation, question: AnswerContext, answer: Answer) -> bool:
    if first.label_id == _label(question, answer)[0]:
        return True
    # An index without a version meant the labels that were in force when it came first.
    return answer.version is None and first.label is not None and first.label.index == answer.label


def _end_lease(question: AnswerContext, answer: Answer) -> tuple[AnswerContext, bool]:
    """End the lease; returns whether it was still active, and the question under the labels in force then.

    The slot stays taken: `_submit` frees it.
    """
    outcome = Lease.Outcome.SKIPPED if answer.label is None else Lease.Outcome.ANSWERED
    # A lease past its time limit is active until somebody else needs the question (see leases.lease_next).
    values = {"lease": question.lease.pk, "now": question.now, "outcome": outcome.value}
    if _END.run(**values, schema=question.schema_id) == 1:
        return question, True
    # The lease was lost, or the labels changed since the question was loaded, before it was locked.
    in_force = projects.current_schema(question.project).pk
    if in_force == question.schema_id:
        return question, False
    question = question.under(in_force)
    return question, _END.run(**values, schema=in_force) == 1


def _end(*, lease: Value, schema: Value, now: Value, outcome: Value) -> tuple[QuerySet[Lease], dict[str, Any]]:
    active = Lease.objects.filter(pk=lease, ended_at__isnull=True)
    active = active.annotate(in_force=_in_force(OuterRef("entry__round__project"))).filter(in_force=schema)
    return active, {"ended_at": now, "outcome": outcome}


_END = CompiledUpdate(_end, lease=BigIntegerField(), schema=BigIntegerField(), now=DateTimeField(), outcome=CharField())


def _move_slot(question: AnswerContext, earlier: Annotation, answer: Answer) -> None:
    """Free the slot where a label becomes a skip; take one where there is none for a label, Conflict if none is free.

    A skip has no slot, nor has a label that is not counted since a change of labels made it void.
    """
    if (earlier.label_id is not None and earlier.is_counted) == (answer.label is not None):
        return
    if answer.label is None:
        slots.give_back([question.entry.pk])
        return
    active = Lease.objects.filter(entry=question.entry, annotator=question.person, ended_at__isnull=True)
    if leases := list(active.values_list("pk", flat=True)):
        active.update(ended_at=question.now, outcome=Lease.Outcome.ANSWERED)
        payments.release(leases, now=question.now)
        return  # this person leased the question again after the skip: the label keeps the slot of that lease
    # A question that everybody skipped may still be answered by one of them.
    free = QueueEntry.objects.filter(pk=question.entry.pk, n_taken__lt=F("overlap"), item__withdrawn_at__isnull=True)
    free = free.exclude(state=QueueEntry.State.UNRESOLVED)
    if free.update(n_taken=F("n_taken") + 1) != 1:
        stands = "your skip stands" if earlier.label_id is None else "nothing was changed"
        raise Conflict(_("Others have taken this question over in the meantime; %(stands)s.") % {"stands": stands})


def _append(
    question: AnswerContext, answers: Answers, answer: Answer, key: str, *, is_counted: bool, is_current: bool
) -> Annotation:
    """Store the answer as this person's next revision, pay it where it is owed, and delete their draft."""
    mine = answers.by(question.person)
    if len(mine) >= _MAX_REVISIONS:
        raise Conflict(_("You have answered this item %(many)s times; your last answer stands.") % {"many": len(mine)})
    if is_current and any(row.is_current for row in mine):
        Annotation.objects.filter(pk__in=[row.pk for row in mine if row.is_current]).update(is_current=False)
    if question.has_draft:
        Draft.objects.filter(entry=question.entry, annotator=question.person).delete()
    # A label is paid once per question and person: neither a skip nor a changed answer is a second label.
    is_paid = any(row.entry_id == question.entry.pk and row.price_micros for row in mine)
    is_owed = answer.label is not None and not is_paid and (is_counted or _came_late(question))
    price = _paid(question, is_owed=is_owed)
    annotation = Annotation(
        project=question.project,
        item_id=question.entry.item_id,
        entry=question.entry,
        annotator=question.person,
        label_id=_label(question, answer)[0],
        skip_reason=answer.skip_reason,
        guidelines_id=question.guidelines_id,
        revision=max((row.revision for row in mine), default=0) + 1,
        is_current=is_current,
        is_counted=is_counted,
        is_blind=question.entry.is_blind and not question.has_seen,
        had_file=question.had_file,
        suggestion=question.entry.suggestion,
        is_flagged=answer.is_flagged,
        comment=answer.comment,
        seconds=answer.seconds,
        price_micros=price,
        idempotency_key=key,
    )
    return _insert(annotation)


def _paid(question: AnswerContext, *, is_owed: bool) -> int:
    """Pay the answer if it is owed, else release the money reserved with its lease; returns the micros paid."""
    if is_owed:
        return payments.settle(question.lease, question.project, now=question.now)
    if question.project.human_price_micros:
        payments.release([question.lease.pk], now=question.now)
    return 0


def _came_late(question: AnswerContext) -> bool:
    """Whether the lease ended because it ran out, was taken over, or its round was closed. Such work is paid."""
    lease, current = question.lease, question.entry.round
    if lease.outcome == Lease.Outcome.RELEASED:  # by closing the round, by the person, by a withdrawal, ...
        return current.closed_at is not None and lease.ended_at == current.closed_at
    return lease.outcome not in (Lease.Outcome.ANSWERED, Lease.Outcome.SKIPPED)


def _insert(annotation: Annotation) -> Annotation:
    """Insert the row; Conflict if its idempotency key is in use."""
    try:
        with transaction.atomic():
            annotation.save(force_insert=True)
    except IntegrityError:  # another question was answered with the same key at the same moment
        raise Conflict(_("This answer's key was used before for another answer; nothing was changed.")) from None
    return annotation
