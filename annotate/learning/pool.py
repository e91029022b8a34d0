"""The pool as arrays: rows in, one position per item out. Everything that computes over items starts here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, Q

from annotate.models import (
    Draw,
    Gold,
    Item,
    Prediction,
    Project,
    PromptVersion,
    QueueEntry,
    Round,
    bulk,
)
from annotate.models.project import Arm
from models_ml.arrays import Array, Bools, Ints, Matrix

NO_LABEL = -1


@dataclass(frozen=True)
class Pool:
    """Items by position, in the order of their ordinals; all arrays have length N."""

    ids: Ints
    ordinal: Ints
    source: Ints  # id of the import
    fold: Ints
    prn: Matrix
    is_withdrawn: Bools  # only audited items stay after they were withdrawn, as unresolved

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: Iterable[int]) -> Ints:
        """Positions of these item ids, those not in the pool left out; in the order given."""
        wanted = np.fromiter(ids, dtype=np.int64)
        order = np.argsort(self.ids)
        place = np.searchsorted(self.ids, wanted, sorter=order)
        place = np.minimum(place, max(len(self.ids) - 1, 0))
        found = order[place] if len(self.ids) else place
        present = self.ids[found] == wanted if len(self.ids) else np.zeros(len(wanted), dtype=bool)
        return found[present]

    def mask(self, ids: Iterable[int]) -> Bools:
        """(N,) True for the items with these ids."""
        mask = np.zeros(len(self), dtype=bool)
        mask[self.positions(ids)] = True
        return mask

    def column(self, pairs: Iterable[tuple[int, int]], missing: int = NO_LABEL) -> Ints:
        """(N,) the value that `pairs` of (item id, value) give each item, else `missing`."""
        known = dict(pairs)
        return np.fromiter((known.get(int(i), missing) for i in self.ids), dtype=np.int64, count=len(self))


@dataclass(frozen=True)
class SilverLabels:
    """Machine answers of one prompt version, by position. `label` K: no valid answer; -1: never asked."""

    prompt: PromptVersion | None
    label: Ints
    probabilities: Array | None  # (N, K), rows of NaN where the confidence is unknown
    n_classes: int

    @property
    def failed(self) -> Bools:
        return self.label == self.n_classes


@dataclass(frozen=True)
class GoldLabels:
    """Gold by position, -1 where there is none."""

    trainable: Ints  # may train, whatever its arm
    audit: Ints  # first obtained by an audit draw: is reported and delivered, never trains
    blind: Ints  # the blind answer that a sample may use

    @property
    def delivered(self) -> Ints:
        """What the export says: the trainable label where there is one, else the audit's."""
        return np.where(self.trainable != NO_LABEL, self.trainable, self.audit)


def load(project: Project, *, with_withdrawn_audit: bool = False) -> Pool:
    """All items that can be delivered. For estimates also the audited items withdrawn one by one.

    A wholly withdrawn import leaves the population and the sample; a single withdrawn audit item stays in
    both, unresolved: else withdrawing the machine's errors would raise the estimate.
    """
    items = Item.objects.filter(project=project)
    present = Q(withdrawn_at__isnull=True)
    if with_withdrawn_audit:
        audited = Draw.objects.filter(item=OuterRef("pk"), arm=Arm.AUDIT).exclude(round__state=Round.State.OPEN)
        alive = Item.objects.filter(source=OuterRef("source"), withdrawn_at__isnull=True)
        present |= Q(Exists(audited) & Exists(alive))
    rows = (
        items.visible()
        .filter(present)
        .order_by("ordinal")
        .values_list("id", "ordinal", "source_id", "fold", "prn", "withdrawn_at")
    )
    columns: list[tuple[Any, ...]] = (
        list(zip(*rows.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ), strict=True)) or [()] * 6
    )
    whole = [np.array(column, dtype=np.int64) for column in columns[:4]]
    is_withdrawn = np.array([moment is not None for moment in columns[5]], dtype=bool)
    return Pool(whole[0], whole[1], whole[2], whole[3], np.array(columns[4], dtype=np.float64), is_withdrawn)


def load_silver(pool: Pool, prompt: PromptVersion | None, n_classes: int) -> SilverLabels:
    """The answers of `prompt`, streamed into arrays."""
    label = np.full(len(pool), NO_LABEL, dtype=np.int64)
    if prompt is None or not len(pool):
        return SilverLabels(prompt, label, None, n_classes)
    vectors = np.full((len(pool), n_classes), np.nan, dtype=np.float32)
    place = {int(item): position for position, item in enumerate(pool.ids)}
    rows = Prediction.objects.filter(prompt=prompt).values_list("item_id", "label_index", "probabilities")
    for item, index, blob in rows.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ):
        position = place.get(item)
        if position is None:
            continue
        label[position] = n_classes if index is None else index
        if blob is not None:
            vectors[position] = np.frombuffer(blob, dtype="<f4")
    return SilverLabels(prompt, label, None if np.isnan(vectors).all() else vectors, n_classes)


def load_gold(pool: Pool, project: Project) -> GoldLabels:
    """Current gold."""
    rows = Gold.objects.filter(project=project).current()
    trainable: dict[int, int] = {}
    audit: dict[int, int] = {}
    blind: dict[int, int] = {}
    # The audit's own answer is what the audit counts, whatever else is known of the item.
    for item, index, origin, is_blind in rows.values_list("item_id", "label__index", "origin", "is_blind"):
        (audit if origin == Arm.AUDIT else trainable)[item] = index
        if is_blind and (origin == Arm.AUDIT or item not in audit):
            blind[item] = index
    return GoldLabels(pool.column(trainable.items()), pool.column(audit.items()), pool.column(blind.items()))


def drawn(pool: Pool, project: Project, *arms: str) -> Bools:
    """(N,) items that any of these arms drew, in closed rounds or without one."""
    draws = Draw.objects.filter(project=project, arm__in=arms).exclude(round__state=Round.State.OPEN)
    return pool.mask(draws.values_list("item_id", flat=True))


def is_selected(pool: Pool, project: Project) -> Bools:
    """(N,) A: every item picked by any arm but audit, or imported with gold (docs/loop.md, "A, S and R")."""
    return drawn(pool, project, *(arm for arm in Arm.values if arm not in (Arm.AUDIT, Arm.GOLD_CHECK)))


def disputed(pool: Pool, project: Project, gold: GoldLabels) -> Bools:
    """(N,) items whose overlap was full and gave no gold, as far as no reviewer has dealt with them."""
    full = QueueEntry.objects.filter(round__project=project, state=QueueEntry.State.ANSWERED)
    decided = project.adjudications.filter(is_current=True).values("item")
    asked_again = full.exclude(item__in=decided).values_list("item_id", flat=True)
    return pool.mask(asked_again) & (gold.delivered == NO_LABEL)
