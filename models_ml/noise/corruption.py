"""Makes labels wrong in known ways, for experiments: C[i, j] is how often a label is j where i is true."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import Ints, Matrix, Positions

# Words a text has left once stop words are gone: 2 and fewer, 3 to 5, 6 and more. A third of the SST phrases each.
LENGTH_BINS = (2, 5)


def uniform_matrix(rate: float, n_classes: int) -> Matrix:
    """With probability `rate` a label is drawn from all classes, the true one too: rate/K + (1 - rate)·I.

    float64[K, K]; as published with GLC (Hendrycks et al. 2018, arXiv:1802.05300). With two classes a uniform rate p is
    a flip rate p/2. ValueError unless the rate is a share.
    """
    share = _share(rate)
    return np.full((n_classes, n_classes), share / n_classes) + (1 - share) * np.eye(n_classes)


def flip_matrix(rate: float, n_classes: int, rng: np.random.Generator) -> Matrix:
    """With probability `rate` a label becomes one other class, drawn once for each true class. float64[K, K].

    The same `rng` draws the same other classes whatever the rate.
    """
    share = _share(rate)
    matrix = (1 - share) * np.eye(n_classes)
    true = np.arange(n_classes)
    matrix[true, (true + rng.integers(1, n_classes, n_classes)) % n_classes] = share
    return matrix


def length_bin(lengths: Ints) -> Positions:
    """Which of LENGTH_BINS a number of words falls into, int64[n] in 0..2."""
    return np.digitize(lengths, LENGTH_BINS, right=True)


def corrupt(truth: Ints, matrices: Matrix, rng: np.random.Generator, group: Ints | None = None) -> Positions:
    """Labels int64[n], drawn for each item from the row C[truth] of the matrix of its group.

    truth int[n] in 0..K-1; matrices float64[G, K, K], rows sum to one; group int[n] in 0..G-1, None: all by the first.
    One number of `rng` decides an item, so that rates that differ little make labels that differ little. ValueError
    for rows that are no distributions, and for labels or groups out of range.
    """
    _check(truth, matrices, group)
    rows = matrices[np.zeros(len(truth), np.int64) if group is None else group, truth]
    beyond = rng.random(len(truth))[:, None] >= rows.cumsum(axis=1)[:, :-1]  # not the last: sums may stay below 1
    return np.asarray(beyond.sum(axis=1), np.int64)


def _check(truth: Ints, matrices: Matrix, group: Ints | None) -> None:
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise ValueError("noise matrices must have the shape groups × classes × classes")
    if not ((matrices >= 0).all() and np.allclose(matrices.sum(axis=2), 1)):  # also refuses NaN
        raise ValueError("a row of a noise matrix does not sum to one")
    if len(truth) and not (truth.min() >= 0 and truth.max() < matrices.shape[1]):
        raise ValueError("a true label lies outside the classes of the noise matrix")
    if group is not None and len(group) and not (group.min() >= 0 and group.max() < len(matrices)):
        raise ValueError("a group has no noise matrix")


def _share(rate: float) -> float:
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate of wrong labels lies between 0 and 1, not {rate!r}")
    return float(rate)
