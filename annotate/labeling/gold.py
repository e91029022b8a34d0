"""Decides which label becomes gold: the one that meets the project's gold rule once a question's overlap is full.

A full question whose answers meet no rule is disputed (disputes.py). Gold that a reviewer decided (adjudication.py) is
never replaced here, unless a change of labels made it void. Answers count by what their labels read as now.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from annotate.labeling import context, disputes, queue
from annotate.labeling.context import AnswerContext, Answers
from annotate.labels import LabelHistory
from annotate.models import Adjudication, Annotation, Gold, Label, Project, QueueEntry
from annotate.models.project import Arm, GoldRule
from models_ml.label_map import NO_LABEL, LabelMap

ADJUDICATED = "adjudicated"  # the gold rule of a label that a reviewer decided


def settle(question: AnswerContext, answers: Answers) -> Gold | None:
    """Update the question's state and its item's gold; call after each counted answer or skip, in its transaction.

    Returns the item's gold, if any, where the overlap is full or a reviewer has decided the question; else None.
    """
    if question.entry.state == QueueEntry.State.UNRESOLVED:
        return None
    if _n_labels(question, answers) >= question.entry.overlap:
        _set_state(question.entry, QueueEntry.State.ANSWERED)
        return _promote(question, answers)
    if question.entry.state == QueueEntry.State.ANSWERED and _is_adjudicated(question.entry):
        return _standing_gold(question)  # a label that became a skip does not open a decided question again
    _set_state(question.entry, _state_while_not_full(question, answers))
    if _may_have_gold(question, answers):  # a label became a skip: the gold that it gave in this round ends
        of_round = Gold.objects.current().filter(item=question.entry.item_id, round=question.entry.round)
        of_round.exclude(rule=ADJUDICATED).update(is_current=False)
    return None


def gold_label(project: Project, answers: Sequence[tuple[int, bool]]) -> int | None:
    """The id of the label that meets the project's gold rule, else None.

    `answers` holds (label id, whether the annotator is trusted) for each person.
    """
    if project.gold_rule == GoldRule.ONE_TRUSTED:
        trusted = {label for label, is_trusted in answers if is_trusted}
        return trusted.pop() if len(trusted) == 1 else None
    agreed = [label for label, n in Counter(label for label, _ in answers).items() if n >= project.agree_k]
    return agreed[0] if len(agreed) == 1 else None


def settle_again(project: Project, history: LabelHistory) -> int:
    """Make gold of disputed questions whose answers agree under `history`, after labels were merged; returns how many.

    What people answered stays as it is; the new gold has the label of the version in force.
    """
    settled = _settled_disputes(project, history)
    made = [_settled(entry, history.labels[index], evidence) for entry, index, evidence in settled]
    Gold.objects.bulk_create(made)
    return len(made)


def n_settled_by(project: Project, history: LabelHistory, step: LabelMap) -> int:
    """How many disputes of today `settle_again` would settle, were today's labels changed by `step`."""
    return sum(1 for _ in _settled_disputes(project, history, step))


def _settled_disputes(
    project: Project, history: LabelHistory, step: LabelMap | None = None
) -> Iterator[tuple[QueueEntry, int, list[Annotation]]]:
    """Disputed questions, the index of the label that their answers meet the gold rule with by the maps, and those.

    Only those whose answers name different labels: where there is one label, no merge can have settled anything.
    """
    disputed = disputes.undecided(project).filter(state=QueueEntry.State.ANSWERED).select_related("item", "round")
    for entry in disputed.iterator():
        answers = context.all_answers(project, entry.item_id)
        said, evidence = [], evidence_of(entry, answers)
        if len({row.label_id for row in evidence}) < 2:
            continue
        for row in evidence:
            index = history.gold_index(row.label_id or 0)
            if step is not None:
                index = int(step.gold(np.array([index]))[0])
            if index != NO_LABEL:
                said.append((index, row.annotator_id in answers.trusted))
        label = gold_label(project, said) if len(said) >= entry.overlap else None
        if label is not None:
            yield entry, label, evidence


def _settled(entry: QueueEntry, label: Label, evidence: Sequence[Annotation]) -> Gold:
    origin = context.first_arm(entry.item_id).values_list("arm", flat=True).first()
    return Gold(
        project=entry.round.project,
        item_id=entry.item_id,
        label=label,
        rule=entry.round.project.gold_rule,
        origin=origin or Arm.ACTIVE,
        is_blind=all(row.is_blind for row in evidence),
        round=entry.round,
    )


