"""Compares the kept inputs of figures with the rows, as these were when the figures were made."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Q

from annotate import labels
from annotate.labels import LabelHistory
from annotate.learning import delivery
from annotate.learning.audit import Audit
from annotate.models import DeliveredVersion, Draw, Estimate, Gold, Item, Prediction, bulk
from annotate.models.project import Arm
from annotate.verification import samples
from models_ml.label_map import NO_LABEL

# What was in flight when the inputs were read may have an earlier time and not be among them.
_IN_FLIGHT = timedelta(minutes=1)


def problems(row: DeliveredVersion, audit: Audit, at: datetime) -> Iterator[str]:
    """A sentence for each way in which the inputs, kept at this time, are not what the rows held then."""
    history = labels.history(row.schema)
    items = _items(audit, row)
    if missing := sorted(set(audit.ordinal.tolist()) - set(items)):
        yield f"the figures of {row} count item {missing[0]}, which the project does not have"
        return
    yield from _frozen(row, audit)
    yield from _sample(row, audit, at, items)
    yield from _gold(row, audit, at, items, history)
    yield from _without_gold(row, audit, at, history)
    yield from _silver(row, audit, at, items, history)
    yield from _looks(row, audit)


def _items(audit: Audit, row: DeliveredVersion) -> dict[int, Item]:
    """The audited items by ordinal."""
    found: dict[int, Item] = {}
    for part in bulk.parts(audit.ordinal.tolist()):
        items = Item.objects.filter(project=row.project_id, ordinal__in=part)
        found |= {item.ordinal: item for item in items}
    return found


def _frozen(row: DeliveredVersion, audit: Audit) -> Iterator[str]:
    """Labels, A and sizes are those of the frozen file, which holds no withdrawn items."""
    frozen = delivery.load(row)
    present = ~audit.is_withdrawn
    here = audit.ordinal[present]
    if not np.isin(here, frozen.arrays["ordinal"]).all():
        yield f"the figures of {row} count items that its file does not hold"
        return
    for name, column in (("label", audit.machine), ("model_label", audit.model), ("in_a", audit.in_a)):
        differs = frozen.at(name, here) != column[present]
        if differs.any():
            yield f"the figures of {row} count another {name} of item {here[differs][0]} than its file holds"
    n_withdrawn = int(audit.is_withdrawn.sum())
    counted = np.bincount(frozen.arrays["label"][frozen.arrays["label"] >= 0], minlength=len(audit.n_machine))
    sizes = audit.sizes
    n_in_a = int(frozen.arrays["in_a"].sum()) + int((audit.is_withdrawn & audit.in_a).sum())
    if (sizes.n_items, sizes.n_in_a) != (len(frozen.arrays["ordinal"]) + n_withdrawn, n_in_a):
        yield f"the figures of {row} speak of {sizes.n_items} items, {sizes.n_in_a} in A; its file does not"
    if not np.array_equal(counted, audit.n_machine):
        yield f"the figures of {row} count the machine's labels otherwise than its file"
    if sizes.version != row.public_id:
        yield f"the inputs of the figures of {row} are those of another version"
    yield from _parts(row, audit, frozen)


def _parts(row: DeliveredVersion, audit: Audit, frozen: delivery.Frozen) -> Iterator[str]:
    """The sizes of the imports are those of the items, which never change their import."""
    pairs = Item.objects.filter(project=row.project_id).order_by("ordinal").values_list("ordinal", "source_id")
    table = np.array(list(pairs.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ)), dtype=np.int64).reshape(-1, 2)
    in_a = np.union1d(
        frozen.arrays["ordinal"][frozen.arrays["in_a"] == 1], audit.ordinal[audit.is_withdrawn & audit.in_a]
    )
    ordinal = np.union1d(frozen.arrays["ordinal"], audit.ordinal[audit.is_withdrawn])
    parts, place = np.unique(table[np.searchsorted(table[:, 0], ordinal), 1], return_inverse=True)
    sizes, sizes_in_r = (np.bincount(of, minlength=len(parts)) for of in (place, place[~np.isin(ordinal, in_a)]))
    expected, counted = (parts, sizes, sizes_in_r), (audit.parts, audit.n_of_part, audit.n_of_part_in_r)
    if not all(np.array_equal(one, other) for one, other in zip(expected, counted, strict=True)):
        yield f"the figures of {row} weigh its imports by other sizes than their items give"


def _sample(row: DeliveredVersion, audit: Audit, at: datetime, items: dict[int, Item]) -> Iterator[str]:
    """The audited items are those that the audit had drawn by then, in rounds that were closed, up to the cut-off."""
    sampled = set(audit.ordinal.tolist())
    for ordinal, part in zip(audit.ordinal.tolist(), audit.part.tolist(), strict=True):
        if items[ordinal].source_id != part:
            yield f"the figures of {row} count item {items[ordinal].public_id} to another import than its own"
    held = Draw.objects.filter(project=row.project_id, arm=Arm.AUDIT).select_related("item", "round")
    drawn = {draw.item.ordinal: draw for draw in held}
    for ordinal in sorted(sampled):
        draw = drawn.get(ordinal)
        if draw is None or not _is_closed(draw, at + _IN_FLIGHT) or not _is_within(draw.item, audit):
            yield f"the figures of {row} count item {items[ordinal].public_id}, which the audit had not drawn then"
    for ordinal in sorted(set(drawn) - sampled):
        draw = drawn[ordinal]
        if _is_closed(draw, at - _IN_FLIGHT) and _is_within(draw.item, audit) and not samples.was_withdrawn(draw.item):
            yield f"the figures of {row} leave out item {draw.item.public_id}, which the audit had drawn"


def _is_closed(draw: Draw, at: datetime) -> bool:
    closed_at = draw.round.closed_at if draw.round else draw.created_at
    return closed_at is not None and max(closed_at, draw.created_at) <= at


def _is_within(item: Item, audit: Audit) -> bool:
    return audit.sizes.audit_cutoff is None or item.prn <= audit.sizes.audit_cutoff


def _gold(
    row: DeliveredVersion, audit: Audit, at: datetime, items: dict[int, Item], history: LabelHistory
) -> Iterator[str]:
    """Each audited item counts with blind gold that was current then, and without one only if it had none."""
    given = defaultdict(list)  # by item, oldest first
    for gold in Gold.objects.filter(project=row.project_id, created_at__lte=at).order_by("pk"):
        given[gold.item_id].append(gold)
    columns = (audit.ordinal, audit.gold, audit.gold_row, audit.is_withdrawn)
    for ordinal, label, key, is_withdrawn in zip(*(column.tolist() for column in columns), strict=True):
        item = items[ordinal]
        name = f"the figures of {row} count item {item.public_id}"
        rows = given[item.pk]
        counted = next((gold for gold in rows if gold.pk == key), None)
        if label != NO_LABEL and counted is None:
            yield f"{name} with gold that was not there then"
        elif counted is not None and not counted.is_blind:
            yield f"{name} with gold that was not blind"
        elif counted is not None and _reads(history, counted) != label:
            yield f"{name} with another gold label than its own"
        elif counted is not None and _newer(counted, rows, at):
            yield f"{name} with gold whose place other gold had taken"
        elif label == NO_LABEL and not is_withdrawn and _must_count(rows, at, history):
            yield f"{name} as unresolved, and it had blind gold"


def _reads(history: LabelHistory, gold: Gold) -> int:
    return history.gold_index(gold.label_id) if gold.label_id in set(history.label_ids) else NO_LABEL


def _newer(counted: Gold, rows: list[Gold], at: datetime) -> bool:
    """Whether gold of the same kind, of the audit or not, had taken this one's place by then."""
    is_of_audit = counted.origin == Arm.AUDIT
    return any(
        gold.pk > counted.pk and (gold.origin == Arm.AUDIT) == is_of_audit and gold.created_at < at - _IN_FLIGHT
        for gold in rows
    )


