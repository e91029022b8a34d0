"""Estimates Ĉ, how the machine's label depends on the truth: K rows, K + 1 columns (last: no answer)."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import Bools, Floats, Ints, Matrix
from models_ml.noise.checks import check_distributions, check_labels, check_pairs, check_weights

# Pseudo-answers of the prior in every row: with 50-100 gold items this halved the error of plain counts
# (docs/loop.md, "The noise matrix Ĉ", has the formula).
PRIOR_STRENGTH = 5.0
# The error rate before anything is known, worth ERROR_STRENGTH answers: annotators seen so far are 60-95 %
# right.
ERROR_BEFORE = 0.2
ERROR_STRENGTH = 5.0


def transition_counts(gold: Ints, silver: Ints, n_classes: int) -> Ints:
    """Pairs, int64[K, K+1]; gold int[N] (-1: none), silver int[N] (K: no valid answer, -1: not asked)."""
    check_pairs(gold, silver, n_classes)
    both = _both(gold, silver)
    counts = np.zeros((n_classes, n_classes + 1), np.int64)
    np.add.at(counts, (gold[both], silver[both]), 1)
    return counts


def weighted_counts(gold: Ints, silver: Ints, n_classes: int, weight: Floats) -> Matrix:
    """Pairs of items that stand for unlike numbers of others, float64[K, K+1]; equal weights give transition_counts.

    weight float[N]: N_h/n_h of the stratum that an item was drawn from. A row's shares are those of the weighted items
    (Hájek 1971), its sum their effective number (Σw)²/Σw² (Kish 1965), so that it is as sure as as many equal items.
    """
    check_pairs(gold, silver, n_classes)
    both = _both(gold, silver)
    check_weights(weight, both)
    at = gold[both], silver[both]
    sums, squares = np.zeros((2, n_classes, n_classes + 1))
    np.add.at(sums, at, weight[both].astype(np.float64))
    np.add.at(squares, at, weight[both].astype(np.float64) ** 2)
    of_row, squares_of_row = sums.sum(axis=1, keepdims=True), squares.sum(axis=1, keepdims=True)
    return np.asarray(sums * np.where(of_row > 0, of_row / np.where(of_row > 0, squares_of_row, 1.0), 0.0))


def pooled_error(gold: Ints, silver: Ints, weight: Floats | None = None) -> float:
    """Share of gold items whose silver is wrong or failed, shrunk: (errors + 1) / (n + 5).

    With weights float[N] their share, of as many answers as they are effectively.
    """
    both = _both(gold, silver)
    is_wrong, n = gold[both] != silver[both], float(np.count_nonzero(both))
    errors = float(np.count_nonzero(is_wrong))
    if weight is not None and n:
        w = weight[both].astype(np.float64)
        n = w.sum() ** 2 / (w**2).sum()
        errors = n * w[is_wrong].sum() / w.sum()
    return float((errors + ERROR_BEFORE * ERROR_STRENGTH) / (n + ERROR_STRENGTH))


def silver_marginal(silver: Ints, n_classes: int) -> Matrix:
    """How often each answer is given, float64[K+1]; one pseudo-answer is spread evenly: none is zero."""
    check_labels("silver labels", silver, n_classes)
    counts = np.bincount(silver[silver >= 0], minlength=n_classes + 1) + 1.0 / (n_classes + 1)
    return np.asarray(counts / counts.sum(), np.float64)


def direct_prior(gold: Ints, silver: Ints, n_classes: int, weight: Floats | None = None) -> Matrix:
    """Ĉ before looking at rows, float64[K, K+1]: diagonal 1 - pooled error, rest by the silver marginal."""
    error, marginal = pooled_error(gold, silver, weight), silver_marginal(silver, n_classes)
    prior = np.tile(marginal, (n_classes, 1))
    np.fill_diagonal(prior, 0.0)
    prior *= error / prior.sum(axis=1, keepdims=True)
    np.fill_diagonal(prior, 1.0 - error)
    return prior


def direct_transition(
    gold: Ints, silver: Ints, n_classes: int, prior_strength: float = PRIOR_STRENGTH, weight: Floats | None = None
) -> Matrix:
    """Ĉ_i = (counts_i + s·prior_i) / (n_i + s), float64[K, K+1]: the mean of a Dirichlet posterior per row.

    gold int[N] is -1 wherever it may not be used (all but the reference sample); silver of every item given
    shapes the prior's off-diagonals, so hand over only items that may be seen. weight float[N]: how many items of the
    pool each gold item stands for (N_h/n_h of its draw), where not all were drawn alike; see weighted_counts.
    """
    if weight is None:
        counts: Matrix | Ints = transition_counts(gold, silver, n_classes)
    else:
        counts = weighted_counts(gold, silver, n_classes, weight)
    prior = direct_prior(gold, silver, n_classes, weight)
    n = counts.sum(axis=1, keepdims=True)
    return np.asarray((counts + prior_strength * prior) / (n + prior_strength), np.float64)


def glc_transition(probabilities: Floats, gold: Ints, n_classes: int, absent: Matrix | None = None) -> Matrix:
    """Ĉ of Gold Loss Correction (Hendrycks et al. 2018, arXiv:1802.05300), float64[K, K+1].

    probabilities float[n, K+1] (or [n, K] where the annotator never failed) are those of a model trained on
    silver only; row i is their mean over gold == i. A class without gold takes its row from `absent`, else
    it is uniform, as in the authors' code.
    """
    if probabilities.shape[1] not in (n_classes, n_classes + 1):
        raise ValueError(f"{probabilities.shape[1]} columns for {n_classes} classes")
    if len(probabilities) != len(gold):
        raise ValueError(f"There are probabilities of {len(probabilities)} items, but gold of {len(gold)}.")
    check_distributions("probabilities", probabilities)
    check_labels("gold labels", gold, n_classes - 1)
    transition = np.full((n_classes, n_classes + 1), 1.0 / (n_classes + 1)) if absent is None else absent.copy()
    for i in np.unique(gold[gold >= 0]):
        row = probabilities[gold == i].mean(axis=0, dtype=np.float64)
        transition[i] = np.pad(row, (0, n_classes + 1 - len(row)))
    return transition


def _both(gold: Ints, silver: Ints) -> Bools:
    return (gold >= 0) & (silver >= 0)
