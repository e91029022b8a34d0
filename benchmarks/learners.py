"""Plain ways to learn that published recipes are made of: on numbers of words as published, or on frozen vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import numpy as np

from models_ml import methods
from models_ml.arrays import Floats, Ints
from models_ml.methods.contract import GOLD_ALONE, Need, TrainingData
from models_ml.methods.corrected import Corrected
from models_ml.methods.cross_entropy import CrossEntropy
from models_ml.networks.network import Classifier
from models_ml.training.loop import Batch, Minibatch

if TYPE_CHECKING:
    from torch import Tensor

# Hendrycks et al. 2018, text: Adam at a constant rate, no early stop.
EPOCHS, BATCH, RATE = 5, 50, 5e-4
DECAY = 1e-5  # l2 of the mean loss, of the head's weights alone
FEWEST_STEPS = 2000  # that a network trained on gold alone takes


class Learner(Protocol):
    """What recipes need. Gold and silver weigh the same, as published."""

    def plain(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        """By cross-entropy, all labels at their word."""

    def corrected(self, data: TrainingData, rng: np.random.Generator, gold_weight: float = 1.0) -> Classifier:
        """Silver through the data's noise matrices."""

    def gold_alone(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        """By cross-entropy, until little gold is learned."""


class Vectors:
    """A linear head by L-BFGS; l2 as methods have it where a project has too little gold to choose."""

    def plain(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        return CrossEntropy(gold_weight=1.0).fit(data, rng)

    def corrected(self, data: TrainingData, rng: np.random.Generator, gold_weight: float = 1.0) -> Classifier:
        return Corrected(gold_weight=gold_weight).fit(data, rng)

    def gold_alone(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        return CrossEntropy(gold_weight=GOLD_ALONE).fit(data, rng)


class Words:
    """The word-averaging network, trained as published."""

    def plain(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        return self.train(PlainOnWords, data, rng)

    def corrected(self, data: TrainingData, rng: np.random.Generator, gold_weight: float = 1.0) -> Classifier:
        return self.train(_Corrected, data, rng, gold_weight=gold_weight)

    def gold_alone(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        batches = max(1, np.count_nonzero(data.gold >= 0) // BATCH)
        return self.train(PlainOnWords, data, rng, epochs=max(EPOCHS, 1 + FEWEST_STEPS // batches))

    def soft(self, data: TrainingData, soft: Floats, rng: np.random.Generator) -> Classifier:
        """By cross-entropy with a distribution for each item, float[n, K]."""
        return self.train(_Soft, data, rng, soft=np.asarray(soft, np.float32))

    def registered(self, name: str, data: TrainingData, rng: np.random.Generator, **parameters: Any) -> Classifier:
        """A method of the registry that learns from minibatches, on this network and with these settings."""
        method = methods.find(name)
        if not issubclass(method, Minibatch):
            raise ValueError(f"The method {name} learns no network of words: it fits frozen vectors.")
        return self.train(_on_words(method), data, rng, **parameters)

    def train(
        self, method: type[Minibatch], data: TrainingData, rng: np.random.Generator, **parameters: Any
    ) -> Classifier:
        known = {field.name for field in dataclasses.fields(method)}
        published = {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": RATE, "gold_weight": 1.0}
        built = method(**{**{key: value for key, value in published.items() if key in known}, **parameters})
        weight = float(built.targets(data).weight.sum())
        return dataclasses.replace(built, l2=max(DECAY * weight, 1e-4)).fit(data, rng)


def learner_of(encoder: str) -> Learner:
    return Words() if encoder == "glc-words" else Vectors()


@dataclass(frozen=True, kw_only=True)
class _OnWords(Minibatch):
    """On the network of words, at a constant rate."""

    network: ClassVar[str] = "words"

    def rate(self, done: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class PlainOnWords(_OnWords):
    """All labels at their word."""

    name: ClassVar[str] = "plain_words"


@dataclass(frozen=True, kw_only=True)
class _Corrected(_OnWords):
    name: ClassVar[str] = "corrected_words"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_MATRIX})


@dataclass(frozen=True, kw_only=True)
class _Soft(_OnWords):
    name: ClassVar[str] = "soft_words"

    soft: Any = None

    def item_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch

        return -(torch.from_numpy(self.soft)[batch.rows] * logits.log_softmax(dim=1)).sum(dim=1)


def _on_words(method: type[Minibatch]) -> type[Minibatch]:
    """The method with another network; all else is its own, but for the constant rate."""
    own: Mapping[str, Any] = {"network": _OnWords.network, "rate": _OnWords.rate}
    return cast("type[Minibatch]", type(f"{method.__name__}OnWords", (method,), dict(own)))


def labels_alone(silver: Ints, gold_rows: Ints) -> Ints:
    """Silver of the items without gold, -1 elsewhere."""
    left = silver.copy()
    left[gold_rows] = -1
    return left
