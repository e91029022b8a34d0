"""Collects an item's history as far as a member may see it: from import to gold, in the order of time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from annotate import labels
from annotate.labeling.visibility import Visibility
from annotate.labels import LabelHistory
from annotate.models import (
    Adjudication,
    Annotation,
    Draw,
    Event,
    Gold,
    Item,
    Label,
    Lease,
    Prediction,
    QueueEntry,
    User,
)
from models_ml.label_map import NO_LABEL

_MOST = 200  # rows of each kind that are read; usually there are a few
_EVENTS = ("items.withdrawn", "item.brought_back", "item.corrected")


@dataclass(frozen=True)
class Happening:
    """One event in the item's history; `kind` says what happened, `row` is the model object that records it."""

    at: datetime
    kind: str
    by: User | None = None
    row: Any = None
    facts: dict[str, Any] = field(default_factory=dict)


def load(item: Item, seen: Visibility) -> list[Happening]:
    """The item's history as far as `seen` allows, oldest first; a fixed number of queries.

    Labels have the names under which they were given. What a change made of them since is among the `facts`: "now", the
    label that it reads as, where that has another name, and "is_void".
    """
    happenings = [*_imported(item), *_moved(item)]
    history = labels.current(item.project)
    if seen.machines:
        happenings += [*_predicted(item, history, seen.replies), *_drawn(item)]
    if seen.people:
        happenings += [*_answered(item, history), *_decided(item, history), *_became_gold(item, history)]
    if seen.work:
        happenings += [*_asked(item), *_held(item)]
    return sorted(happenings, key=lambda one: one.at)


def _imported(item: Item) -> Iterator[Happening]:
    source = item.source
    yield Happening(source.created_at, "imported", source.created_by, source)


def _moved(item: Item) -> Iterator[Happening]:
    """Withdrawn, brought back, corrected: from the event log, which names items by their public ids."""
    events = Event.objects.filter(project=item.project_id, kind__in=_EVENTS).select_related("actor")
    named = events.annotate(text=Cast("data", TextField())).filter(text__contains=item.public_id)
    for event in named.order_by("pk")[:_MOST]:
        if event.kind == "item.corrected":
            kind = "replaced" if event.data["old"] == item.public_id else "corrected"
            other = event.data["new"] if kind == "replaced" else event.data["old"]
            yield Happening(event.at, kind, event.actor, event, {"other": other})
        else:
            kind = "withdrawn" if event.kind == "items.withdrawn" else "brought_back"
            yield Happening(event.at, kind, event.actor, event)


def _now(history: LabelHistory, label: Label | None) -> dict[str, Any]:
    """What became of a label that a person gave; nothing where it is named as it was."""
    if label is None or label.schema_id == history.schema.pk:
        return {}
    now = history.gold_label(label.pk)
    if now is None:
        return {"is_void": True}
    return {"now": now} if now.name != label.name else {}


def _predicted(item: Item, history: LabelHistory, with_replies: bool) -> Iterator[Happening]:
    rows = Prediction.objects.filter(item=item).select_related("prompt")[:_MOST]
    for row in rows:
        vector, index = row.vector(), row.label_index
        label = history.versions[row.prompt.schema_id][index].name if index is not None else None
        p = float(vector[index]) if vector is not None and index is not None else None
        now = _machine_now(history, row.prompt.schema_id, index, label)
        reply = {"reply": row.reply} if with_replies else {}
        yield Happening(row.created_at, "predicted", None, row, {"label": label, "p": p, **now, **reply})


def _machine_now(history: LabelHistory, schema: int, index: int | None, label: str | None) -> dict[str, Any]:
    """What became of a label that a machine gave; nothing where it is named as it was."""
    if index is None or schema == history.schema.pk:
        return {}
    reads = int(history.map_from(schema).target[index])
    if reads == NO_LABEL:
        return {"is_void": True}
    return {"now": history.labels[reads]} if history.labels[reads].name != label else {}


def _drawn(item: Item) -> Iterator[Happening]:
    for row in Draw.objects.filter(item=item).select_related("round").order_by("pk")[:_MOST]:
        yield Happening(row.created_at, "drawn", None, row)


def _asked(item: Item) -> Iterator[Happening]:
    rows = QueueEntry.objects.filter(item=item).select_related("round__opened_by").order_by("pk")
    for row in rows[:_MOST]:
        yield Happening(row.round.opened_at, "asked", row.round.opened_by, row)


def _held(item: Item) -> Iterator[Happening]:
    rows = Lease.objects.filter(entry__item=item).select_related("annotator").order_by("pk")
    for row in rows[:_MOST]:
        yield Happening(row.granted_at, "held", row.annotator, row)


def _answered(item: Item, history: LabelHistory) -> Iterator[Happening]:
    rows = Annotation.objects.filter(item=item).select_related("annotator", "label", "guidelines").order_by("pk")
    for row in rows[:_MOST]:
        yield Happening(row.created_at, "answered", row.annotator, row, _now(history, row.label))


def _decided(item: Item, history: LabelHistory) -> Iterator[Happening]:
    rows = Adjudication.objects.filter(item=item).select_related("created_by", "label", "entry__round").order_by("pk")
    for row in rows[:_MOST]:
        yield Happening(row.created_at, "decided", row.created_by, row, _now(history, row.label))


def _became_gold(item: Item, history: LabelHistory) -> Iterator[Happening]:
    for row in Gold.objects.filter(item=item).select_related("label", "round").order_by("pk")[:_MOST]:
        yield Happening(row.created_at, "gold", None, row, _now(history, row.label))
