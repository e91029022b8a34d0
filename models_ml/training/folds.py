"""Fits the head of one fold, and predicts each item with the head of its own fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models_ml.arrays import AnyArray, Array, Bools, Matrix
from models_ml.classifiers.softmax import SOLVER, SoftmaxHead, SolverConfig, fit_softmax
from models_ml.noise.objectives import make_targets, marginal_likelihood
from models_ml.training.snapshot import Snapshot

# One point of the search: λ and l2.
Setting = tuple[float, float]
# Gold alone is fitted like gold of this weight, so that one l2 grid serves both: with weight 1 the best l2 was the
# smallest tried (.3) on four sets, where weights of 20 and 60 beside silver took 1 to 10.
GOLD_ALONE = 20.0


def fit_head(snapshot: Snapshot, seen: Bools, method: str, setting: Setting, transition: Matrix) -> SoftmaxHead:
    """One head, fitted from zero to the end on the items of `seen` bool[N]."""
    (head,) = fit_path(snapshot, seen, method, [setting], transition, SOLVER)
    return head


def fit_path(
    snapshot: Snapshot,
    seen: Bools,
    method: str,
    settings: Sequence[Setting],
    transition: Matrix,
    solver: SolverConfig,
) -> list[SoftmaxHead]:
    """One head per (λ, l2), each started from the one before; only items of `seen` bool[N] are touched."""
    s = snapshot
    items = np.flatnonzero(seen & ((s.gold >= 0) | (s.silver >= 0)))
    heads: list[SoftmaxHead] = []
    for gold_weight, l2 in settings:
        targets = make_targets(method, s.gold[items], s.silver[items], s.n_classes, gold_weight, transition)
        x = s.x[items[targets.rows]]
        start = heads[-1] if heads else None
        penalty = l2 if np.isfinite(gold_weight) else l2 / GOLD_ALONE
        heads.append(fit_softmax(x, marginal_likelihood(targets), s.n_classes, penalty, start, solver))
    return heads


def oof_logits(heads: Sequence[SoftmaxHead], x: Array, fold: AnyArray, which: Bools) -> Array:
    """Logits float32[n, K] of the items where `which` bool[N] holds, each by the head of its own fold."""
    logits = np.zeros((len(x), len(heads[0].bias)), np.float32)
    for f, head in enumerate(heads):
        rows = np.flatnonzero(which & (fold == f))
        logits[rows] = head.logits(x[rows])
    return logits[which]
