"""Trains a version: one head per fold, blind to it; Ĉ, λ and L2 come from the reference sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models_ml.arrays import AnyArray, Array, Matrix
from models_ml.calibration import apply_temperature, fit_temperature
from models_ml.classifiers.softmax import ROUGH, fit_softmax, softmax
from models_ml.metrics import accuracy, ece, log_loss
from models_ml.noise.objectives import make_targets, marginal_likelihood
from models_ml.noise.transition import (
    choose_transition,
    direct_prior,
    direct_transition,
    glc_transition,
    transition_counts,
)
from models_ml.training.folds import fit_head, oof_logits
from models_ml.training.new_data import new_data_predictions
from models_ml.training.search import Progress, Search
from models_ml.training.snapshot import Snapshot, TrainingConfig, float_to_json
from models_ml.training.version import TrainedVersion

__all__ = ["Snapshot", "TrainedVersion", "TrainingConfig", "new_data_predictions", "train"]

# The silver-only model of GLC: its own l2, a middle value, for it is averaged and never deployed.
GLC_L2 = 1.0


def train(snapshot: Snapshot, config: TrainingConfig | None = None, progress: Progress | None = None) -> TrainedVersion:
    """Fit one head per fold on everything outside the fold, and one on everything for new texts.

    1. Ĉ per fold from the other folds' reference gold; 2. l2, then λ, by out-of-fold log-loss on the
    reference sample (defaults where that is too small, said in the metrics); 3. the final heads from zero;
    4. a temperature. `progress(done, total)` counts fitted heads, at most `total`.
    """
    config = config or TrainingConfig()
    if len(snapshot.fold) and snapshot.fold.max() >= config.n_folds:
        raise ValueError("a fold lies beyond n_folds")
    search = Search(snapshot, config, progress)
    kind, fold_transitions, transition_losses = _transitions(snapshot, config, search.step)
    setting = search.run(fold_transitions)
    others = [snapshot.fold != f for f in range(config.n_folds)]
    heads = [fit_head(snapshot, seen, config.method, setting, fold_transitions[f]) for f, seen in enumerate(others)]
    search.step(config.n_folds)
    transition = _whole_transition(snapshot, kind)
    whole = fit_head(snapshot, snapshot.fold >= 0, config.method, setting, transition)
    search.finish()
    logits = oof_logits(heads, snapshot.x, snapshot.fold, snapshot.judged)
    labels = snapshot.gold[snapshot.judged]
    temperature = fit_temperature(logits, labels)
    return TrainedVersion(
        weights=np.stack([h.weight for h in heads]),
        biases=np.stack([h.bias for h in heads]),
        new_weight=whole.weight,
        new_bias=whole.bias,
        temperature=temperature,
        gold_weight=setting[0],
        l2=setting[1],
        transition_kind=kind,
        transition=transition,
        fold_transitions=fold_transitions,
        counts=transition_counts(_reference_gold(snapshot), snapshot.silver, snapshot.n_classes),
        config=config,
        metrics={
            **_reference_metrics(logits, labels, temperature),
            **_counts(snapshot),
            "chosen_by": search.chosen_by,
            "grid": search.table,
            "transition_log_loss": {k: float_to_json(v) for k, v in transition_losses.items()},
        },
    )


def _counts(snapshot: Snapshot) -> dict[str, Any]:
    """What there was to learn from."""
    s = snapshot
    return {
        "n_gold": int(np.count_nonzero(s.gold >= 0)),
        "n_silver": int(np.count_nonzero((s.silver >= 0) & (s.gold < 0))),
        "n_failures": int(np.count_nonzero(s.silver == s.n_classes)),
        "n_reference": int(np.count_nonzero(s.judged)),
        "classes_without_gold": np.setdiff1d(np.arange(s.n_classes), s.gold).tolist(),
    }


def _transitions(
    snapshot: Snapshot, config: TrainingConfig, step: Callable[[int], None]
) -> tuple[str, Matrix, dict[str, float]]:
    """Which Ĉ trains, one per fold and without it, float64[F, K, K+1]; and the log-losses that chose it."""
    folds, k = range(config.n_folds), snapshot.n_classes
    gold = _reference_gold(snapshot)
    candidates: dict[str, Matrix] = {}
    hidden = [np.where(snapshot.fold == f, -1, snapshot.silver) for f in folds]
    golds = [np.where(snapshot.fold == f, -1, gold) for f in folds]
    if config.transition != "glc":
        candidates["direct"] = np.stack([direct_transition(golds[f], hidden[f], k) for f in folds])
    if config.transition == "glc" or (config.transition == "auto" and config.method == "corrected"):
        candidates["glc"] = np.stack([_glc(snapshot, golds[f], hidden[f]) for f in folds])
        step(config.n_folds)
    kind, losses = choose_transition(gold, snapshot.silver, snapshot.fold, candidates)
    return kind, candidates[kind], losses


def _glc(snapshot: Snapshot, gold: AnyArray, silver: AnyArray) -> Matrix:
    """Ĉ as published: a model of silver alone, failures as one more class, averaged over gold items.

    As in the paper gold items are no part of its training set, else it would repeat their silver labels.
    """
    k, x = snapshot.n_classes, snapshot.x
    if not (gold >= 0).any():
        return direct_prior(gold, silver, k)
    train_on = np.flatnonzero((silver >= 0) & (gold < 0))
    nobody = np.full(len(train_on), -1)
    targets = make_targets("cross_entropy", nobody, silver[train_on], k + 1, 1.0)
    head = fit_softmax(x[train_on], marginal_likelihood(targets), k + 1, GLC_L2, solver=ROUGH)
    judged = np.flatnonzero(gold >= 0)
    return glc_transition(head.predict_proba(x[judged]), gold[judged], k, direct_prior(gold, silver, k))


def _whole_transition(snapshot: Snapshot, kind: str) -> Matrix:
    """Ĉ of the chosen kind from all of the reference sample."""
    gold = _reference_gold(snapshot)
    if kind == "glc":
        return _glc(snapshot, gold, snapshot.silver)
    return direct_transition(gold, snapshot.silver, snapshot.n_classes)


def _reference_gold(snapshot: Snapshot) -> AnyArray:
    return np.where(snapshot.judged, snapshot.gold, -1)


def _reference_metrics(logits: Array, labels: AnyArray, temperature: float) -> dict[str, Any]:
    """What the reference sample says of the fold models: to choose between versions, never to report."""
    before, after = softmax(logits), apply_temperature(logits, temperature)
    values = {
        "reference_log_loss_raw": log_loss(before, labels),
        "reference_log_loss": log_loss(after, labels),
        "reference_accuracy": accuracy(after, labels),
        "reference_ece": ece(after, labels),
    }
    return {name: float_to_json(value) for name, value in values.items()}
