"""Estimates Ĉ, how the machine's label depends on the truth: K rows, K + 1 columns (last: no answer)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from models_ml.arrays import Bools, Floats, Ints, Matrix

# Pseudo-answers of the prior in every row: with 50-100 gold items this halved the error of plain counts
# (docs/loop.md, "The noise matrix Ĉ", has the formula).
PRIOR_STRENGTH = 5.0
# Pseudo-answers of the pooled Ĉ in every stratum: costs nothing where strata do not matter, kept most of
# the gain where they do (measured on noise added to SST).
STRATUM_STRENGTH = 20.0
# The error rate before anything is known, worth ERROR_STRENGTH answers: annotators seen so far are 60-95 %
# right.
ERROR_BEFORE = 0.2
ERROR_STRENGTH = 5.0
# A probability of exactly zero would make one surprising label infinitely bad.
TINY = 1e-12


@dataclass(frozen=True)
class RowIntervals:
    """Interval per entry of Ĉ: low, high float64[K, K+1]; n int64[K], the gold items behind each row."""

    low: Matrix
    high: Matrix
    n: Ints


def transition_counts(gold: Ints, silver: Ints, n_classes: int) -> Ints:
    """Pairs, int64[K, K+1]; gold int[N] (-1: none), silver int[N] (K: no valid answer, -1: not asked)."""
    both = _both(gold, silver)
    counts = np.zeros((n_classes, n_classes + 1), np.int64)
    np.add.at(counts, (gold[both], silver[both]), 1)
    return counts


def pooled_error(gold: Ints, silver: Ints) -> float:
    """Share of gold items whose silver is wrong or failed, shrunk: (errors + 1) / (n + 5)."""
    both = _both(gold, silver)
    errors = np.count_nonzero(gold[both] != silver[both])
    return float((errors + ERROR_BEFORE * ERROR_STRENGTH) / (np.count_nonzero(both) + ERROR_STRENGTH))


def silver_marginal(silver: Ints, n_classes: int) -> Matrix:
    """How often each answer is given, float64[K+1]; one pseudo-answer is spread evenly: none is zero."""
    counts = np.bincount(silver[silver >= 0], minlength=n_classes + 1) + 1.0 / (n_classes + 1)
    return np.asarray(counts / counts.sum(), np.float64)


def direct_prior(gold: Ints, silver: Ints, n_classes: int) -> Matrix:
    """Ĉ before looking at rows, float64[K, K+1]: diagonal 1 - pooled error, rest by the silver marginal."""
    error, marginal = pooled_error(gold, silver), silver_marginal(silver, n_classes)
    prior = np.tile(marginal, (n_classes, 1))
    np.fill_diagonal(prior, 0.0)
    prior *= error / prior.sum(axis=1, keepdims=True)
    np.fill_diagonal(prior, 1.0 - error)
    return prior


def direct_transition(gold: Ints, silver: Ints, n_classes: int, prior_strength: float = PRIOR_STRENGTH) -> Matrix:
    """Ĉ_i = (counts_i + s·prior_i) / (n_i + s), float64[K, K+1].

    gold int[N] is -1 wherever it may not be used (all but the reference sample); silver of every item given
    shapes the prior's off-diagonals, so hand over only items that may be seen.
    """
    counts = transition_counts(gold, silver, n_classes)
    prior = direct_prior(gold, silver, n_classes)
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
    transition = np.full((n_classes, n_classes + 1), 1.0 / (n_classes + 1)) if absent is None else absent.copy()
    for i in np.unique(gold[gold >= 0]):
        row = probabilities[gold == i].mean(axis=0, dtype=np.float64)
        transition[i] = np.pad(row, (0, n_classes + 1 - len(row)))
    return transition


def stratified_transition(
    gold: Ints,
    silver: Ints,
    stratum: Ints,
    n_classes: int,
    prior_strength: float = PRIOR_STRENGTH,
    stratum_strength: float = STRATUM_STRENGTH,
) -> Matrix:
    """One Ĉ per stratum, shrunk to the pooled one: (counts_g + m·Ĉ) / (n_g + m) by row. float64[G, K, K+1].

    stratum int[N] in 0..G-1: what a product can observe (prompt version, confidence bin, text length,
    source).
    """
    pooled = direct_transition(gold, silver, n_classes, prior_strength)
    strata = []
    for g in range(int(stratum.max(initial=-1)) + 1):
        counts = transition_counts(gold[stratum == g], silver[stratum == g], n_classes)
        n = counts.sum(axis=1, keepdims=True)
        strata.append((counts + stratum_strength * pooled) / (n + stratum_strength))
    return np.array(strata, np.float64).reshape(-1, n_classes, n_classes + 1)


def row_intervals(
    transition: Floats, n: Ints, prior_strength: float = PRIOR_STRENGTH, level: float = 0.95
) -> RowIntervals:
    """Intervals of Direct: row i is Dirichlet(Ĉ_i · (n_i + s)), so each entry has a beta distribution.

    transition float[K, K+1] is Ĉ; n int[K] counts the gold items behind each row. An entry of Ĉ that is zero is
    treated as barely above it, since a beta distribution needs positive parameters.
    """
    alpha = np.maximum(transition * (n[:, None] + prior_strength), 1e-9)
    rest = np.maximum(alpha.sum(axis=1, keepdims=True) - alpha, 1e-9)
    low, high = (np.asarray(betaincinv(alpha, rest, q), np.float64) for q in ((1 - level) / 2, (1 + level) / 2))
    return RowIntervals(low, high, np.asarray(n, np.int64))


def choose_transition(
    gold: Ints, silver: Ints, fold: Ints, candidates: Mapping[str, Matrix]
) -> tuple[str, dict[str, float]]:
    """The candidate with the lowest cross-validated log-loss, and all losses; the first of equals wins.

    candidates: name -> float64[F, K, K+1], entry f estimated without fold f. A loss is the mean -log Ĉ[gold, silver]
    in nats over items that have both, each by its own fold's Ĉ; NaN where there is none. gold is -1 outside the
    reference sample.
    """
    both = _both(gold, silver)
    g, s, f = gold[both], silver[both], fold[both]
    losses = {
        name: float(-np.log(np.maximum(c[f, g, s], TINY)).mean()) if len(g) else float("nan")
        for name, c in candidates.items()
    }
    best = min(losses, key=lambda name: np.nan_to_num(losses[name], nan=np.inf))
    return best, losses


def _both(gold: Ints, silver: Ints) -> Bools:
    return (gold >= 0) & (silver >= 0)
