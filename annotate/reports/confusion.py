"""How the machine errs: the frozen Ĉ beside the counts of reference gold behind it, with an interval per entry."""

from dataclasses import dataclass

import numpy as np
from django.db.models import Exists, OuterRef, Q

from annotate import labels
from annotate.labels import LabelHistory
from annotate.models import DeliveredVersion, Draw, Gold, Prediction
from annotate.models.project import Arm
from models_ml.arrays import Matrix, Positions
from models_ml.label_map import NO_LABEL
from models_ml.noise.intervals import row_intervals

MAX_LABELS = 100  # beyond, Ĉ has more entries than anybody reads, and takes a second to load


@dataclass(frozen=True)
class Confusion:
    """K rows (the truth) by K + 1 columns (what the machine said; the last: no valid answer)."""

    labels: list[str]
    counts: Positions
    share: Matrix  # Ĉ, as the delivered version froze it
    low: Matrix
    high: Matrix

    @property
    def n(self) -> Positions:
        """(K,) reference gold items behind each row."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def wanted(self) -> int:
        """Reference gold below which Ĉ is shown with a warning (docs/loop.md, "The noise matrix Ĉ")."""
        return max(50, 5 * len(self.labels))

    def pairs(self, most: int) -> list[tuple[int, int]]:
        """(truth, machine) of the confusions seen most often, the commoner within its row first among equals."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        seen = [(int(i), int(j)) for i, j in np.argwhere(wrong)]
        return sorted(seen, key=lambda at: (-wrong[at], -self.share[at]))[:most]


def load(version: DeliveredVersion, history: LabelHistory | None = None) -> Confusion | None:
    """Ĉ of this version; None where nothing was pre-labeled, or where there are too many labels to look at.

    `history`: the version's labels, where the caller has read them.
    """
    if version.prompt is None:
        return None
    history = history or labels.history(version.schema)
    if history.n_classes > MAX_LABELS:
        return None
    share = np.array(version.delivery["transition"], np.float64)
    counts = _counts(version, history)
    bounds = row_intervals(counts, share)
    return Confusion([label.name for label in history.labels], counts, share, bounds.low, bounds.high)


def _counts(version: DeliveredVersion, history: LabelHistory) -> Positions:
    """Pairs of (gold, silver) in the reference sample, as far as it was known when the version was frozen.

    Labels read under the schema of the version.
    """
    assert version.prompt is not None
    known = Q(round__isnull=True) | Q(round__closed_at__lte=version.frozen_at)
    cutoff = version.delivery.get("reference_cutoff")  # the reference sample was complete up to there; None: all of it
    if cutoff is not None:
        known &= Q(item__prn__gte=cutoff)
    drawn = Draw.objects.filter(known, item=OuterRef("item"), arm=Arm.RANDOM)
    gold = (
        Gold.objects.filter(project_id=version.project_id, is_blind=True, created_at__lte=version.frozen_at)
        .filter(Q(item__withdrawn_at__isnull=True) | Q(item__withdrawn_at__gt=version.frozen_at))
        .trainable()
        .filter(Exists(drawn))
    )
    reads = {label: history.gold_index(label) for label in history.label_ids}
    given = ((item, reads.get(label, NO_LABEL)) for item, label in gold.values_list("item_id", "label_id"))
    truth = {item: index for item, index in given if index != NO_LABEL}
    silver = Prediction.objects.current().filter(prompt=version.prompt, item__in=list(truth))
    change = history.map_from(version.prompt.schema_id)
    reads_silver = change.silver(np.arange(len(change.target) + 1)).tolist()  # the last one: no valid answer
    counts = np.zeros((history.n_classes, history.n_classes + 1), np.int64)
    for item, said in silver.values_list("item_id", "label_index"):
        counts[truth[item], reads_silver[-1 if said is None else said]] += 1
    return counts