def _n_labels(question: AnswerContext, answers: Answers) -> int:
    """How many people have labeled the question.

    A blind question also counts a blind label that its author replaced by a skip after seeing the machine's label:
    otherwise seeing it would influence which blind answers the audit keeps.
    """
    entry = question.entry
    latest = [row for row in answers.standing(blind=False) if row.label_id and row.entry_id == entry.pk]
    blind = [row for row in answers.standing(blind=True) if row.label_id and row.entry_id == entry.pk]
    return max(len(latest), len(blind)) if entry.is_blind else len(latest)


def _state_while_not_full(question: AnswerContext, answers: Answers) -> str:
    latest = [row for row in answers.standing(blind=False) if row.entry_id == question.entry.pk]
    skipped_by = [row.annotator_id for row in latest if row.skip_reason]
    if skipped_by and not context.others_may_answer(question) and not _comes_back(question.entry, skipped_by):
        return QueueEntry.State.SKIPPED
    if question.entry.item.withdrawn_at is not None:
        return QueueEntry.State.UNRESOLVED
    return QueueEntry.State.OPEN


def _comes_back(entry: QueueEntry, skipped_by: Sequence[int]) -> bool:
    """Whether the question is asked once more of the only person who could answer it and skipped it."""
    return len(skipped_by) == 1 and queue.may_be_asked_again(skipped_by[0], entry)


def _promote(question: AnswerContext, answers: Answers) -> Gold | None:
    """Replace the item's gold by the label that meets the rule now, or by none; a reviewer's decision stays.

    Void gold gives way, a void decision with it; the new gold keeps its origin.
    """
    said = [(row, answers.reads(row, question.reading)) for row in evidence_of(question.entry, answers)]
    valid = [(row, label) for row, label in said if label is not None]
    label = gold_label(question.project, [(label, row.annotator_id in answers.trusted) for row, label in valid])
    is_blind = all(row.is_blind for row, _label in valid)
    before = _standing_gold(question) if _may_have_gold(question, answers) else None
    if before:
        reads = question.reading.label_id(before.label_id, before.label.schema_id)
        is_same = (reads, before.is_blind) == (label, is_blind)
        if reads is not None and (is_same or before.rule == ADJUDICATED):
            return before
        _retire(before)
    if label is None:
        return None
    return Gold.objects.create(
        project=question.project,
        item_id=question.entry.item_id,
        label_id=label,
        rule=question.project.gold_rule,
        origin=before.origin if before else question.origin,
        is_blind=is_blind,
        round=question.entry.round,
    )


def _retire(gold: Gold) -> None:
    Gold.objects.filter(pk=gold.pk).update(is_current=False)
    if gold.rule == ADJUDICATED:
        decisions = Adjudication.objects.filter(entry__item=gold.item_id, entry__round=gold.round_id, is_current=True)
        decisions.update(is_current=False)


def evidence_of(entry: QueueEntry, answers: Answers) -> list[Annotation]:
    """The item's labels that the gold rule judges: each person's last one, for a blind question the last blind one."""
    return [row for row in answers.standing(blind=entry.is_blind) if row.label_id is not None]


def _may_have_gold(question: AnswerContext, answers: Answers) -> bool:
    """Whether the item can have gold; False spares the first answer a query.

    `has_gold` was read before the lock; gold made since then came with an answer, and answers were read under the lock.
    """
    return question.has_gold or len(answers.rows) > 1


def _standing_gold(question: AnswerContext) -> Gold | None:
    return standing_gold(question.entry.item_id, is_audited=question.is_audited)


def standing_gold(item: int, *, is_audited: bool) -> Gold | None:
    """The item's current gold of one kind, of two that stand side by side: audit gold, or gold that trains."""
    standing = Gold.objects.current().filter(item=item).select_related("label")
    if is_audited:
        return standing.filter(origin=Arm.AUDIT).first()
    return standing.exclude(origin=Arm.AUDIT).first()


def _is_adjudicated(entry: QueueEntry) -> bool:
    return Adjudication.objects.filter(entry=entry, is_current=True).exists()


def _set_state(entry: QueueEntry, state: str) -> None:
    # entry.state may have been read before the lock, and spares a query: a question keeps its state while somebody
    # else has a lease on it.
    if entry.state != state:
        QueueEntry.objects.filter(pk=entry.pk).update(state=state)
        entry.state = state
