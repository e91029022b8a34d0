"""Chooses a method's parameters by out-of-fold log-loss on the reference sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models_ml.calibration import apply_temperature, fit_temperature
from models_ml.methods.contract import Method
from models_ml.metrics import log_loss
from models_ml.networks.linear import softmax
from models_ml.training.config import TrainingConfig, float_to_json
from models_ml.training.folds import Setting, fit_settings, oof_logits
from models_ml.training.snapshot import Snapshot
from models_ml.training.transitions import FitNoise, fits_silver_model

# Called with (classifiers fitted, classifiers to fit at most).
TrainingProgress = Callable[[int, int], None]


class Search:
    """Coordinate search over l2, λ and whatever else a method's grid varies, scored on the reference sample."""

    def __init__(
        self, snapshot: Snapshot, config: TrainingConfig, method: Method, progress: TrainingProgress | None
    ) -> None:
        self.snapshot, self.config, self.method, self.progress = snapshot, config, method, progress
        self.done = 0
        self.table: list[dict[str, Any]] = []
        self._scored: list[Setting] = []
        self.chosen_by = "defaults"
        self._noise: Sequence[FitNoise] = ()

    def run(self, noise: Sequence[FitNoise]) -> Setting:
        """The chosen parameters, given Ĉ of every fold.

        l2 at the default λ, then λ, then a step of l2 to either side: on 16 snapshots of four sets within .1 points
        of the whole grid, for half the fits. What else is varied comes last, one parameter after the other. The
        log-loss that counts is the one left after calibration.
        """
        self._noise = noise
        weights, falling = self._gold_weights(), sorted(self.config.l2, reverse=True)
        default = self.config.default_gold_weight
        first = default if default in weights else weights[0]
        if not self._can_choose():
            return self._at(first, min(falling, key=lambda l2: abs(np.log(l2 / self.config.default_l2))))
        self.chosen_by = "reference"
        self._score([self._at(first, l2) for l2 in falling])
        best = self._best()["l2"]
        self._score([self._at(w, best) for w in weights if w != first and np.isfinite(w)])
        if np.isinf(weights[-1]) and np.isfinite(first):
            self._score([self._at(weights[-1], l2) for l2 in falling])
        chosen = self._best()
        at = falling.index(chosen["l2"])
        self._score([{**chosen, "l2": near} for near in falling[max(0, at - 1) : at + 2]])
        for name, values in self.config.grid.items():
            self._score([{**self._best(), name: value} for value in values])
        return self._best()

    def step(self, n: int) -> None:
        """Report n more fitted classifiers."""
        self.done += n
        if self.progress:
            self.progress(self.done, max(self.done, self._total()))

    def finish(self) -> None:
        """Report the last one, and with it that all is done: the search may have needed fewer than it could."""
        total = self._total()
        self.step(total - self.done)

    def _can_choose(self) -> bool:
        return bool(np.count_nonzero(self.snapshot.has_reference_gold) >= self.config.min_reference)

    def _at(self, gold_weight: float, l2: float) -> Setting:
        """This λ and l2, and all else as the method has it."""
        others = {name: getattr(self.method, name) for name in self.config.grid}
        return {"gold_weight": gold_weight, "l2": l2, **others}

    def _gold_weights(self) -> list[float]:
        """The weights that differ here: without gold or without silver there is nothing to weigh."""
        s = self.snapshot
        if "gold_weight" not in self.method.grid:
            return [self.method.gold_weight]
        if not ((s.silver >= 0) & (s.gold < 0)).any():
            return [np.inf]
        if not (s.gold >= 0).any():
            return [1.0]
        return sorted(self.config.gold_weights)

    def _score(self, settings: list[Setting]) -> None:
        """Fit every setting that is new in every fold, and add a row for each to the table."""
        settings = [setting for setting in settings if setting not in self._scored]
        if not settings:
            return
        s, seed = self.snapshot, self.config.seed
        of_folds = []
        for f in range(self.config.n_folds):
            data = s.training_data(s.fold != f, *self._noise[f])
            of_folds.append(fit_settings(self.method, data, settings, seed, f))
            self.step(len(settings))
        self._scored += settings
        self.table += [
            self._row(setting, oof_logits(fitted, s.x, s.fold, s.has_reference_gold, s.n_classes))
            for setting, fitted in zip(settings, zip(*of_folds, strict=True), strict=True)
        ]

    def _row(self, setting: Setting, logits: Any) -> dict[str, Any]:
        labels = self.snapshot.gold[self.snapshot.has_reference_gold]
        temperature = fit_temperature(logits, labels)
        return {
            **{name: float_to_json(value) for name, value in setting.items()},
            "log_loss": log_loss(softmax(logits), labels),
            "calibrated_log_loss": log_loss(apply_temperature(logits, temperature), labels),
        }

    def _best(self) -> Setting:
        """The first of the settings with the lowest loss; one that diverged (NaN) only where all did."""
        losses = [row["calibrated_log_loss"] for row in self.table]
        return self._scored[min(range(len(losses)), key=lambda at: (np.isnan(losses[at]), losses[at]))]

    def _total(self) -> int:
        """How many classifiers are fitted at most: those of silver for Ĉ, of the search, and the final ones."""
        c, weights = self.config, self._gold_weights()
        settings = 1 + fits_silver_model(c, self.method)
        if self._can_choose():
            settings += len(c.l2) * (1 + (len(weights) > 1 and np.isinf(weights[-1])))
            settings += int(np.count_nonzero(np.isfinite(weights)) - np.isfinite(weights[0]))
            settings += min(2, len(c.l2) - 1) * (len(weights) > 1)
            settings += sum(len(values) for values in c.grid.values())
        return int(settings * c.n_folds + 1)
