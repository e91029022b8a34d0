"""A linear classifier on frozen vectors; predicting needs no torch, whichever method fitted it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models_ml.arrays import AnyArray, Array
from models_ml.networks.network import Classifier, Network

if TYPE_CHECKING:
    from torch import Generator


@dataclass(frozen=True)
class LinearClassifier:
    """Logits x·weightᵀ + bias; weight float32[K, d], bias float32[K]."""

    weight: Array
    bias: Array

    def logits(self, inputs: Array) -> Array:
        """float32[n, d] -> float32[n, K]."""
        return inputs @ self.weight.T + self.bias

    def predict_proba(self, inputs: Array) -> Array:
        """float32[n, d] -> float32[n, K], rows sum to 1."""
        return softmax(self.logits(inputs))

    def state(self) -> Mapping[str, AnyArray]:
        return {"weight": self.weight, "bias": self.bias}


class LinearNetwork(Network):
    """The linear classifier while a minibatch method trains it."""

    def __init__(self, n_inputs: int, n_classes: int, generator: Generator) -> None:
        import torch

        head = torch.nn.Linear(n_inputs, n_classes, device="meta").to_empty(device="cpu")  # no global randomness
        # Small, for nothing is known yet; not zero, so that two networks differ.
        torch.nn.init.normal_(head.weight, std=0.01, generator=generator)
        torch.nn.init.zeros_(head.bias)
        self.head = head

    def classifier(self) -> LinearClassifier:
        arrays = {name: array.detach().numpy().copy() for name, array in self.head.state_dict().items()}
        return LinearClassifier(**arrays)

    @classmethod
    def load(cls, state: Mapping[str, AnyArray]) -> LinearClassifier:
        return LinearClassifier(**state)


def zero_classifier(n_features: int, n_classes: int) -> LinearClassifier:
    """The classifier that knows nothing: uniform for every input."""
    return LinearClassifier(np.zeros((n_classes, n_features), np.float32), np.zeros(n_classes, np.float32))


def mean_classifier(classifiers: Sequence[Classifier]) -> Classifier:
    """The one whose logits are the mean of theirs, if all are linear; else the first, for weights of others add up to
    nothing."""
    linear = [classifier for classifier in classifiers if isinstance(classifier, LinearClassifier)]
    if len(linear) < len(classifiers):
        return classifiers[0]
    weight, bias = (np.mean([getattr(one, name) for one in linear], axis=0) for name in ("weight", "bias"))
    return LinearClassifier(weight, bias)


def softmax(logits: AnyArray) -> AnyArray:
    """Rows of exp(z)/Σ exp(z); float[n, K] in, the same dtype out."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
