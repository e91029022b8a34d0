"""Distillation: machine labels mixed with what a classifier of gold alone says, by the risk of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models_ml.arrays import AnyArray, Array, Bools, Ints, Positions
from models_ml.losses import make_targets, marginal_likelihood
from models_ml.methods.contract import GOLD_ALONE, Need, TrainingData, parameter
from models_ml.networks.linear import LinearClassifier, softmax
from models_ml.noise.transition import pooled_error
from models_ml.training.full_batch import ROUGH, fit_linear
from models_ml.training.soft_labels import SoftFullBatch, SoftLabels

# Parts of gold that the teacher is tried on, each by a teacher of the others. The paper holds out one quarter once.
N_PARTS = 3
# Pseudo-items behind each risk before anything is measured, as `noise.transition.pooled_error` has them.
RISK_STRENGTH = 5.0


@dataclass(frozen=True, kw_only=True)
class Distillation(SoftFullBatch):
    """λ·Σ_gold CE + Σ_silver CE(μ·e_ỹ + (1 - μ)·ŝ, f), where ŝ = (1 - γ)·s + γ·sA and s = softmax(teacher/T).

    The teacher learns gold alone; A is the label graph, if there is one. Of independent errors the mixture with the
    least squared distance to the truth has μ = R_s/(R_s + R_ỹ), R being the mean squared distance of each alone: the
    better the teacher, the less the machine label counts. The code that came with GLC gives the machine label the
    weight AP_s/(AP_s + AP_ỹ), the other way around; `published` is that, for comparison. Gold keeps its own label.
    """

    name: ClassVar[str] = "distillation"
    title: ClassVar[str] = "Distillation"
    sentence: ClassVar[str] = (
        "Learns gold first; then learns all items, with every machine label mixed with what the first classifier says."
    )
    source: ClassVar[str] = "Li et al. 2017, arXiv:1703.02391"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GOLD})

    trust: str = parameter(
        "risk",
        "How much a machine label counts beside the first classifier: by the squared error of both on the reference "
        "sample (risk), by the average precision of both (precision), or by the latter the wrong way around, as in "
        "published code (published): a control.",
        choices=("risk", "precision", "published"),
    )
    # The paper's T flattens an overconfident deep network; a linear classifier held by l2 is not overconfident.
    temperature: float = parameter(
        1.0, "Above 1, the first classifier's answers are made less decided; below 1, more.", low=0.05, high=20.0
    )
    # On made-up classes in groups that gold tells apart better than the classes, the more the better: accuracy .68 for
    # none, .77 for .6, .90 for all. A graph that says less would be worth less, so half.
    graph_share: float = parameter(
        0.5,
        "How much of an answer of the first classifier is passed on to related classes, where relations are known.",
        low=0.0,
        high=1.0,
    )

    def soft_labels(self, data: TrainingData, rng: np.random.Generator) -> SoftLabels:
        targets = self.targets(data)
        labels, is_silver = targets.likelihood.copy(), data.gold[targets.rows] < 0
        if is_silver.any():
            share = np.float32(self.silver_share(data, rng))
            belief = self._belief(self._teacher(data, data.gold >= 0), data, targets.rows[is_silver])
            labels[is_silver] = share * labels[is_silver] + (1 - share) * belief
        return SoftLabels(targets.rows, labels, targets.weight)

    def silver_share(self, data: TrainingData, rng: np.random.Generator) -> float:
        """μ, from reference gold that the teacher did not see; without any, silver is taken for 80 % right."""
        places, beliefs = self._tried(data, rng)
        gold, silver = data.gold[places], np.where(data.silver[places] < data.n_classes, data.silver[places], -1)
        if self.trust == "risk":
            return risk_share(gold, silver, beliefs)
        of_silver, of_teacher = _precisions(gold[silver >= 0], silver[silver >= 0], beliefs[silver >= 0])
        ours = of_teacher if self.trust == "published" else of_silver
        return ours / (of_silver + of_teacher)

    def _tried(self, data: TrainingData, rng: np.random.Generator) -> tuple[Positions, Array]:
        """Reference items that have gold, and what a teacher who did not see them says, float32[n, K]."""
        places, beliefs = [], []
        for seen, held_out in _parts(data, rng):
            places.append(held_out)
            beliefs.append(self._belief(self._teacher(data, seen), data, held_out))
        return np.concatenate(places), np.concatenate(beliefs)

    def _teacher(self, data: TrainingData, seen: Bools) -> LinearClassifier:
        """Fitted to the gold of the items of `seen` bool[n] alone."""
        targets = make_targets(np.where(seen, data.gold, -1), np.full(len(seen), -1), data.n_classes, math.inf)
        x, objective = data.inputs[targets.rows], marginal_likelihood(targets)
        return fit_linear(x, objective, data.n_classes, self.l2 / GOLD_ALONE, solver=ROUGH)

    def _belief(self, teacher: LinearClassifier, data: TrainingData, rows: Positions) -> Array:
        """ŝ of some items, float32[m, K]."""
        s = softmax(teacher.logits(data.inputs[rows]) / np.float32(self.temperature))
        if data.label_graph is not None:
            s = (1 - self.graph_share) * s + self.graph_share * (s @ data.label_graph)
        return np.asarray(s, np.float32)


def risk_share(gold: Ints, silver: Ints, beliefs: Array) -> float:
    """R_s/(R_s + R_ỹ) of gold int[n], silver int[n] (-1: none) and the teacher's beliefs float32[n, K].

    R is the mean of ‖· - e_gold‖², twice the error rate for silver, shrunk to what is known before anything is
    measured: one error in five for silver, and as bad as knowing nothing, 1 - 1/K, for the teacher.
    """
    k = beliefs.shape[1]
    distance = np.square(beliefs.astype(np.float64) - np.eye(k)[gold]).sum()
    of_teacher = (distance + RISK_STRENGTH * (1 - 1 / k)) / (len(gold) + RISK_STRENGTH)
    return float(of_teacher / (of_teacher + 2 * pooled_error(gold, silver)))


def average_precision(scores: AnyArray, is_class: Bools) -> float:
    """Σ_t (recall_t - recall_{t-1})·precision_t over falling thresholds t, one for equal scores; n > 0 items, one true.

    scores float[n], is_class bool[n].
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of those with the same score
    hits = np.cumsum(is_class[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return float((precision * np.diff(hits, prepend=0)).sum() / hits[-1])


def _precisions(gold: Ints, silver: Ints, beliefs: Array) -> tuple[float, float]:
    """Average precision of silver and of the teacher, the mean over the classes that gold has; equal without any."""
    if not len(gold):
        return 0.5, 0.5
    said, classes = np.eye(beliefs.shape[1])[silver], np.unique(gold)
    of_silver, of_teacher = (
        float(np.mean([average_precision(scores[:, k], gold == k) for k in classes])) for scores in (said, beliefs)
    )
    return of_silver, of_teacher


def _parts(data: TrainingData, rng: np.random.Generator) -> Iterator[tuple[Bools, Positions]]:
    """Gold in parts, at random: the gold of all other parts bool[n], and the reference items of this one int64[m]."""
    part = np.full(len(data.gold), -1)
    places = np.flatnonzero(data.gold >= 0)
    part[places] = rng.permutation(len(places)) % N_PARTS
    for p in range(N_PARTS):
        yield (data.gold >= 0) & (part != p), np.flatnonzero(data.reference & (part == p))
