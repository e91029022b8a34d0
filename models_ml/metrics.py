"""How good predicted probabilities are; which items may be counted is decided by the caller."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import Floats, Ints, Matrix

# Below this a probability counts as this: one confident mistake must not be infinitely bad.
TINY = 1e-12


def accuracy(probabilities: Floats, labels: Ints) -> float:
    """Share of rows whose largest probability is at the label; float[n, K], int[n]; NaN for no rows."""
    if len(labels) == 0:
        return float("nan")
    return float((probabilities.argmax(axis=1) == labels).mean())


def item_log_loss(probabilities: Floats, labels: Ints) -> Matrix:
    """-log p of each row's label in nats; float[n, K], int[n] -> float64[n]."""
    p = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(p, TINY)), np.float64)


def log_loss(probabilities: Floats, labels: Ints) -> float:
    """Mean -log p of the label in nats; NaN for no rows."""
    return float(item_log_loss(probabilities, labels).mean()) if len(labels) else float("nan")


def ece(probabilities: Floats, labels: Ints, n_bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017): mean |accuracy - confidence| over equal-width bins, 0..1.

    15 bins as in the paper. NaN for no rows; biased upwards below a few hundred rows.
    """
    if len(labels) == 0:
        return float("nan")
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(labels))
