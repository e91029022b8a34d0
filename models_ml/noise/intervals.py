"""Intervals for the entries of a noise matrix: from what was counted, never from what was assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaincinv

from models_ml.arrays import AnyArray, Floats, Matrix

# Halvings of an interval no wider than 1: to the 12th digit.
HALVINGS = 40


@dataclass(frozen=True)
class RowIntervals:
    """Interval per entry of Ĉ: low, high float64[K, K+1]; n [K], the gold items behind each row."""

    low: Matrix
    high: Matrix
    n: AnyArray


def row_intervals(counts: AnyArray, transition: Floats | None = None, level: float = 0.95) -> RowIntervals:
    """The mid-P interval of each entry, entry j of row i being counts_ij of the n_i = Σ_j counts_ij answers.

    counts [K, K+1]: pairs of gold and silver (transition_counts), or fractional ones (weighted_counts), then of n_i
    effective answers as Korn & Graubard 1998 have it. A row without answers gets 0 to 1. transition float[K, K+1]: an Ĉ
    that is shown beside its intervals; where shrinkage put an entry outside its interval, that end moves out to it.

    Given n_i an entry is binomial, whatever the other rows are. The quantiles of the Dirichlet posterior around Ĉ,
    which were used before, cover on average over classes that are as alike as Ĉ's prior says; a scarce class that errs
    otherwise was covered in 65 % where the pooled rate pulled it. Clopper and Pearson's interval covers 98 % on average
    and is 9 % wider; Jeffreys' covers 95 %, but only 88 % for some shares. Mid-P (Lancaster 1961; Berry & Armitage
    1995) is never below 91.5 % for 3 to 60 answers, 96 to 98 % on average (docs/decisions/022-intervals-of-rows.md).
    """
    if not np.isfinite(counts).all() or (counts.size and counts.min() < 0):
        raise ValueError("Counts must be numbers of at least 0.")
    n = counts.sum(axis=1)
    k, of = counts.astype(np.float64), np.broadcast_to(n[:, None], counts.shape).astype(np.float64)
    low, high = _low(k, of, (1 - level) / 2), 1 - _low(of - k, of, (1 - level) / 2)
    if transition is not None:
        low, high = np.minimum(low, transition), np.maximum(high, transition)
    return RowIntervals(low, high, n)


def _low(k: Matrix, n: Matrix, tail: float) -> Matrix:
    """The p at which k or more of n is as unlikely as `tail`, k itself counted half; 0 for k = 0."""
    pairs, back = np.unique(np.stack([k.ravel(), n.ravel()]), axis=1, return_inverse=True)
    k1, n1 = pairs
    some = k1 > 0  # few counts differ, and most are none
    found = np.zeros(len(k1))
    found[some] = _solved(k1[some], n1[some], tail)
    return found[back.ravel()].reshape(k.shape)


def _solved(k: Matrix, n: Matrix, tail: float) -> Matrix:
    """By halving: the middle of two tails lies between where the one and where the other is `tail`."""
    rest = np.maximum(n - k, 0.0)
    is_all = rest < 1e-9
    low = betaincinv(k, rest + 1, tail)
    high = np.where(is_all, 1.0, betaincinv(k + 1, np.where(is_all, 1.0, rest), tail))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        more = np.where(is_all, 0.0, betainc(k + 1, np.where(is_all, 1.0, rest), middle))
        too_low = (betainc(k, rest + 1, middle) + more) / 2 < tail
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return np.asarray((low + high) / 2)
