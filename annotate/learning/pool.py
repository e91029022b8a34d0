"""Loads the pool, its silver and its gold as arrays with one position per item, for all that computes over items.

Labels of earlier versions of the schema are read here under the version in force, and nowhere else in learning.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, Q

from annotate import projects
from annotate.labels import LabelHistory
from annotate.models import (
    Adjudication,
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
from models_ml.label_map import NO_LABEL

__all__ = ["NO_LABEL"]  # in an array of label indexes: no gold, or never asked; the rest is defined here


@dataclass(frozen=True)
class Pool:
    """The items of a project in the order of their ordinals; all arrays have length N, the number of items."""

    ids: Ints
    ordinal: Ints
    source: Ints  # id of the import
    fold: Ints
    prn: Matrix
    is_withdrawn: Bools  # all False unless `load` was asked for withdrawn audit items too

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: Iterable[int]) -> Ints:
        """Positions of the items with these ids, in the order given; ids that are not in the pool are left out."""
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
    """The answers of one prompt version, by position. `label` K: no answer valid in force; -1: never asked."""

    prompt: PromptVersion | None
    label: Ints
    probabilities: Array | None  # (N, K), rows of NaN where the confidence is unknown
    n_classes: int

    @property
    def failed(self) -> Bools:
        """(N,) items that were asked, but got no valid answer."""
        return self.label == self.n_classes


@dataclass(frozen=True)
class GoldLabels:
    """Current gold labels by position, as they read under the labels in force; -1: there is none, or it is void."""

    trainable: Ints  # gold of any origin but `audit`: may train
    audit: Ints  # gold of origin `audit`: is reported and delivered, never trains
    blind: Ints  # what the audit counts: blind gold, of origin `audit` where that is blind, else of another arm
    blind_row: Ints  # primary key of the row that `blind` comes from; -1: none
    blind_trainable: Ints  # blind gold that may train; that of the reference sample fits Ĉ, calibrates and chooses
    is_void: Bools  # has gold, but a change of labels made all of it void

    @property
    def delivered(self) -> Ints:
        """(N,) the gold that is delivered: the trainable label where there is one, else the audit's."""
        return np.where(self.trainable != NO_LABEL, self.trainable, self.audit)


def n_withdrawn_audited(project: Project) -> int:
    """How many items of the audit sample were withdrawn one by one, and count there as unresolved."""
    items = Item.objects.filter(project=project, withdrawn_at__isnull=False).visible()
    return items.filter(_withdrawn_but_audited(project)).count()


def _withdrawn_but_audited(project: Project) -> Q:
    audited = Draw.objects.filter(item=OuterRef("pk"), arm=Arm.AUDIT).exclude(round__state=Round.State.OPEN)
    alive = Item.objects.filter(source=OuterRef("source"), withdrawn_at__isnull=True)
    cutoff = projects.current_schema(project).audit_cutoff
    complete = Q() if cutoff is None else Q(prn__lte=cutoff)
    return Q(Exists(audited) & Exists(alive)) & complete


def load(project: Project, *, with_withdrawn_audit: bool = False) -> Pool:
    """The project's pool; with `with_withdrawn_audit`, for estimates, also audited items that were withdrawn.

    These stay in population and sample as unresolved, because else withdrawing the items on which the machine is wrong
    would raise the estimate; where a change of labels left the sample incomplete, those in its complete part do. An
    import of which every item was withdrawn leaves both.
    """
    items = Item.objects.filter(project=project)
    present = Q(withdrawn_at__isnull=True)
    if with_withdrawn_audit:
        present |= _withdrawn_but_audited(project)
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


