"""From inputs to logits: what predicts, and what the minibatch loop trains (embed → encode → head)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from models_ml.arrays import AnyArray, Array

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, Parameter
    from torch.optim import Optimizer


class Classifier(Protocol):
    """What predicts: what a fit gives back."""

    def logits(self, inputs: Array) -> Array:
        """float32[n, d] -> float32[n, K]; a row never depends on the other rows."""

    def state(self) -> Mapping[str, AnyArray]:
        """Named arrays from which `Method.load` makes the same classifier; their shapes do not depend on the data."""


class Network(ABC):
    """Inputs to logits in three steps that a method may step between; made for (n_inputs, n_classes, generator).

    Subclasses set `head`, and override `embed` and `encode` where they have any. Torch is imported where a network is
    made, so that its file can be read without.
    """

    head: Module

    def embed(self, x: Tensor) -> Tensor:
        """Inputs to what `encode` reads: where adversarial noise, mixing and cut-offs go."""
        return x

    def encode(self, embedded: Tensor, mask: Any = None) -> Tensor:
        """float[b, …] -> features float[b, h]; mask: which positions of an input are there."""
        return embedded

    def features(self, x: Tensor, mask: Any = None) -> Tensor:
        """What the head sees, float[b, h]."""
        return self.encode(self.embed(x), mask)

    def __call__(self, x: Tensor, mask: Any = None) -> Tensor:
        """Logits float[b, K]."""
        logits: Tensor = self.head(self.features(x, mask))
        return logits

    def parameters(self) -> Sequence[Parameter]:
        """All that is trained."""
        return list(self.head.parameters())

    def optimiser(self, decay: float, learning_rate: float) -> Optimizer:
        """What steps its parameters: Adam. Weights are held near zero by `decay`; biases are not: they carry how
        frequent a class is."""
        import torch

        weights, biases = ([p for p in self.parameters() if (p.ndim > 1) == is_weight] for is_weight in (True, False))
        groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)  # in one kernel: half the time

    @abstractmethod
    def classifier(self) -> Classifier:
        """What predicts once training is over; `load` makes the same from its state."""

    @classmethod
    @abstractmethod
    def load(cls, state: Mapping[str, AnyArray]) -> Classifier:
        """The classifier with this state."""
