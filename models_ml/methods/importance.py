"""Importance reweighting: a machine label weighs as much as the truth would say it more often than the machine does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models_ml.arrays import Floats, Ints, Matrix
from models_ml.losses import Targets, make_targets, marginal_likelihood
from models_ml.methods.contract import TrainingData, parameter
from models_ml.methods.corrected import Corrected
from models_ml.networks.linear import LinearClassifier, zero_classifier
from models_ml.training.full_batch import ROUGH, SolverConfig, fit_linear

# Of the model of machine labels: a middle value, as of the one that Gold Loss Correction averages.
SILVER_L2 = 1.0
# What the machine tells apart less than this, as a share of what it tells apart best, is not inverted: it would turn
# the error of a few dozen gold items into weights of any size.
LEAST_TOLD_APART = 0.01
# A weight is at most 1 / Ĉ[ỹ, ỹ]; more than this comes of a class that the machine nearly never names.
LARGEST = 10.0


@dataclass(frozen=True, kw_only=True)
class Importance(Corrected):
    """λ·Σ_gold CE + Σ_silver β·CE with β = P(y = ỹ | x) / P(ỹ | x), a constant while the classifier is fitted.

    P(ỹ | x) is a linear model of the machine labels, failures included as one more answer; P(y | x) is what then
    follows from P(ỹ | x) = Σ_k P(y = k | x) Ĉ[k, ỹ], and in later rounds the classifier that came of it. No gradient
    flows through β. The paper finds the noise rates without gold, as the least P(-ỹ | x); here they are those of Ĉ.
    """

    name: ClassVar[str] = "importance"
    title: ClassVar[str] = "Importance reweighting"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels that each weigh as much as they are likely to be right."
    )
    source: ClassVar[str] = "Liu & Tao 2016, arXiv:1411.7718"

    # On eight made-up sets (2-4 classes, 300-900 items, 60 gold) 3 rounds were .2 to 5 points better than none, never
    # worse; ten added 2 points on two of them.
    rounds: int = parameter(
        3,
        "How often the weights are computed again from the classifier that they gave; 0: as published.",
        low=0,
        high=100,
    )

    def targets(self, data: TrainingData) -> Targets:
        """Silver at its word, failures left out."""
        return make_targets(data.gold, data.silver, data.n_classes, self.gold_weight)

    def _fit(self, data: TrainingData, solver: SolverConfig, start: LinearClassifier | None) -> LinearClassifier:
        targets = self.targets(data)
        is_silver = data.gold[targets.rows] < 0
        if not is_silver.any():
            return super()._fit(data, solver, start)
        x, weight, rows = data.inputs[targets.rows], targets.weight.copy(), targets.rows[is_silver]
        columns, fitted = _columns(data, rows), start or zero_classifier(x.shape[1], data.n_classes)
        clean: Floats = _clean(data, rows)
        for _ in range(1 + self.rounds):
            beta = importance_weights(clean, data.silver[rows], columns)
            weight[is_silver] = targets.weight[is_silver] * beta
            objective = marginal_likelihood(dataclasses.replace(targets, weight=weight))
            fitted = fit_linear(x, objective, data.n_classes, self.penalty, fitted, solver)
            clean = fitted.predict_proba(x[is_silver])
        return fitted


def importance_weights(clean: Floats, silver: Ints, columns: Floats) -> Matrix:
    """β = p_ỹ / (p Ĉ)_ỹ float64[n]; clean float[n, K] is p = P(y | x), columns float[n, K] is Ĉ[:, ỹ] of each item.

    silver int[n] in 0..K-1. What scales p changes nothing.
    """
    n, k = clean.shape
    if n and not (silver.min() >= 0 and silver.max() < k):
        raise ValueError(f"A machine label to be weighed must lie in 0..{k - 1}.")
    said = (clean * columns).sum(axis=1, dtype=np.float64)
    return np.minimum(clean[np.arange(n), silver] / np.maximum(said, 1e-12), LARGEST)


def clean_posterior(observed: Floats, transition: Floats) -> Matrix:
    """p float64[n, K] with p Ĉ = P(ỹ | x), and 0 where that asks for less.

    observed float[n, K+1]: P(ỹ | x), the last column no valid answer; transition float[K, K+1]: Ĉ. With two classes and
    flip rates ρ it is [P(ỹ | x) - ρ_{-ỹ}] / (1 - ρ_{+1} - ρ_{-1}) for ỹ (Liu & Tao 2016).
    """
    for name, rows in (("probabilities of machine labels", observed), ("noise matrix", transition)):
        if not (np.isfinite(rows).all() and np.allclose(rows.sum(axis=1), 1.0, atol=1e-4) and (rows >= 0).all()):
            raise ValueError(f"The rows of the {name} must be finite, not negative, and sum to 1.")
    inverse = np.linalg.pinv(np.asarray(transition, np.float64), rcond=LEAST_TOLD_APART)
    return np.maximum(np.asarray(observed, np.float64) @ inverse, 0.0)


def _columns(data: TrainingData, rows: Ints) -> Matrix:
    """Ĉ[:, ỹ] of the items at `rows`, each by the Ĉ of its stratum, float64[n, K]."""
    return data.transitions[_strata(data, rows), :, data.silver[rows]]


def _clean(data: TrainingData, rows: Ints) -> Matrix:
    """P(y | x) of the items at `rows` as a model of all silver and Ĉ say it, float64[n, K]."""
    asked = np.flatnonzero((data.silver >= 0) & (data.gold < 0))
    targets = make_targets(np.full(len(asked), -1), data.silver[asked], data.n_classes + 1, 1.0)
    objective = marginal_likelihood(targets)
    model = fit_linear(data.inputs[asked], objective, data.n_classes + 1, SILVER_L2, solver=ROUGH)
    observed, strata = model.predict_proba(data.inputs[rows]), _strata(data, rows)
    clean = np.empty((len(rows), data.n_classes))
    for g in np.unique(strata):
        clean[strata == g] = clean_posterior(observed[strata == g], data.transitions[g])
    return clean


def _strata(data: TrainingData, rows: Ints) -> Ints:
    return np.zeros(len(rows), np.int64) if data.strata is None else data.strata[rows]
