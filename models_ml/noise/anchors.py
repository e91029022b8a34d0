"""Anchor points: a noise matrix without any gold, from the items that a model of silver is surest about."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import Floats, Matrix
from models_ml.noise.checks import check_distributions

# Of the items by how likely class i is, the surest 3 % may be outliers: the published setting.
PERCENTILE = 97.0


def anchor_transition(probabilities: Floats, n_classes: int, percentile: float = PERCENTILE) -> Matrix:
    """Ĉ_i = p(ỹ | x̄_i), float64[K, K+1], with x̄_i the item at `percentile` of p(ỹ = i | x) (Patrini et al. 2017).

    arXiv:1609.03683. probabilities float[n, K+1] (or [n, K] where the annotator never failed), n ≥ 1, are those of a
    model trained on silver alone. They are right at x̄_i if that item is of class i for certain and the model knows how
    silver errs there; more than half of a class mislabeled, and its anchor belongs to another class.
    """
    p = checked_probabilities(probabilities, n_classes)
    place = int(percentile / 100 * (len(p) - 1))
    anchors = p[np.argsort(p[:, :n_classes], axis=0, kind="stable")[place]]
    return np.asarray(anchors / anchors.sum(axis=1, keepdims=True))


def checked_probabilities(probabilities: Floats, n_classes: int) -> Matrix:
    """float64[n, K+1], with a column of zeros for failures where the model had none; ValueError if they are none."""
    if probabilities.shape[1] not in (n_classes, n_classes + 1):
        raise ValueError(f"{probabilities.shape[1]} columns for {n_classes} classes")
    if not len(probabilities):
        raise ValueError("There are no items among which an anchor could be found.")
    check_distributions("probabilities", probabilities)
    return np.pad(probabilities.astype(np.float64), ((0, 0), (0, n_classes + 1 - probabilities.shape[1])))
