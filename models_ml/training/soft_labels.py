"""Fits a linear classifier to soft labels, a distribution over the classes per item, by full-batch L-BFGS."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from models_ml.arrays import Array, Positions
from models_ml.losses import Objective
from models_ml.methods.contract import Method, TrainingData
from models_ml.networks.linear import LinearClassifier
from models_ml.networks.network import Classifier
from models_ml.training.full_batch import ROUGH, SOLVER, SolverConfig, fit_linear


@dataclass(frozen=True)
class SoftLabels:
    """What n items are believed to be; `rows` says which of the given items they are.

    rows int64[n]; labels float32[n, K], rows sum to one; weight float32[n]. ValueError where labels are no
    distributions.
    """

    rows: Positions
    labels: Array
    weight: Array

    def __post_init__(self) -> None:
        if not (self.labels >= 0).all() or not np.allclose(self.labels.sum(axis=1), 1, atol=1e-4):
            raise ValueError("soft labels must be distributions: rows of numbers from 0 to 1 that sum to 1")


class SoftFullBatch(Method):
    """A method that turns what it may see into soft labels and learns them: the same data and seed, the same bits."""

    reproduces: ClassVar[Literal["bits", "seed"]] = "bits"

    @abstractmethod
    def soft_labels(self, data: TrainingData, rng: np.random.Generator) -> SoftLabels:
        """What the classifier learns, of which items."""

    def fit(self, data: TrainingData, rng: np.random.Generator) -> LinearClassifier:
        """Fitted from zero to the end."""
        return self._fit(data, rng, SOLVER, None)

    def fit_roughly(self, data: TrainingData, rng: np.random.Generator, start: Classifier | None) -> LinearClassifier:
        """Started from the setting before, and stopped sooner."""
        return self._fit(data, rng, ROUGH, start if isinstance(start, LinearClassifier) else None)

    def _fit(
        self, data: TrainingData, rng: np.random.Generator, solver: SolverConfig, start: LinearClassifier | None
    ) -> LinearClassifier:
        soft = self.soft_labels(data, rng)
        objective = soft_cross_entropy(soft.labels, soft.weight)
        return fit_linear(data.inputs[soft.rows], objective, data.n_classes, self.penalty, start, solver)


def soft_cross_entropy(labels: Array, weight: Array) -> Objective:
    """Objective Σ w · -Σ_k y_k log softmax(z)_k for labels y float32[n, K], rows sum to one; its gradient w·(p - y)."""

    def objective(logits: Array) -> tuple[float, Array]:
        z = logits - logits.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        losses = np.log(total[:, 0]) - (labels * z).sum(axis=1)
        return float((weight * losses).sum(dtype=np.float64)), (e / total - labels) * weight[:, None]

    return objective
