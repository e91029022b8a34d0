"""Chooses λ and L2 by out-of-fold log-loss on the reference sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models_ml.arrays import Matrix
from models_ml.calibration import apply_temperature, fit_temperature
from models_ml.classifiers.softmax import ROUGH, softmax
from models_ml.metrics import log_loss
from models_ml.training.folds import Setting, fit_path, oof_logits
from models_ml.training.snapshot import Snapshot, TrainingConfig, float_to_json

# Called with (heads fitted, heads to fit at most).
Progress = Callable[[int, int], None]


class Search:
    """Coordinate search over l2 and λ: one path of warm starts per fold, scored on the reference sample.

    Warm starts never cross folds, so the search cannot carry a label into its own fold either.
    """

    def __init__(self, snapshot: Snapshot, config: TrainingConfig, progress: Progress | None) -> None:
        self.snapshot, self.config, self.progress = snapshot, config, progress
        self.done = 0
        self.table: list[dict[str, Any]] = []
        self._scored: set[Setting] = set()
        self.chosen_by = "defaults"
        self._transitions: Matrix = np.empty(0)

    def run(self, transitions: Matrix) -> Setting:
        """The chosen (λ, l2), given Ĉ of every fold float64[F, K, K+1].

        l2 at the default λ, then λ, then a step of l2 to either side: on 16 snapshots of four sets within .1 points
        of the whole grid, for half the fits. The log-loss that counts is the one left after calibration.
        """
        self._transitions = transitions
        weights, falling = self._gold_weights(), sorted(self.config.l2, reverse=True)
        default = self.config.default_gold_weight
        first = default if default in weights else weights[0]
        if np.count_nonzero(self.snapshot.judged) < self.config.min_reference:
            return first, min(falling, key=lambda l2: abs(np.log(l2 / self.config.default_l2)))
        self.chosen_by = "reference"
        self._score([(first, l2) for l2 in falling])
        best = self._best()[1]
        self._score([(w, best) for w in weights if w != first and np.isfinite(w)])
        if np.isinf(weights[-1]) and np.isfinite(first):
            self._score([(weights[-1], l2) for l2 in falling])
        gold_weight, l2 = self._best()
        at = falling.index(l2)
        beside = [(gold_weight, near) for near in falling[max(0, at - 1) : at + 2]]
        self._score([s for s in beside if s not in self._scored])
        return self._best()

    def step(self, n: int) -> None:
        """Report n more fitted heads."""
        self.done += n
        if self.progress:
            self.progress(self.done, max(self.done, self._total()))

    def finish(self) -> None:
        """Report the last head, and with it that all is done: the search may have needed fewer than it could."""
        total = self._total()
        self.step(total - self.done)

    def _gold_weights(self) -> list[float]:
        """The weights that differ here: without gold or without silver there is nothing to weigh."""
        s = self.snapshot
        if self.config.method == "gold_only" or not ((s.silver >= 0) & (s.gold < 0)).any():
            return [np.inf]
        if not (s.gold >= 0).any():
            return [1.0]
        return sorted(self.config.gold_weights)

    def _score(self, settings: list[Setting]) -> None:
        """Fit every setting in every fold and add a row for each to the table."""
        if not settings:
            return
        s = self.snapshot
        heads = []
        for f in range(self.config.n_folds):
            heads.append(fit_path(s, s.fold != f, self.config.method, settings, self._transitions[f], ROUGH))
            self.step(len(settings))
        self._scored.update(settings)
        labels = s.gold[s.judged]
        for (gold_weight, l2), of_folds in zip(settings, zip(*heads, strict=True), strict=True):
            logits = oof_logits(of_folds, s.x, s.fold, s.judged)
            temperature = fit_temperature(logits, labels)
            self.table.append(
                {
                    "gold_weight": float_to_json(gold_weight),
                    "l2": l2,
                    "log_loss": log_loss(softmax(logits), labels),
                    "calibrated_log_loss": log_loss(apply_temperature(logits, temperature), labels),
                }
            )

    def _best(self) -> Setting:
        row = min(self.table, key=lambda r: float(r["calibrated_log_loss"]))
        return float(row["gold_weight"]), float(row["l2"])

    def _total(self) -> int:
        """How many heads are fitted at most: those of GLC's Ĉ, of the search, and the final ones."""
        c, weights = self.config, self._gold_weights()
        settings = 1 + (c.transition != "direct" and c.method == "corrected")
        if np.count_nonzero(self.snapshot.judged) >= c.min_reference:
            settings += len(c.l2) * (1 + (len(weights) > 1 and np.isinf(weights[-1])))
            settings += int(np.count_nonzero(np.isfinite(weights)) - np.isfinite(weights[0]))
            settings += min(2, len(c.l2) - 1) * (len(weights) > 1)
        return int(settings * c.n_folds + 1)
