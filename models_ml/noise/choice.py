"""Which of several noise matrices predicts silver best, by log-loss on items that did not estimate it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models_ml.arrays import Ints, Matrix
from models_ml.noise.checks import check_pairs

# How Ĉ may be estimated; "auto": the better of direct and glc.
KINDS = ("auto", "direct", "glc", "counts", "anchor", "dual-t")
# A probability of exactly zero would make one surprising label infinitely bad.
TINY = 1e-12


def choose_transition(
    gold: Ints, silver: Ints, fold: Ints, candidates: Mapping[str, Matrix]
) -> tuple[str, dict[str, float]]:
    """The candidate with the lowest cross-validated log-loss, and all losses; the first of equals wins.

    candidates: name -> float64[F, K, K+1], entry f estimated without fold f. A loss is the mean -log Ĉ[gold, silver]
    in nats over items that have both, each by its own fold's Ĉ; NaN where there is none. gold is -1 outside the
    reference sample.
    """
    check_pairs(gold, silver, next(iter(candidates.values())).shape[1])
    both = (gold >= 0) & (silver >= 0)
    g, s, f = gold[both], silver[both], fold[both]
    losses = {
        name: float(-np.log(np.maximum(c[f, g, s], TINY)).mean()) if len(g) else float("nan")
        for name, c in candidates.items()
    }
    best = min(losses, key=lambda name: np.nan_to_num(losses[name], nan=np.inf))
    return best, losses
