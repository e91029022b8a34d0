"""Decides what a member may see of an item's history, and collects it: from import to gold, in the order of time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from annotate.access import MAY
from annotate.labeling import disputes
from annotate.models import (
    Adjudication,
    Annotation,
    Draw,
    Event,
    Gold,
    Item,
    Lease,
    Member,
    Prediction,
    QueueEntry,
    Round,
    User,
)

_MOST = 200  # rows of each kind that are read; usually there are a few
_EVENTS = ("items.withdrawn", "item.brought_back", "item.corrected")


@dataclass(frozen=True)
class Visibility:
    """What a member may see of an item. Whoever may still be asked about it must answer uninfluenced."""

    people: bool  # what people answered and decided, and its gold
    machines: bool  # the machines' labels, and the arms that drew the item
    work: bool  # when it was asked, and who held it
    replies: bool = False  # what machines replied instead of a label


@dataclass(frozen=True)
class Happening:
    """One event in the item's history; `kind` says what happened, `row` is the model object that records it."""

    at: datetime
    kind: str
    by: User | None = None
    row: Any = None
    facts: dict[str, Any] = field(default_factory=dict)


def sight(item: Item, member: Member) -> Visibility:
    """What `member` may see of `item`, by role.

    Viewers, who never answer, see everything. Owners and admins see the machines' labels unless the item is being
    asked or disputed. Reviewers and annotators never see the machines' labels, and see other people's answers only
    once the item has gold and is not being asked.
    """
    if member.role not in MAY["annotate"]:
        return Visibility(people=True, machines=True, work=True)
    is_asked = QueueEntry.objects.filter(item=item, round__state=Round.State.OPEN).exists()
    if member.role in MAY["download"]:
        is_disputed = not is_asked and disputes.undecided(member.project).filter(item=item).exists()
        is_open = is_asked or is_disputed
        replies = member.role in MAY["manage"] and not is_open
        return Visibility(people=True, machines=not is_open, work=True, replies=replies)
    is_settled = not is_asked and Gold.objects.current().filter(item=item).exists()
    return Visibility(people=is_settled, machines=False, work=False)


def load(item: Item, seen: Visibility) -> list[Happening]:
    """The item's history as far as `seen` allows, oldest first; a fixed number of queries."""
    happenings = [*_imported(item), *_moved(item)]
    if seen.machines:
        happenings += [*_predicted(item, seen.replies), *_drawn(item)]
    if seen.people:
        happenings += [*_answered(item), *_decided(item), *_became_gold(item)]
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


def _predicted(item: Item, with_replies: bool) -> Iterator[Happening]:
    rows = Prediction.objects.filter(item=item).select_related("prompt")[:_MOST]
    names: dict[tuple[int, int], str] = {}
    if rows:
        labels = item.project.schemas.values_list("pk", "labels__index", "labels__name")
        names = {(schema, index): name for schema, index, name in labels}
    for row in rows:
        vector, index = row.vector(), row.label_index
        label = names.get((row.prompt.schema_id, index)) if index is not None else None
        p = float(vector[index]) if vector is not None and index is not None else None
        facts = {"label": label, "p": p, **({"reply": row.reply} if with_replies else {})}
        yield Happening(row.created_at, "predicted", None, row, facts)


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


def _answered(item: Item) -> Iterator[Happening]:
    rows = Annotation.objects.filter(item=item).select_related("annotator", "label", "guidelines").order_by("pk")
    for row in rows[:_MOST]:
        yield Happening(row.created_at, "answered", row.annotator, row)


def _decided(item: Item) -> Iterator[Happening]:
    rows = Adjudication.objects.filter(item=item).select_related("created_by", "label", "entry__round").order_by("pk")
    for row in rows[:_MOST]:
        yield Happening(row.created_at, "decided", row.created_by, row)


def _became_gold(item: Item) -> Iterator[Happening]:
    for row in Gold.objects.filter(item=item).select_related("label", "round").order_by("pk")[:_MOST]:
        yield Happening(row.created_at, "gold", None, row)