def _without_gold(row: DeliveredVersion, audit: Audit, at: datetime, history: LabelHistory) -> Iterator[str]:
    """c, the items of A without gold, lies between what was certainly so then and what may have been."""
    frozen = delivery.load(row)
    in_a = frozen.arrays["ordinal"][frozen.arrays["in_a"] == 1]
    given = Gold.objects.filter(project=row.project_id, created_at__lte=at, label__in=_valid(history))
    certain = given.filter(is_current=True, created_at__lt=at - _IN_FLIGHT)
    most, fewest = (
        audit.sizes.n_in_a - int(np.isin(in_a, list(gold.values_list("item__ordinal", flat=True))).sum())
        for gold in (certain, given)
    )
    if not fewest <= audit.sizes.n_in_a_without_gold <= most:
        yield f"the figures of {row} count {audit.sizes.n_in_a_without_gold} items of A without gold, not {most}"


def _valid(history: LabelHistory) -> list[int]:
    return [label for label in history.label_ids if history.gold_index(label) != NO_LABEL]


def _must_count(rows: list[Gold], at: datetime, history: LabelHistory) -> bool:
    """Whether the item certainly had valid blind gold then: what is current today and was there already.

    Gold whose place was taken since, or which ended without another, may have ended before.
    """
    certain = (gold for gold in rows if gold.is_current and gold.created_at < at - _IN_FLIGHT)
    return any(gold.is_blind and _reads(history, gold) != NO_LABEL for gold in certain)


