"""Turns scores into probabilities that mean what they say; with few labels, so every fit is shrunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from models_ml.arrays import Floats, Ints, Matrix


@dataclass(frozen=True)
class CalibrationConfig:
    """How strongly fits on a few dozen reference items are held back."""

    # Prior sd of log T: T within a factor 2.7 (two sds) costs little, 80 items outweigh it.
    temperature_sd: float = 0.5
    # Smallest probability: a distribution cut to its top few answers says 0 about the rest, and does not
    # mean it.
    floor: float = 1e-6
    # Ridges in nats, a and b about one half, biases about 0. Of {1, 10, 100} x {1, 3, 10, 30, 100, none} these
    # had the best mean log-loss on the rest of the pool over 26 cases (4 sets, 80 and 120 items, 2 annotators,
    # confidence known or not); all within 10x of them lay within .008 nats.
    weight_ridge: float = 10.0
    bias_ridge: float = 3.0


CALIBRATION = CalibrationConfig()


@dataclass(frozen=True)
class Combiner:
    """softmax(a·log p_llm + b·log p_model + c); c float64[K]."""

    a: float
    b: float
    c: Matrix

    def __call__(self, log_llm: Matrix, log_model: Matrix) -> Matrix:
        """Two float64[n, K] of log-probabilities -> probabilities float64[n, K]."""
        return np.asarray(softmax(self.a * log_llm + self.b * log_model + self.c, axis=1), np.float64)


def safe_log(probabilities: Floats, floor: float = CALIBRATION.floor) -> Matrix:
    """log of probabilities, float[n, K] -> float64[n, K]; nothing below log(floor), rows normalised."""
    p = np.maximum(probabilities.astype(np.float64), floor)
    return np.asarray(np.log(p / p.sum(axis=1, keepdims=True)), np.float64)


def fit_temperature(log_probabilities: Floats, labels: Ints, sd: float = CALIBRATION.temperature_sd) -> float:
    """T minimising the log-loss of softmax(z / T) plus (log T)²/2sd²; z float[n, K] log-probabilities.

    Temperature scaling (Guo et al. 2017, arXiv:1706.04599), shrunk to 1 because a reference sample is
    small; 1 for no items. Between 1/20 and 20.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) == 0:
        return 1.0
    z = log_probabilities.astype(np.float64)
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        nll = -log_softmax(z * np.exp(-log_t), axis=1)[rows, labels].sum()
        return float(nll + 0.5 * (log_t / sd) ** 2)

    optimum = minimize_scalar(loss, bounds=(-np.log(20.0), np.log(20.0)), method="bounded")
    return float(np.exp(optimum.x))


def apply_temperature(log_probabilities: Floats, temperature: float) -> Matrix:
    """softmax(z / T), float[n, K] -> float64[n, K]."""
    return np.asarray(softmax(log_probabilities.astype(np.float64) / temperature, axis=1), np.float64)


def uniform_noise(silver: Ints, error: float, marginal: Floats) -> Matrix:
    """A distribution for labels of unknown confidence: 1 - e at the label, e spread by the silver marginal.

    silver int[n] in 0..K-1; error in 0..1; marginal float[K], positive. Returns float64[n, K].
    """
    k, rows = len(marginal), np.arange(len(silver))
    spread = np.tile(np.asarray(marginal, np.float64), (len(silver), 1))
    spread[rows, silver] = 0.0
    spread *= error / np.maximum(spread.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    spread[rows, silver] = 1.0 - error if k > 1 else 1.0
    return spread


def fit_combiner(log_llm: Matrix, log_model: Matrix, labels: Ints, config: CalibrationConfig = CALIBRATION) -> Combiner:
    """Fit a, b and K biases by log-loss + ridge/2 to (1/2, 1/2, 0): convex, so one answer whatever the start.

    log_llm, log_model float64[n, K] log-probabilities; labels int[n]. No items: the default itself.
    """
    from scipy.optimize import minimize

    n, k = log_llm.shape
    default = np.concatenate([[0.5, 0.5], np.zeros(k)])
    if n == 0:
        return Combiner(0.5, 0.5, default[2:])
    ridge = np.concatenate([[config.weight_ridge] * 2, [config.bias_ridge] * k])
    target = np.eye(k)[labels]

    def loss(theta: Matrix) -> tuple[float, Matrix]:
        log_p = log_softmax(theta[0] * log_llm + theta[1] * log_model + theta[2:], axis=1)
        d = np.exp(log_p) - target
        away = theta - default
        gradient = np.concatenate([[(d * log_llm).sum(), (d * log_model).sum()], d.sum(axis=0)])
        return float(-(target * log_p).sum() + 0.5 * (ridge * away**2).sum()), gradient + ridge * away

    options = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500}
    theta = minimize(loss, default, jac=True, method="L-BFGS-B", options=options).x
    return Combiner(float(theta[0]), float(theta[1]), np.asarray(theta[2:], np.float64))
