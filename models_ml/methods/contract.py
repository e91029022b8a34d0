"""The contract of a method: what one fit may see, and what the method says of itself."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal

import numpy as np

from models_ml.arrays import AnyArray, Array, Bools, Ints, Matrix
from models_ml.losses import Targets, make_targets
from models_ml.networks.linear import LinearClassifier
from models_ml.networks.network import Classifier

# Gold alone is fitted like gold of this weight, so that one l2 grid serves both: with weight 1 the best l2 was the
# smallest tried (.3) on four sets, where weights of 20 and 60 beside silver took 1 to 10.
GOLD_ALONE = 20.0


class Need(StrEnum):
    """What a method takes from a project."""

    GOLD = "gold"
    SILVER = "silver"
    SOFT_SILVER = "soft_silver"
    NOISE_MATRIX = "noise_matrix"
    NOISE_RATE = "noise_rate"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Need.GOLD: "It needs gold labels.",
    Need.SILVER: "It needs machine labels.",
    Need.SOFT_SILVER: "It needs machine labels with a probability for every class.",
    Need.NOISE_MATRIX: "It uses the noise matrix, which is as good as the reference sample is large.",
    Need.NOISE_RATE: "It uses the share of machine labels that are wrong, which the reference sample shows.",
}


class Diverged(ValueError):
    """A fit ended in numbers that are infinite or none, because a parameter is too large. The message is for people."""

    def __init__(self) -> None:
        super().__init__(
            "This training came to numbers that are too large to compute with. Choose smaller parameters, or leave "
            "them out."
        )


def unmet(needs: frozenset[Need], *, n_gold: int, n_silver: int, n_soft_silver: int) -> list[Need]:
    """Which needs a project cannot serve, given how many labels that may train it has.

    n_silver: valid machine labels; n_soft_silver: those of them with a distribution. The noise matrix and the
    noise rate are always there: without a reference sample they are priors.
    """
    held = {Need.GOLD: n_gold, Need.SILVER: n_silver, Need.SOFT_SILVER: n_soft_silver}
    held |= {Need.NOISE_MATRIX: 1, Need.NOISE_RATE: 1}
    return [need for need in Need if need in needs and not held[need]]


@dataclass(frozen=True)
class TrainingData:
    """What one fit may see of n items: no item of the held-out fold is among them, and no gold of the audit sample.

    inputs float32[n, d]; gold int[n], -1: none; reference bool[n]: gold of the reference sample, which alone may
    estimate noise, serve as meta set or stop early, where other gold only trains; silver int[n], K: no valid answer,
    -1: never asked; transitions float64[G, K, K+1]: Ĉ per stratum, estimated without the held-out fold, G = 1: one for
    all, whatever the strata; strata int[n], in 0..G-1 where G > 1, or None; silver_probability float32[n, K], NaN rows
    where unknown, or None; label_graph float64[K, K], or None where nothing is known of how classes relate: row i says
    how belief in class i is shared out among the classes, and sums to one.
    """

    inputs: Array
    gold: Ints
    reference: Bools
    silver: Ints
    transitions: Matrix
    n_classes: int
    silver_probability: Array | None = None
    strata: Ints | None = None
    label_graph: Matrix | None = None

    def __post_init__(self) -> None:
        check_label_graph(self.label_graph, self.n_classes)


def check_label_graph(graph: Matrix | None, n_classes: int) -> None:
    """ValueError, with what is wrong, unless the graph is none or float[K, K] whose rows are distributions."""
    if graph is None:
        return
    if graph.shape != (n_classes, n_classes):
        raise ValueError(f"a label graph of {n_classes} classes has {n_classes} rows and columns, not {graph.shape}")
    if not (graph >= 0).all():  # NaN too
        raise ValueError("a label graph has entries that are negative or no numbers")
    if wrong := np.flatnonzero(np.abs(graph.sum(axis=1) - 1) > 1e-6).tolist():
        raise ValueError(f"row {wrong[0]} of the label graph sums to {graph[wrong[0]].sum():g}, not to 1")


def parameter(
    default: Any,
    sentence: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: Sequence[str] = (),
) -> Any:
    """A field of a method that people may set: what it does, in a sentence, and the values it takes, ends included."""
    return dataclasses.field(
        default=default,
        metadata={"sentence": sentence, "low": low, "high": high, "choices": tuple(choices)},
    )


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Hyper-parameters, and the way to a classifier: one file, one paper, one line in the registry.

    A subclass is a frozen dataclass; its fields made by `parameter` are what people may set. Cross-fitting, the search
    over `grid` and calibration happen around it.
    """

    name: ClassVar[str]  # its file's name; stored with every version
    title: ClassVar[str]  # for people
    sentence: ClassVar[str]  # for people: what it does with the labels
    source: ClassVar[str]  # the paper
    needs: ClassVar[frozenset[Need]] = frozenset()
    # What the search varies unless it is set: the parameter's values. It begins at the parameter's default.
    grid: ClassVar[Mapping[str, Sequence[float]]] = {
        # λ; inf is gold only. Published GLC is 1; chosen by log-loss it was worth 8 points on TREC (decision 006).
        "gold_weight": (1.0, 5.0, 20.0, 60.0, math.inf),
        # Of the summed loss on unit vectors. On four sets 1 and 3 were chosen most, 30 was always worse; a wrong one
        # of these costs up to 4 points.
        "l2": (10.0, 3.0, 1.0, 0.3),
    }
    # What a training from the same snapshot and seed repeats: every bit, or predictions within training/rebuild.py.
    reproduces: ClassVar[Literal["bits", "seed"]]

    # Where the reference sample is too small to choose: over four sets these lie 1.4 points of out-of-fold accuracy
    # behind choosing; a weight of 20 was .5 better on average, but 5 worse on real LLM labels.
    gold_weight: float = parameter(5.0, "How many machine labels one gold label outweighs; inf: gold alone.", low=0.0)
    l2: float = parameter(3.0, "How strongly weights are held near zero.", low=1e-4, high=1e4)

    @abstractmethod
    def fit(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        """A classifier from zero; all that is random comes from `rng`."""

    def fit_roughly(self, data: TrainingData, rng: np.random.Generator, start: Classifier | None) -> Classifier:
        """A classifier good enough to compare settings by; `start`: that of the setting before, from the same data."""
        return self.fit(data, rng)

    def load(self, state: Mapping[str, AnyArray]) -> Classifier:
        """Undo `Classifier.state`."""
        return LinearClassifier(**state)

    def targets(self, data: TrainingData) -> Targets:
        """The rows that train, and what their labels say: a method that needs the noise matrix reads silver by it."""
        transitions = data.transitions if Need.NOISE_MATRIX in self.needs else None
        strata = data.strata if len(data.transitions) > 1 else None
        return make_targets(data.gold, data.silver, data.n_classes, self.gold_weight, transitions, strata)

    @property
    def penalty(self) -> float:
        """l2 of the summed loss."""
        return self.l2 if math.isfinite(self.gold_weight) else self.l2 / GOLD_ALONE
