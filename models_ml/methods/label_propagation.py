"""Label propagation: labels spread to the items nearby, and a linear classifier learns what arrived."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models_ml.arrays import Matrix
from models_ml.label_spreading import neighbour_graph, spread
from models_ml.methods.contract import GOLD_ALONE, Need, TrainingData, parameter
from models_ml.training.soft_labels import SoftFullBatch, SoftLabels


@dataclass(frozen=True, kw_only=True)
class LabelPropagation(SoftFullBatch):
    """Σ_items CE(F_i/ΣF_i, f), where F = (1 - α)·(I - α·S)⁻¹·Y spreads gold (λ) and silver (1) over nearest neighbours.

    The spread labels belong to the items that were there; a linear classifier learns them, so that new items have an
    answer whose state does not grow with the data. Gold keeps its own label and its weight λ. Finding neighbours takes
    time that grows with the square of the number of items: half a second for 5,000.
    """

    name: ClassVar[str] = "label_propagation"
    title: ClassVar[str] = "Label propagation"
    sentence: ClassVar[str] = (
        "Lets gold labels, and more weakly machine labels, spread to similar items, and learns what arrives."
    )
    source: ClassVar[str] = "Zhou et al. 2004, Learning with Local and Global Consistency"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GOLD})

    neighbours: int = parameter(10, "To how many of the nearest items a label spreads in a step.", low=1, high=1000)
    # On made-up round classes with silver half wrong .5 and .6 were best (.72; .9: .64); on groups with little gold and
    # few machine labels it hardly mattered (.5: .90; .9: .91).
    alpha: float = parameter(
        0.6,
        "How far labels spread: near 0 to the nearest items only, near 1 to all that are joined.",
        low=0.01,
        high=0.99,
    )

    @property
    def penalty(self) -> float:
        """l2 of the summed loss: all items train, also where gold alone spreads."""
        return self.l2

    def soft_labels(self, data: TrainingData, rng: np.random.Generator) -> SoftLabels:
        arrived = spread(neighbour_graph(data.inputs, self.neighbours), self._seeds(data), self.alpha)
        is_gold = data.gold >= 0
        arrived[is_gold] = np.eye(data.n_classes)[data.gold[is_gold]]
        rows = np.flatnonzero(arrived.sum(axis=1) > 0)
        labels = arrived[rows] / arrived[rows].sum(axis=1, keepdims=True)
        of_gold = self.gold_weight if math.isfinite(self.gold_weight) else GOLD_ALONE
        weight = np.where(is_gold[rows], of_gold, 1.0).astype(np.float32)
        return SoftLabels(rows, labels.astype(np.float32), weight)

    def _seeds(self, data: TrainingData) -> Matrix:
        """Y float64[n, K]: what spreads from each item."""
        targets = self.targets(data)
        seeds = np.zeros((len(data.gold), data.n_classes))
        seeds[targets.rows] = targets.weight[:, None] * targets.likelihood
        return seeds
