"""Dual-T: a noise matrix in two factors, of which only one rests on what a model thinks."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import Floats, Ints, Matrix
from models_ml.noise.anchors import PERCENTILE, anchor_transition, checked_probabilities
from models_ml.noise.checks import check_labels


def dual_t_transition(probabilities: Floats, silver: Ints, n_classes: int, percentile: float = PERCENTILE) -> Matrix:
    """Ĉ = T♣·T♠, float64[K, K+1] (Yao et al. 2020, arXiv:2006.07805).

    y' is the label that a model of silver finds most likely (K: no valid answer). T♣_il = p(y' = l | y = i) comes from
    anchor points, float64[K, K+1]; T♠_lj = p(ỹ = j | y' = l) is counted over all items, float64[K+1, K+1]. So counts
    put right a model that is too sure of itself, as networks are; after one that is too unsure, as a penalised linear
    one, both factors spread the labels and Ĉ is worse than from anchors alone. Where y' is never l that row of T♠ is
    the identity's. probabilities float[n, K+1] (or [n, K]); silver int[n], -1: never asked. Counts are fairest of items
    that the model did not learn from.
    """
    p = checked_probabilities(probabilities, n_classes)
    check_labels("silver labels", silver, n_classes)
    asked = silver >= 0
    counts = np.zeros((n_classes + 1, n_classes + 1))
    np.add.at(counts, (p[asked].argmax(axis=1), silver[asked]), 1)
    n = counts.sum(axis=1, keepdims=True)
    spades = np.where(n > 0, counts / np.maximum(n, 1), np.eye(n_classes + 1))
    return np.asarray(anchor_transition(p, n_classes, percentile) @ spades)
