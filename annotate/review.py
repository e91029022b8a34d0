"""Decides what becomes gold, once the overlap of a question is full; a disagreement is no gold.

Also which questions are disputed. Deciding them is adjudication.py, and what was decided there stays.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate import questions
from annotate.access import MAY
from annotate.models import Adjudication, Annotation, Draw, Gold, Member, Project, QueueEntry, Round, User
from annotate.models.project import Arm, GoldRule
from annotate.questions import Answers, Question

ADJUDICATED = "adjudicated"  # the gold rule of a label that a reviewer decided


def settle(question: Question, answers: Answers) -> Gold | None:
    """Call after each counted answer or skip, in its transaction. Returns the gold that now stands, if any."""
    if question.entry.state == QueueEntry.State.UNRESOLVED:
        return None
    if _n_labels(question, answers) >= question.entry.overlap:
        _set_state(question.entry, QueueEntry.State.ANSWERED)
        return _promote(question, answers)
    if question.entry.state == QueueEntry.State.ANSWERED and _is_adjudicated(question.entry):
        return _standing_gold(question)  # decided: a label taken back opens it no more
    _set_state(question.entry, _state_while_not_full(question, answers))
    if _may_have_gold(question, answers):  # an answer was taken back, and the gold of this round with it
        fallen = Gold.objects.current().filter(item=question.entry.item_id, round=question.entry.round)
        fallen.exclude(rule=ADJUDICATED).update(is_current=False)
    return None


def disputes(project: Project) -> QuerySet[QueueEntry]:
    """Questions that people are done with, that gave no gold and that nobody decided; one for each item.

    Their overlap is full, or a round was closed over labels that differ. Not those that are asked again now.
    """
    gold = Gold.objects.current().filter(item=OuterRef("item"))
    is_audited = Exists(Draw.objects.filter(item=OuterRef("item"), arm=Arm.AUDIT))
    has_audit, has_other = Exists(gold.filter(origin=Arm.AUDIT)), Exists(gold.exclude(origin=Arm.AUDIT))
    later = QueueEntry.objects.filter(item=OuterRef("item"), pk__gt=OuterRef("pk"))
    state = QueueEntry.State
    closed = Q(state=state.UNRESOLVED, round__state=Round.State.CLOSED, n_different__gt=1)
    return (
        QueueEntry.objects.filter(round__project=project, item__withdrawn_at__isnull=True)
        .filter(state__in=(state.ANSWERED, state.UNRESOLVED))
        .exclude(has_audit | (~is_audited & has_other))
        .exclude(Exists(Adjudication.objects.filter(entry=OuterRef("pk"), is_current=True)))
        .exclude(Exists(later.exclude(state=state.SKIPPED)))
        .annotate(n_different=_n_different())
        .filter(Q(state=state.ANSWERED) | closed)
    )


def decidable(disputed: QuerySet[QueueEntry], by: User) -> QuerySet[QueueEntry]:
    """Those that `by` may decide: not one's own answers, while somebody who has not answered could."""
    others = fresh_reviewers(OuterRef("round__project"), OuterRef("item")).exclude(user=by)
    mine = _answered(OuterRef("item")).filter(annotator=by)
    return disputed.exclude(Exists(mine) & Exists(others))


def fresh_reviewers(project: Any, item: Any) -> QuerySet[Member]:
    """Members who may review and have not said what this item is."""
    able = Member.objects.filter(project=project, role__in=MAY["review"], user__is_active=True)
    named = OuterRef(item) if isinstance(item, OuterRef) else item
    return able.exclude(Exists(_answered(named).filter(annotator=OuterRef("user"))))


def _answered(item: Any) -> QuerySet[Annotation]:
    return Annotation.objects.filter(item=item, label__isnull=False)


def _n_different() -> Coalesce:
    """How many labels stand for the question's item."""
    counted = Annotation.objects.filter(item=OuterRef("item"), is_current=True, is_counted=True, label__isnull=False)
    n = counted.order_by().values("item").annotate(n=Count("label", distinct=True)).values("n")
    return Coalesce(Subquery(n, output_field=IntegerField()), 0)


def gold_label(project: Project, answers: Sequence[tuple[int, bool]]) -> int | None:
    """The label id that meets the project's gold rule, given (label id, is the annotator trusted) per answer."""
    if project.gold_rule == GoldRule.ONE_TRUSTED:
        trusted = {label for label, is_trusted in answers if is_trusted}
        return trusted.pop() if len(trusted) == 1 else None
    agreed = [label for label, n in Counter(label for label, _ in answers).items() if n >= project.agree_k]
    return agreed[0] if len(agreed) == 1 else None


def _n_labels(question: Question, answers: Answers) -> int:
    """How many people's labels the question has.

    A blind label counts here though its author took it back after seeing the machine's: else looking would
    decide which of the blind answers the audit keeps.
    """
    entry = question.entry
    now = [row for row in answers.standing(blind=False) if row.label_id and row.entry_id == entry.pk]
    blind = [row for row in answers.standing(blind=True) if row.label_id and row.entry_id == entry.pk]
    return max(len(now), len(blind)) if entry.is_blind else len(now)


def _state_while_not_full(question: Question, answers: Answers) -> str:
    said = [row for row in answers.standing(blind=False) if row.entry_id == question.entry.pk]
    if any(row.skip_reason for row in said) and not questions.others_may_answer(question):
        return QueueEntry.State.SKIPPED
    if question.entry.item.withdrawn_at is not None:
        return QueueEntry.State.UNRESOLVED
    return QueueEntry.State.OPEN


def _promote(question: Question, answers: Answers) -> Gold | None:
    """Replace the item's gold by what the rule says now; no gold where people disagree."""
    evidence = evidence_of(question.entry, answers)
    label = gold_label(question.project, [(row.label_id or 0, row.annotator_id in answers.trusted) for row in evidence])
    is_blind = all(row.is_blind for row in evidence)
    before = _standing_gold(question) if _may_have_gold(question, answers) else None
    if before and ((before.label_id, before.is_blind) == (label, is_blind) or before.rule == ADJUDICATED):
        return before
    if before:
        Gold.objects.filter(pk=before.pk).update(is_current=False)
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


def evidence_of(entry: QueueEntry, answers: Answers) -> list[Annotation]:
    """The item's labels that the rule looks at; for a blind question what each person said last while blind."""
    return [row for row in answers.standing(blind=entry.is_blind) if row.label_id is not None]


def _may_have_gold(question: Question, answers: Answers) -> bool:
    """Spares the first answer a query. Gold of this round comes with an answer, and those were read under the lock."""
    return question.has_gold or len(answers.rows) > 1


def _standing_gold(question: Question) -> Gold | None:
    return standing_gold(question.entry.item_id, is_audited=question.is_audited)


def standing_gold(item: int, *, is_audited: bool) -> Gold | None:
    """The gold that a new one would replace: what the audit obtained and what trains stand side by side."""
    standing = Gold.objects.current().filter(item=item)
    if is_audited:
        return standing.filter(origin=Arm.AUDIT).first()
    return standing.exclude(origin=Arm.AUDIT).first()


def _is_adjudicated(entry: QueueEntry) -> bool:
    return Adjudication.objects.filter(entry=entry, is_current=True).exists()


def _set_state(entry: QueueEntry, state: str) -> None:
    # As it was read: while a lease on it is active, or its lock is held, nobody else changes it.
    if entry.state != state:
        QueueEntry.objects.filter(pk=entry.pk).update(state=state)
        entry.state = state