def _silver(
    row: DeliveredVersion, audit: Audit, at: datetime, items: dict[int, Item], history: LabelHistory
) -> Iterator[str]:
    """The LLM's labels of the audited items are its last attempts by then."""
    if row.prompt is None:
        return
    change = history.map_from(row.prompt.schema_id)
    n_asked = len(change.target)
    last: dict[int, int] = {}
    earlier = Q(created_at__lte=at, item__project=row.project_id)
    for part in bulk.parts([item.pk for item in items.values()]):
        attempts = Prediction.objects.filter(earlier, prompt=row.prompt, item__in=part).order_by("attempt")
        last |= {
            item: n_asked if index is None else index for item, index in attempts.values_list("item", "label_index")
        }
    found = np.array([last.get(items[ordinal].pk, NO_LABEL) for ordinal in audit.ordinal.tolist()], dtype=np.int64)
    differs = change.silver(found) != audit.silver
    for ordinal in audit.ordinal[differs].tolist():
        yield f"the figures of {row} count another answer of the LLM to item {items[ordinal].public_id} than it gave"


def _looks(row: DeliveredVersion, audit: Audit) -> Iterator[str]:
    """The looks spent before are those of the versions whose figures are older."""
    figures = Estimate.objects.filter(delivered_version=row).order_by("id")
    first = figures.first()
    if first is None:
        return
    looks = Estimate.objects.filter(project=row.project_id, estimand=Estimate.Estimand.LOOK)
    if (n_before := looks.filter(pk__lt=first.pk).count()) != audit.sizes.n_looks:
        yield f"the figures of {row} count {audit.sizes.n_looks} looks at the target before theirs, not {n_before}"
    if first.round and first.round.audit_cutoff is not None:
        yield from _cutoff(row, audit, first.round.audit_cutoff)


def _cutoff(row: DeliveredVersion, audit: Audit, cutoff: float) -> Iterator[str]:
    """No item lies beyond the cut-off of the last round that was closed."""
    beyond = Item.objects.filter(project=row.project_id, prn__gt=cutoff)
    audited = set(audit.ordinal.tolist())
    for item in beyond.filter(draws__arm=Arm.AUDIT):
        if item.ordinal in audited:
            yield f"the figures of {row} count item {item.public_id}, which lies beyond the cut-off of that time"
