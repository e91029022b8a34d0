"""What one training sees of a project, and what one fit may see of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models_ml.arrays import AnyArray, Array, Bools, Matrix
from models_ml.methods.contract import TrainingData, check_label_graph
from models_ml.noise.checks import check_strata


@dataclass(frozen=True)
class Snapshot:
    """N items at one moment.

    x float32[N, d] embeddings; fold int[N] in 0..F-1; silver int[N] (class; K: no valid answer; -1: never
    asked); gold int[N] (class or -1; only gold that may train, so never an audit answer); reference
    bool[N]: drawn for the reference sample, so its gold may also fit Ĉ, calibrate and choose.
    silver_probability float32[N, K], NaN rows where unknown; strata int[N], from 0: observable strata of the noise
    (prompt version, confidence bin, text length, source); None where nobody recorded them; observed: several such, by
    name. Which of them has a noise of its own is found in training (training/transitions.py). label_graph
    float64[K, K], rows sum to 1: how classes relate, or None. ValueError where shapes or ranges do not fit.
    """

    x: Array
    fold: AnyArray
    silver: AnyArray
    gold: AnyArray
    reference: Bools
    n_classes: int
    silver_probability: Array | None = None
    strata: AnyArray | None = None
    observed: Mapping[str, AnyArray] | None = None
    label_graph: Matrix | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        columns = (self.fold, self.silver, self.gold, self.reference, self.silver_probability, self.strata)
        if any(len(column) != n for column in columns if column is not None):
            raise ValueError("the arrays of a snapshot must have one entry per item")
        if n and (self.silver.max() > self.n_classes or self.gold.max() >= self.n_classes):
            raise ValueError("a label lies outside the classes")
        if n and (min(self.silver.min(), self.gold.min()) < -1 or self.fold.min() < 0):
            raise ValueError("a label below -1 or a negative fold")
        if self.silver_probability is not None and self.silver_probability.shape != (n, self.n_classes):
            raise ValueError("silver probabilities must have one column per class")
        check_label_graph(self.label_graph, self.n_classes)
        for name, stratum in self.candidates.items():
            check_strata(name, stratum, n)

    @property
    def candidates(self) -> dict[str, AnyArray]:
        """All strata that the noise may depend on, by name; `strata` has the name "strata"."""
        given = {} if self.strata is None else {"strata": self.strata}
        return {**given, **(self.observed or {})}

    @property
    def has_reference_gold(self) -> Bools:
        """Reference items that have gold: what may fit Ĉ, calibrate and choose. bool[N]."""
        return np.asarray(self.reference & (self.gold >= 0), np.bool_)

    @property
    def reference_gold(self) -> AnyArray:
        """Gold of the reference sample, -1 elsewhere. int[N]."""
        return np.where(self.has_reference_gold, self.gold, -1)

    def training_data(self, seen: Bools, transition: Matrix, stratum: str | None = None) -> TrainingData:
        """What a fit on the items of `seen` bool[N] may see.

        transition: Ĉ estimated from them, float64[K, K+1], or float64[G, K, K+1] by the candidate named `stratum`.
        """
        soft, strata = self.silver_probability, self.strata if stratum is None else self.candidates[stratum]
        return TrainingData(
            inputs=self.x[seen],
            gold=self.gold[seen],
            reference=self.has_reference_gold[seen],
            silver=self.silver[seen],
            transitions=transition if transition.ndim == 3 else transition[None],
            n_classes=self.n_classes,
            silver_probability=None if soft is None else soft[seen],
            strata=None if strata is None else strata[seen],
            label_graph=self.label_graph,
        )
