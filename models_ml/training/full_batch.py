"""Fits a linear classifier by full-batch L-BFGS: no step size, no seed, the same bits each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from models_ml.arrays import Array, Matrix
from models_ml.losses import Objective, Targets, marginal_likelihood
from models_ml.methods.contract import Diverged, Method, TrainingData
from models_ml.networks.linear import LinearClassifier, zero_classifier
from models_ml.networks.network import Classifier


@dataclass(frozen=True)
class SolverConfig:
    """When L-BFGS stops."""

    max_iterations: int = 200  # plain cross entropy on unit vectors takes 20-60; a cap for the non-convex ones
    tolerance: float = 1e-6  # relative decrease; float32 sums carry no more than about 1e-7
    memory: int = 10  # scipy's default; 5 and 20 were no faster


SOLVER = SolverConfig()
# For comparing settings: moves log-losses by less than .01 where settings differ by .03, in half the time.
ROUGH = SolverConfig(tolerance=1e-4)


class FullBatch(Method):
    """A method that minimises an objective of its targets (losses.py) on frozen vectors: the marginal likelihood."""

    reproduces: ClassVar[Literal["bits", "seed"]] = "bits"

    def fit(self, data: TrainingData, rng: np.random.Generator) -> LinearClassifier:
        """Fitted from zero to the end; nothing here is random."""
        return self._fit(data, SOLVER, None)

    def fit_roughly(self, data: TrainingData, rng: np.random.Generator, start: Classifier | None) -> LinearClassifier:
        """Started from the setting before, and stopped sooner."""
        return self._fit(data, ROUGH, start if isinstance(start, LinearClassifier) else None)

    def _fit(self, data: TrainingData, solver: SolverConfig, start: LinearClassifier | None) -> LinearClassifier:
        targets = self.targets(data)
        objective = self.objective(targets)
        return fit_linear(data.inputs[targets.rows], objective, data.n_classes, self.penalty, start, solver)

    def objective(self, targets: Targets) -> Objective:
        """What is minimised."""
        return marginal_likelihood(targets)


def fit_linear(
    x: Array,
    objective: Objective,
    n_classes: int,
    l2: float,
    start: LinearClassifier | None = None,
    solver: SolverConfig = SOLVER,
) -> LinearClassifier:
    """Minimise objective(logits) + l2/2·(‖weight‖² + ‖bias‖²/100) from `start` (default: zeros).

    x float32[n, d]; the objective is a sum over the n rows, so l2 = 1/C in scikit-learn's terms. The bias
    is held a hundred times more loosely: enough to keep it finite for a class that never occurs. Raises Diverged.
    """
    from scipy.optimize import minimize  # here: a web page or a command that fits nothing starts sooner

    if len(x) == 0:
        return zero_classifier(x.shape[1], n_classes)
    first = start or zero_classifier(x.shape[1], n_classes)
    shape, penalty = (n_classes, x.shape[1] + 1), np.full(x.shape[1] + 1, l2)
    penalty[-1] = l2 / 100

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        w = flat.reshape(shape)
        now = w.astype(np.float32)
        value, d = objective(x @ now[:, :-1].T + now[:, -1])
        gradient = penalty * w
        value += 0.5 * float((gradient * w).sum())
        gradient[:, :-1] += d.T @ x
        gradient[:, -1] += d.sum(axis=0, dtype=np.float64)
        return value, gradient.ravel()

    begin = np.hstack([first.weight, first.bias[:, None]]).astype(np.float64).ravel()
    options = {
        "maxiter": solver.max_iterations,
        "maxcor": solver.memory,
        "ftol": solver.tolerance,
        "gtol": 1e-4,
    }
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options)
    if not (np.isfinite(found.fun) and np.isfinite(found.jac).all()):
        raise Diverged  # L-BFGS gives back what it began with
    optimum = found.x.reshape(shape)
    return LinearClassifier(optimum[:, :-1].astype(np.float32), optimum[:, -1].astype(np.float32))
