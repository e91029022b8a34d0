"""Hard counts: a noise matrix as counted, with the smoothing of the control in Gold Loss Correction."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import Ints, Matrix
from models_ml.noise.transition import transition_counts

# The share of every row that is spread evenly, so that no label is impossible: that of the published control.
SMOOTHING = 0.01


def hard_transition(
    gold: Ints, silver: Ints, n_classes: int, smoothing: float = SMOOTHING, absent: Matrix | None = None
) -> Matrix:
    """Ĉ_ij = (1 - s)·counts_ij/n_i + s/(K+1), float64[K, K+1]: "Confusion" of Hendrycks et al. 2018.

    gold int[N], -1: none; silver int[N] are the machine's labels or, as published, the most likely classes that a
    model of silver gives the same items. A class without pairs takes its row from `absent`, else it is uniform.
    """
    counts = transition_counts(gold, silver, n_classes)
    even = np.full((n_classes, n_classes + 1), 1.0 / (n_classes + 1))
    n = counts.sum(axis=1, keepdims=True)
    smoothed = (1 - smoothing) * counts / np.maximum(n, 1) + smoothing * even
    return np.asarray(np.where(n > 0, smoothed, even if absent is None else absent), np.float64)
