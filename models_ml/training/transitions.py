"""Which noise matrix Ĉ trains: one per fold, estimated without that fold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models_ml.arrays import AnyArray, Matrix
from models_ml.losses import make_targets, marginal_likelihood
from models_ml.methods.contract import Method, Need
from models_ml.noise.transition import choose_transition, direct_prior, direct_transition, glc_transition
from models_ml.training.config import TrainingConfig
from models_ml.training.full_batch import ROUGH, fit_linear
from models_ml.training.snapshot import Snapshot

# The silver-only model of GLC: its own l2, a middle value, for it is averaged and never deployed.
GLC_L2 = 1.0


def compares_both(config: TrainingConfig, method: Method) -> bool:
    """Whether GLC's Ĉ is fitted beside Direct's: only for a method that reads silver by the better of them."""
    return config.transition == "auto" and Need.NOISE_MATRIX in method.needs


def transitions_of_folds(
    snapshot: Snapshot, config: TrainingConfig, method: Method, step: Callable[[int], None]
) -> tuple[str, Matrix, dict[str, float]]:
    """Which kind of Ĉ trains, one per fold and without it, float64[F, K, K+1]; and the log-losses that chose it.

    `step(n)` is told of fitted models.
    """
    folds, k = range(config.n_folds), snapshot.n_classes
    gold = snapshot.reference_gold
    silvers = [np.where(snapshot.fold == f, -1, snapshot.silver) for f in folds]
    golds = [np.where(snapshot.fold == f, -1, gold) for f in folds]
    candidates: dict[str, Matrix] = {}
    if config.transition != "glc":
        candidates["direct"] = np.stack([direct_transition(golds[f], silvers[f], k) for f in folds])
    if config.transition == "glc" or compares_both(config, method):
        candidates["glc"] = np.stack([_glc(snapshot, golds[f], silvers[f]) for f in folds])
        step(config.n_folds)
    kind, losses = choose_transition(gold, snapshot.silver, snapshot.fold, candidates)
    return kind, candidates[kind], losses


def transition_of_all(snapshot: Snapshot, kind: str) -> Matrix:
    """Ĉ of the chosen kind from all of the reference sample."""
    if kind == "glc":
        return _glc(snapshot, snapshot.reference_gold, snapshot.silver)
    return direct_transition(snapshot.reference_gold, snapshot.silver, snapshot.n_classes)


def _glc(snapshot: Snapshot, gold: AnyArray, silver: AnyArray) -> Matrix:
    """Ĉ as published: a model of silver alone, failures as one more class, averaged over gold items.

    As in the paper gold items are no part of its training set, else it would repeat their silver labels.
    """
    k, x = snapshot.n_classes, snapshot.x
    has_gold = np.flatnonzero(gold >= 0)
    if not len(has_gold):
        return direct_prior(gold, silver, k)
    rows = np.flatnonzero((silver >= 0) & (gold < 0))
    targets = make_targets(np.full(len(rows), -1), silver[rows], k + 1, 1.0)
    model = fit_linear(x[rows], marginal_likelihood(targets), k + 1, GLC_L2, solver=ROUGH)
    return glc_transition(model.predict_proba(x[has_gold]), gold[has_gold], k, direct_prior(gold, silver, k))
