"""Trains a version: one classifier per fold, blind to it; Ĉ and the parameters come from the reference sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_ml.arrays import Array, Ints
from models_ml.calibration import apply_temperature, fit_temperature
from models_ml.metrics import accuracy, ece, log_loss
from models_ml.networks.linear import softmax
from models_ml.noise.transition import transition_counts
from models_ml.training.config import TrainingConfig, float_to_json
from models_ml.training.folds import fit_fold, oof_logits
from models_ml.training.new_data import new_data_predictions
from models_ml.training.search import Search, TrainingProgress
from models_ml.training.snapshot import Snapshot
from models_ml.training.transitions import noise_of_fits, stored_strata, transition_of_all, transitions_of_folds
from models_ml.training.version import TrainedVersion

__all__ = ["Snapshot", "TrainedVersion", "TrainingConfig", "new_data_predictions", "train"]


def train(
    snapshot: Snapshot, config: TrainingConfig | None = None, progress: TrainingProgress | None = None
) -> TrainedVersion:
    """Fit one classifier per fold on everything outside the fold, and one on everything for new items.

    1. Ĉ per fold, of each stratum where strata matter, from the other folds' reference gold; 2. the method's parameters
    by out-of-fold log-loss on the reference sample (defaults where that is too small, said in the metrics); 3. the
    final classifiers from zero; 4. a temperature. `progress(done, total)` counts fitted classifiers, at most `total`.
    """
    config = config or TrainingConfig()
    s, folds = snapshot, range(config.n_folds)
    if len(s.fold) and s.fold.max() >= config.n_folds:
        raise ValueError("a fold lies beyond n_folds")
    method = config.build()
    search = Search(s, config, method, progress)
    kind, fold_transitions, transition_losses = transitions_of_folds(s, config, method, search.step)
    transition = transition_of_all(s, kind)
    noise, gains = noise_of_fits(s, method, fold_transitions, transition)
    method = config.build(**search.run(noise))
    classifiers = [fit_fold(method, s.training_data(s.fold != f, *noise[f]), config.seed, f) for f in folds]
    search.step(config.n_folds)
    whole = fit_fold(method, s.training_data(s.fold >= 0, *noise[-1]), config.seed, -1)
    search.finish()
    logits = oof_logits(classifiers, s.x, s.fold, s.has_reference_gold, s.n_classes)
    temperature = fit_temperature(logits, s.gold[s.has_reference_gold])
    return TrainedVersion(
        of_folds=tuple(classifiers),
        whole=whole,
        method=method,
        temperature=temperature,
        transition_kind=kind,
        transition=transition,
        fold_transitions=fold_transitions,
        counts=transition_counts(s.reference_gold, s.silver, s.n_classes),
        config=config,
        metrics={
            **_reference_metrics(logits, s.gold[s.has_reference_gold], temperature),
            **_counts(s),
            "chosen_by": search.chosen_by,
            "grid": search.table,
            "transition_log_loss": {k: float_to_json(v) for k, v in transition_losses.items()},
            **({"strata_gain": gains} if gains else {}),
        },
        **stored_strata(noise),
    )


def _counts(snapshot: Snapshot) -> dict[str, Any]:
    """What there was to learn from."""
    s = snapshot
    return {
        "n_gold": int(np.count_nonzero(s.gold >= 0)),
        "n_silver": int(np.count_nonzero((s.silver >= 0) & (s.silver < s.n_classes) & (s.gold < 0))),
        "n_failures": int(np.count_nonzero(s.silver == s.n_classes)),
        "n_reference": int(np.count_nonzero(s.has_reference_gold)),
        "classes_without_gold": np.setdiff1d(np.arange(s.n_classes), s.gold).tolist(),
    }


def _reference_metrics(logits: Array, labels: Ints, temperature: float) -> dict[str, Any]:
    """What the reference sample says of the fold models: to choose between versions, never to report."""
    before, after = softmax(logits), apply_temperature(logits, temperature)
    values = {
        "reference_log_loss_raw": log_loss(before, labels),
        "reference_log_loss": log_loss(after, labels),
        "reference_accuracy": accuracy(after, labels),
        "reference_ece": ece(after, labels),
    }
    return {name: float_to_json(value) for name, value in values.items()}
