"""How the machine errs: the frozen Ĉ beside the counts of reference gold behind it, with an interval per entry."""

from dataclasses import dataclass

import numpy as np
from django.db.models import Exists, OuterRef, Q

from annotate.models import DeliveredVersion, Draw, Gold, Label, Prediction
from annotate.models.project import Arm
from models_ml.arrays import Matrix, Positions
from models_ml.noise.transition import row_intervals

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


def load(version: DeliveredVersion) -> Confusion | None:
    """Ĉ of this version; None where nothing was pre-labeled, or where there are too many labels to look at."""
    labels = list(Label.objects.filter(schema=version.schema_id).order_by("index").values_list("name", flat=True))
    if version.prompt_id is None or len(labels) > MAX_LABELS:
        return None
    share = np.array(version.delivery["transition"], np.float64)
    counts = _counts(version, len(labels))
    bounds = row_intervals(share, counts.sum(axis=1))
    return Confusion(labels, counts, share, bounds.low, bounds.high)


def _counts(version: DeliveredVersion, n_classes: int) -> Positions:
    """Pairs of (gold, silver) in the reference sample, as far as it was known when the version was frozen."""
    known = Q(round__isnull=True) | Q(round__closed_at__lte=version.frozen_at)
    drawn = Draw.objects.filter(known, item=OuterRef("item"), arm=Arm.RANDOM)
    gold = (
        Gold.objects.filter(project_id=version.project_id, is_blind=True, created_at__lte=version.frozen_at)
        .filter(Q(item__withdrawn_at__isnull=True) | Q(item__withdrawn_at__gt=version.frozen_at))
        .trainable()
        .filter(Exists(drawn))
    )
    truth = dict(gold.values_list("item_id", "label__index"))
    silver = Prediction.objects.current().filter(prompt=version.prompt_id, item__in=list(truth))
    counts = np.zeros((n_classes, n_classes + 1), np.int64)
    for item, said in silver.values_list("item_id", "label_index"):
        counts[truth[item], n_classes if said is None else said] += 1
    return counts
