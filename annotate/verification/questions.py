"""Checks of the states of questions against what they follow from: answers, decisions, item and round (I-9, S-6)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, QuerySet

from annotate.models import Adjudication, Annotation, Project, QueueEntry, Round, bulk
from annotate.verification.outcome import Finding, NotChecked

_State = QueueEntry.State


@dataclass
class _Said:
    """What people and reviewers said, by question."""

    n_labels: Counter[int] = field(default_factory=Counter)  # people whose last counted answer is a label
    n_blind: Counter[int] = field(default_factory=Counter)  # or was their last blind one
    n_skips: Counter[int] = field(default_factory=Counter)
    decision: dict[int, int | None] = field(default_factory=dict)  # the label of the decision that stands
    was_decided: set[int] = field(default_factory=set)  # with a label, now or once

    def n_people(self, question: int, *, is_blind: bool) -> int:
        n_last = self.n_labels[question]
        return max(n_last, self.n_blind[question]) if is_blind else n_last


def states_follow_from_the_answers(project: Project) -> Iterator[Finding]:
    """A decided question has its decision's state, a full one is answered, and no other one is.

    Of those that are not full, only an open round has open ones; skipped ones somebody skipped; and unresolved ones
    their round or the withdrawal of their item ended.
    """
    said = _said(project)
    fields = ("pk", "state", "overlap", "is_blind", "position", "item__public_id")
    names = {"index": F("round__index"), "withdrawn_at": F("item__withdrawn_at"), "round_state": F("round__state")}
    entries: QuerySet[Any, Any] = QueueEntry.objects.filter(round__project=project).order_by("pk")
    for row in entries.values(*fields, **names).iterator(chunk_size=bulk.ROWS_PER_PAGE):
        if row["state"] in _possible(row, said):
            continue
        if row["state"] == _State.UNRESOLVED and not _is_settled(row, said):
            if _was_out(project, row["item__public_id"]):
                continue
            if project.imports.filter(n_revived__gt=0).exists():
                name = f"question {row['position']} of round {row['index']}"
                yield NotChecked(f"why {name} is unresolved: an import brought items back", is_part=True)
                continue
        yield (
            f"question {row['position']} of round {row['index']} (item {row['item__public_id']}) is {row['state']}, "
            f"which does not follow from its answers"
        )


def _said(project: Project) -> _Said:
    said = _Said()
    counted = Annotation.objects.filter(project=project, is_counted=True, entry__isnull=False)
    rows = counted.order_by("revision", "pk").values_list("entry", "annotator", "label", "is_blind")
    last: dict[tuple[int, int], int | None] = {}
    blind: dict[tuple[int, int], int | None] = {}
    for entry, person, label, is_blind in rows.iterator(chunk_size=bulk.ROWS_PER_PAGE):
        last[entry, person] = label
        if is_blind:
            blind[entry, person] = label
    said.n_labels = Counter(entry for (entry, _), label in last.items() if label)
    said.n_skips = Counter(entry for (entry, _), label in last.items() if not label)
    said.n_blind = Counter(entry for (entry, _), label in blind.items() if label)
    decisions = Adjudication.objects.filter(project=project).order_by("pk")
    for question, label, is_current in decisions.values_list("entry", "label", "is_current"):
        if is_current:
            said.decision[question] = label
        if label:
            said.was_decided.add(question)
    return said


def _is_settled(row: dict[str, Any], said: _Said) -> bool:
    """Whether one state alone is right: the question was decided, or its overlap is full."""
    return row["pk"] in said.decision or said.n_people(row["pk"], is_blind=row["is_blind"]) >= row["overlap"]


def _possible(row: dict[str, Any], said: _Said) -> set[str]:
    """The states that the question can be in, as far as its rows say."""
    question, is_over = row["pk"], row["round_state"] == Round.State.CLOSED or row["withdrawn_at"] is not None
    if _is_settled(row, said):
        return {_State.UNRESOLVED if said.decision.get(question, 0) is None else _State.ANSWERED}
    states = {_State.UNRESOLVED if is_over else _State.OPEN}
    if said.n_skips[question]:
        states.add(_State.SKIPPED)
    if question in said.was_decided:  # a change of labels made the decision void after it had ended the question
        states.add(_State.ANSWERED)
    return {str(state) for state in states}


def _was_out(project: Project, item: str) -> bool:
    """Whether the item was withdrawn for a while, as an event says that names it."""
    return project.events.filter(kind="item.brought_back", data__item=item).exists()