def load_silver(pool: Pool, prompt: PromptVersion | None, history: LabelHistory) -> SilverLabels:
    """The answers of this prompt version to the items of the pool, as they read now; all -1 without one."""
    label = np.full(len(pool), NO_LABEL, dtype=np.int64)
    if prompt is None or not len(pool):
        return SilverLabels(prompt, label, None, history.n_classes)
    change = history.map_from(prompt.schema_id)
    n_asked = len(change.target)  # labels that the machine chose among
    vectors = np.full((len(pool), n_asked), np.nan, dtype=np.float32)
    place = {int(item): position for position, item in enumerate(pool.ids)}
    rows = Prediction.objects.current().filter(prompt=prompt).values_list("item_id", "label_index", "probabilities")
    for item, index, blob in rows.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ):
        position = place.get(item)
        if position is None:
            continue
        label[position] = n_asked if index is None else index
        if blob is not None:
            vectors[position] = np.frombuffer(blob, dtype="<f4")
    reads = change.probabilities(vectors, label)
    return SilverLabels(prompt, change.silver(label), None if np.isnan(reads).all() else reads, history.n_classes)


def load_gold(pool: Pool, history: LabelHistory) -> GoldLabels:
    """The current gold of the items of the pool, as it reads now."""
    reads = {label: history.gold_index(label) for label in history.label_ids}
    rows = Gold.objects.filter(project=history.schema.project_id).current()
    given: dict[tuple[bool, bool], dict[int, int]] = defaultdict(dict)  # by (is of the audit, is blind)
    keys: dict[tuple[bool, bool], dict[int, int]] = defaultdict(dict)
    void: set[int] = set()
    for key, item, label, origin, is_blind in rows.values_list("pk", "item_id", "label_id", "origin", "is_blind"):
        index = reads.get(label, NO_LABEL)  # labels that were changed since `history` was read are none of these
        if index == NO_LABEL:
            void.add(item)
        else:
            given[origin == Arm.AUDIT, is_blind][item] = index
            keys[origin == Arm.AUDIT, is_blind][item] = key
    audit, trainable = ({**given[kind, False], **given[kind, True]} for kind in (True, False))
    column = pool.column
    return GoldLabels(
        trainable=column(trainable.items()),
        audit=column(audit.items()),
        blind=column({**given[False, True], **given[True, True]}.items()),
        blind_row=column({**keys[False, True], **keys[True, True]}.items()),
        blind_trainable=column(given[False, True].items()),
        is_void=pool.mask(void - set(audit) - set(trainable)),
    )


def drawn(pool: Pool, project: Project, *arms: str) -> Bools:
    """(N,) items that any of these arms drew in a closed round, or without a round (late and imported items)."""
    draws = Draw.objects.filter(project=project, arm__in=arms).exclude(round__state=Round.State.OPEN)
    return pool.mask(draws.values_list("item_id", flat=True))


def sample(pool: Pool, history: LabelHistory, arm: str) -> Bools:
    """(N,) the complete part of the audit or reference sample (docs/loop.md, "When labels change").

    Only it is reported, fits, calibrates and chooses; which items the sample holds at all says `drawn`.
    """
    schema = history.schema
    held = drawn(pool, schema.project, arm)
    if arm == Arm.AUDIT and schema.audit_cutoff is not None:
        return held & (pool.prn <= schema.audit_cutoff)
    if arm == Arm.RANDOM and schema.reference_cutoff is not None:
        return held & (pool.prn >= schema.reference_cutoff)
    return held


def is_selected(pool: Pool, project: Project) -> Bools:
    """(N,) A: items drawn by any arm but `audit` and `gold_check`, so `imported` too (docs/loop.md, "A, S and R")."""
    return drawn(pool, project, *(arm for arm in Arm.values if arm not in (Arm.AUDIT, Arm.GOLD_CHECK)))


def disputed(pool: Pool, history: LabelHistory, gold: GoldLabels) -> Bools:
    """(N,) items for the arm `conflict`: with a full overlap in some round, no gold, and no reviewer's decision.

    Where gold is void, people agreed once; only a round that asked again under these labels can show a disagreement.
    """
    schema = history.schema
    full = QueueEntry.objects.filter(round__project=schema.project_id, state=QueueEntry.State.ANSWERED)
    decided = Adjudication.objects.filter(project=schema.project_id, is_current=True).values("item")
    undecided = full.exclude(item__in=decided)
    found = pool.mask(undecided.values_list("item_id", flat=True)) & (gold.delivered == NO_LABEL)
    if not gold.is_void.any():
        return found
    again = undecided.filter(round__opened_at__gt=schema.created_at).values_list("item_id", flat=True)
    return found & (~gold.is_void | pool.mask(again))
