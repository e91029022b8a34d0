"""Self-training: items whose machine label failed or is not believed learn what the classifier itself is sure of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from models_ml.arrays import Array, Ints, Matrix, Positions
from models_ml.losses import TINY, Targets, marginal_likelihood
from models_ml.methods.contract import GOLD_ALONE, TrainingData, parameter
from models_ml.methods.corrected import Corrected
from models_ml.networks.linear import LinearClassifier, softmax
from models_ml.networks.network import Classifier
from models_ml.training.full_batch import ROUGH, SOLVER, SolverConfig, fit_linear


@dataclass(frozen=True, kw_only=True)
class SelfTraining(Corrected):
    """As `corrected`; then, in each round, the posterior p_k·L_k of every item without gold is looked at.

    L is how likely its machine label is under each class, by the noise matrix; 1 where nobody asked or the machine
    failed. Where the posterior is sure of a class that the machine did not name, the item is labeled so, and all is
    fitted again. No class gets more such labels than bring it to its share of the reference sample, its surest first
    (Zou et al. 2018): else the classes that are found most easily would take over.

    Unlike in `corrected` a failure itself says nothing: with 97 % failures and 12 gold items the few failures that gold
    counts made one class of nearly all (accuracy .42 against .74 on made-up classes), and there is nothing left to be
    sure of.
    """

    name: ClassVar[str] = "self_training"
    title: ClassVar[str] = "Self-training"
    sentence: ClassVar[str] = (
        "Learns as noise-corrected does, then labels items itself where it is sure and the machine failed or seems "
        "wrong, and learns again."
    )
    source: ClassVar[str] = "Scudder 1965; Lee 2013 (pseudo-labels); Zou et al. 2018, arXiv:1810.07911 (class balance)"

    # On four made-up sets with l2 .3, five rounds were worth 1 to 7 points at .8, 2 to 6 at .6, -1 to 1 at .9; with l2
    # of 3 little is sure and nothing is gained at .8. Two rounds gained less than five.
    threshold: float = parameter(0.8, "How sure it must be to label an item itself.", low=0.0, high=1.0)
    rounds: int = parameter(5, "How often it labels items and learns again.", low=0, high=100)

    def targets(self, data: TrainingData) -> Targets:
        return super().targets(replace(data, silver=np.where(data.silver < data.n_classes, data.silver, -1)))

    def fit(self, data: TrainingData, rng: np.random.Generator) -> LinearClassifier:
        return self._label_and_learn(data, super().fit(data, rng), SOLVER)

    def fit_roughly(self, data: TrainingData, rng: np.random.Generator, start: Classifier | None) -> LinearClassifier:
        return self._label_and_learn(data, super().fit_roughly(data, rng, start), ROUGH)

    def _label_and_learn(
        self, data: TrainingData, classifier: LinearClassifier, solver: SolverConfig
    ) -> LinearClassifier:
        for _ in range(self.rounds):
            targets = self.own_labels(data, classifier)
            x, objective = data.inputs[targets.rows], marginal_likelihood(targets)
            classifier = fit_linear(x, objective, data.n_classes, self.penalty, classifier, solver)
        return classifier

    def own_labels(self, data: TrainingData, classifier: LinearClassifier) -> Targets:
        """The targets that were learned first, and over them the labels that the classifier is sure of."""
        targets, n = self.targets(data), len(data.gold)
        heard = math.isfinite(self.gold_weight)  # else no machine label trains, so none is believed
        likelihood, weight = np.ones((n, data.n_classes), np.float32), np.empty(n, np.float32)
        weight[:] = 1 if heard else 1 / GOLD_ALONE
        likelihood[targets.rows], weight[targets.rows] = targets.likelihood, targets.weight
        posterior = softmax(classifier.logits(data.inputs) + np.log(np.maximum(likelihood, TINY)))
        label, confidence = posterior.argmax(axis=1), posterior.max(axis=1)
        believed = (data.gold >= 0) | (heard & (label == data.silver))
        candidates = np.flatnonzero(~believed & (confidence >= self.threshold))
        counts = np.bincount(np.where(data.gold >= 0, data.gold, label)[believed], minlength=data.n_classes)
        chosen = candidates[balanced(label[candidates], confidence[candidates], counts, class_shares(data))]
        likelihood[chosen] = np.eye(data.n_classes, dtype=np.float32)[label[chosen]]
        rows = np.union1d(targets.rows, chosen)
        return Targets(rows, likelihood[rows], weight[rows])


def class_shares(data: TrainingData) -> Matrix:
    """How frequent each class is in the reference sample, float64[K]; one pseudo-item per class: none is zero."""
    counts = np.bincount(data.gold[data.reference], minlength=data.n_classes) + 1.0
    return np.asarray(counts / counts.sum(), np.float64)


def balanced(label: Ints, confidence: Array, counts: Ints, shares: Matrix) -> Positions:
    """Which of the candidates are taken: of each class the surest, up to its share of all that would be labeled.

    label int[m], confidence float32[m]; counts int[K]: labels that are there already; shares float64[K].
    """
    quota = np.ceil(shares * (len(label) + counts.sum())).astype(np.int64) - counts
    order = np.argsort(-confidence, kind="stable")
    taken = [order[label[order] == k][: max(0, quota[k])] for k in range(len(shares))]
    return np.concatenate(taken).astype(np.int64)
