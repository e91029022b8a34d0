"""A trained version: one classifier per fold, so that every item can be predicted by a model that never saw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_ml.arrays import AnyArray, Array, Ints, Matrix
from models_ml.methods.contract import Method
from models_ml.networks.linear import softmax
from models_ml.networks.network import Classifier
from models_ml.training.config import TrainingConfig, float_to_json
from models_ml.training.folds import oof_logits
from models_ml.training.transitions import FitNoise

# Names in the file of an array of a classifier's state: those of all folds stacked, and that of the whole classifier.
# Linear classifiers keep the names that they had before there were others.
_FILED_AS = {"weight": ("weights", "new_weight"), "bias": ("biases", "new_bias")}
_FOLDS, _WHOLE = "folds.", "whole."


@dataclass(frozen=True)
class TrainedVersion:
    """of_folds: the classifier of each fold; whole: the one for items outside the pool, which saw every fold.

    method: with the parameters that were chosen. transition float64[K, K+1]: Ĉ from the whole reference sample, of the
    kind that trained ("direct", "glc", …); fold_transitions float64[F, K, K+1]: those that trained; counts
    int64[K, K+1]: truth by silver in the reference sample. metrics is JSON-able.
    strata: the name of the observed strata by which each fold's classifier, and last the whole one, reads silver, None:
    one Ĉ for all; empty where none does. strata_transitions float64[F+1, G, K, K+1]: the matrices of these.
    """

    of_folds: tuple[Classifier, ...]
    whole: Classifier
    method: Method
    temperature: float
    transition_kind: str
    transition: Matrix
    fold_transitions: Matrix
    counts: Ints
    config: TrainingConfig
    metrics: dict[str, Any]
    strata: tuple[str | None, ...] = ()
    strata_transitions: Matrix | None = None

    def noise_of(self, fold: int) -> FitNoise:
        """Ĉ by which the classifier of this fold read silver."""
        name = self.strata[fold] if self.strata else None
        if name is None or self.strata_transitions is None:
            return FitNoise(self.fold_transitions[fold])
        return FitNoise(self.strata_transitions[fold], name)

    @property
    def gold_weight(self) -> float:
        """λ that trained."""
        return self.method.gold_weight

    def predict_out_of_fold(self, x: Array, fold: AnyArray) -> Array:
        """Calibrated probabilities float32[n, K] for x float32[n, d], row i by the model without fold[i]."""
        logits = oof_logits(self.of_folds, x, fold, np.ones(len(x), np.bool_), len(self.transition))
        return np.asarray(softmax(logits / np.float32(self.temperature)), np.float32)

    def predict_new(self, x: Array) -> Array:
        """Calibrated probabilities float32[n, K] for texts outside the pool.

        By one head fitted on all folds: on four sets as good as the fold heads' mean or better (83.4 against 83.1 %
        on average, 92.2 against 89.5 where gold was scarcest). The temperature is that of the fold heads.
        """
        return np.asarray(softmax(self.whole.logits(x) / np.float32(self.temperature)), np.float32)

    def to_arrays(self) -> tuple[dict[str, AnyArray], dict[str, Any]]:
        """Arrays and JSON-able settings, as checkpoints.to_bytes takes them."""
        arrays: dict[str, AnyArray] = {
            "transition": self.transition,
            "fold_transitions": self.fold_transitions,
            "counts": self.counts,
        }
        if self.strata_transitions is not None:
            arrays["strata_transitions"] = self.strata_transitions
        states = [classifier.state() for classifier in self.of_folds]
        for name, array in self.whole.state().items():
            of_folds, whole = _FILED_AS.get(name, (_FOLDS + name, _WHOLE + name))
            arrays[of_folds], arrays[whole] = np.stack([state[name] for state in states]), array
        settings: dict[str, Any] = {
            "temperature": self.temperature,
            "gold_weight": float_to_json(self.gold_weight),
            "l2": self.method.l2,
            "transition_kind": self.transition_kind,
            "config": self.config.to_dict(),
            "metrics": self.metrics,
        }
        if self.config.grid:
            settings["chosen"] = {name: float_to_json(getattr(self.method, name)) for name in self.config.grid}
        if self.strata:
            settings["strata"] = list(self.strata)
        return arrays, settings

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray], settings: Mapping[str, Any]) -> TrainedVersion:
        """Undo to_arrays."""
        config = TrainingConfig.from_dict(settings["config"])
        chosen = {name: float(value) for name, value in settings.get("chosen", {}).items()}
        method = config.build(gold_weight=float(settings["gold_weight"]), l2=settings["l2"], **chosen)
        of_folds, whole = _states(arrays)
        return cls(
            of_folds=tuple(
                method.load({name: stack[f] for name, stack in of_folds.items()}) for f in range(config.n_folds)
            ),
            whole=method.load(whole),
            method=method,
            temperature=settings["temperature"],
            transition_kind=settings["transition_kind"],
            **{name: arrays[name] for name in ("transition", "fold_transitions", "counts")},
            config=config,
            metrics=settings["metrics"],
            strata=tuple(settings.get("strata", ())),
            strata_transitions=arrays.get("strata_transitions"),
        )


def _states(arrays: Mapping[str, AnyArray]) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    """The stacked arrays of the folds' classifiers and the arrays of the whole one, by the names of their states."""
    names = {filed: name for name, both in _FILED_AS.items() for filed in both}
    of_folds, whole = {}, {}
    for filed, array in arrays.items():
        if filed.startswith(_FOLDS) or filed in ("weights", "biases"):
            of_folds[names.get(filed, filed.removeprefix(_FOLDS))] = array
        elif filed.startswith(_WHOLE) or filed in names:
            whole[names.get(filed, filed.removeprefix(_WHOLE))] = array
    return of_folds, whole
