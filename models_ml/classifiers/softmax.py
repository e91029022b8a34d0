"""A linear softmax head on frozen embeddings, fitted by full-batch L-BFGS: no step size, no seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models_ml.arrays import AnyArray, Array, Matrix
from models_ml.noise.objectives import Objective


@dataclass(frozen=True)
class SolverConfig:
    """When L-BFGS stops."""

    max_iterations: int = 200  # plain cross entropy on unit vectors takes 20-60; a cap for the non-convex ones
    tolerance: float = 1e-6  # relative decrease; float32 sums carry no more than about 1e-7
    memory: int = 10  # scipy's default; 5 and 20 were no faster


SOLVER = SolverConfig()
# For comparing settings: moves log-losses by less than .01 where settings differ by .03, in half the time.
ROUGH = SolverConfig(tolerance=1e-4)


@dataclass(frozen=True)
class SoftmaxHead:
    """Logits x·weightᵀ + bias; weight float32[K, d], bias float32[K]."""

    weight: Array
    bias: Array

    def logits(self, x: Array) -> Array:
        """x float32[n, d] -> float32[n, K]."""
        return x @ self.weight.T + self.bias

    def predict_proba(self, x: Array) -> Array:
        """x float32[n, d] -> float32[n, K], rows sum to 1."""
        return softmax(self.logits(x))


def softmax(logits: AnyArray) -> AnyArray:
    """Rows of exp(z)/Σ exp(z); float[n, K] in, the same dtype out."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def zero_head(n_features: int, n_classes: int) -> SoftmaxHead:
    """The head that knows nothing: uniform for every input."""
    return SoftmaxHead(np.zeros((n_classes, n_features), np.float32), np.zeros(n_classes, np.float32))


def fit_softmax(
    x: Array,
    objective: Objective,
    n_classes: int,
    l2: float,
    start: SoftmaxHead | None = None,
    solver: SolverConfig = SOLVER,
) -> SoftmaxHead:
    """Minimise objective(logits) + l2/2·(‖weight‖² + ‖bias‖²/100) from `start` (default: zeros).

    x float32[n, d]; the objective is a sum over the n rows, so l2 = 1/C in scikit-learn's terms. The bias
    is held a hundred times more loosely: enough to keep it finite for a class that never occurs.
    """
    from scipy.optimize import minimize  # here: a web page or a command that fits nothing starts sooner

    if len(x) == 0:
        return zero_head(x.shape[1], n_classes)
    head = start or zero_head(x.shape[1], n_classes)
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

    begin = np.hstack([head.weight, head.bias[:, None]]).astype(np.float64).ravel()
    options = {
        "maxiter": solver.max_iterations,
        "maxcor": solver.memory,
        "ftol": solver.tolerance,
        "gtol": 1e-4,
    }
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options).x.reshape(shape)
    return SoftmaxHead(found[:, :-1].astype(np.float32), found[:, -1].astype(np.float32))
