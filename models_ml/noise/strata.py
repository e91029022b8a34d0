"""One noise matrix per observable stratum, and whether strata are worth it: chosen by cross-validated likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models_ml.arrays import AnyArray, Ints, Matrix
from models_ml.noise.checks import check_pairs, check_strata
from models_ml.noise.choice import TINY
from models_ml.noise.transition import PRIOR_STRENGTH, direct_transition

# Pseudo-answers of the pooled Ĉ in every stratum: costs nothing where strata do not matter, kept most of
# the gain where they do (measured on noise added to SST).
STRATUM_STRENGTH = 20.0


@dataclass(frozen=True)
class Gain:
    """By how much a candidate predicts silver better than one Ĉ for all, in nats per item, and its standard error.

    Paired by item, each item by matrices estimated without its fold; both 0 where nothing could be compared.
    """

    mean: float
    standard_error: float

    @property
    def is_clear(self) -> bool:
        """More than one standard error above 0: what each choice on the reference sample asks for."""
        return self.mean > self.standard_error


def stratified_transition(
    gold: Ints,
    silver: Ints,
    stratum: Ints,
    n_classes: int,
    prior_strength: float = PRIOR_STRENGTH,
    stratum_strength: float = STRATUM_STRENGTH,
) -> Matrix:
    """One Direct Ĉ per stratum, shrunk to the pooled one: (counts_g + m·Ĉ) / (n_g + m) by row. float64[G, K, K+1].

    stratum int[N] in 0..G-1: what a product can observe (prompt version, confidence bin, text length,
    source).
    """
    return by_stratum(
        direct_transition(gold, silver, n_classes, prior_strength), gold, silver, stratum, stratum_strength
    )


def by_stratum(pooled: Matrix, gold: Ints, silver: Ints, stratum: Ints, strength: float = STRATUM_STRENGTH) -> Matrix:
    """Any Ĉ float64[K, K+1] made one per stratum by the counts of each: float64[G, K, K+1]."""
    check_pairs(gold, silver, len(pooled))
    check_strata("strata", stratum, len(gold))
    both = (gold >= 0) & (silver >= 0)
    counts = np.zeros((int(stratum.max(initial=-1)) + 1, *pooled.shape))
    np.add.at(counts, (stratum[both], gold[both], silver[both]), 1)
    return np.asarray((counts + strength * pooled) / (counts.sum(axis=2, keepdims=True) + strength))


def choose_strata(
    gold: Ints, silver: Ints, fold: AnyArray, candidates: Mapping[str, Ints], n_classes: int
) -> tuple[str | None, dict[str, Gain]]:
    """Which candidate's strata have a noise of their own, None: none clearly; and what each would gain.

    gold int[N], -1 outside the reference sample and wherever it may not be used; silver int[N]; fold int[N];
    candidates: name -> stratum int[N]. A candidate is chosen if it predicts the silver of the reference sample better
    than one Ĉ for all by more than one standard error of the paired differences; of several, the one that gains most.
    One Ĉ for all is the pooled one or, if that is better, the pooled one moved to the counts as strata move it: where
    the prior spreads errors wrongly, that alone got useless strata chosen in 29 to 42 of 100 runs, and now in 5 to 11.
    A training that looks at three useless candidates lost 0.0 ± 0.02 points (made up, 50 to 200 gold, 20 pairs).
    """
    for name, stratum in candidates.items():
        check_strata(name, stratum, len(gold))
    both = np.flatnonzero((gold >= 0) & (silver >= 0))
    alike = np.zeros(len(gold), np.int64)
    plain, moved, *others = _surprises(gold, silver, fold, [None, alike, *candidates.values()], n_classes)[:, both]
    for_all = min(plain, moved, key=np.sum)
    gains = {name: _gain(for_all - surprise) for name, surprise in zip(candidates, others, strict=True)}
    clear = [name for name, gain in gains.items() if gain.is_clear]
    return max(clear, key=lambda name: gains[name].mean, default=None), gains


def _surprises(gold: Ints, silver: Ints, fold: AnyArray, by: Sequence[Ints | None], n_classes: int) -> Matrix:
    """-log Ĉ[gold, silver] float64[ways, N] of items that have both, by matrices made without the item's fold.

    by: how Ĉ is made, pooled (None) or one per stratum.
    """
    found = np.zeros((len(by), len(gold)))
    for f in np.unique(fold[(gold >= 0) & (silver >= 0)]):
        own = np.flatnonzero((fold == f) & (gold >= 0) & (silver >= 0))
        seen_gold, seen_silver = np.where(fold == f, -1, gold), np.where(fold == f, -1, silver)
        pooled = direct_transition(seen_gold, seen_silver, n_classes)
        for way, stratum in enumerate(by):
            if stratum is None:
                p = pooled[gold[own], silver[own]]
            else:
                p = by_stratum(pooled, seen_gold, seen_silver, stratum)[stratum[own], gold[own], silver[own]]
            found[way, own] = -np.log(np.maximum(p, TINY))
    return found


def _gain(differences: Matrix) -> Gain:
    n = len(differences)
    return Gain(float(differences.mean()), float(differences.std(ddof=1) / n**0.5)) if n > 1 else Gain(0.0, 0.0)
