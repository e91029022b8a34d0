"""The mean of a text's word vectors, and a linear head: the network of GLC's text experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models_ml.arrays import AnyArray, Array
from models_ml.encoders.words import PADDING, VOCABULARY
from models_ml.networks.network import Network
from models_ml.training.lazy_adam import LazyRows

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer

DIMENSIONS = 100  # of a word's vector, as published
_CHUNK = 4096  # texts whose word vectors are in memory at a time: 50 MB


@dataclass(frozen=True)
class WordAveragingClassifier:
    """Logits mean(table[words])·weightᵀ + bias; table float32[words, h], weight float32[K, h], bias float32[K]."""

    table: Array
    weight: Array
    bias: Array

    def logits(self, inputs: AnyArray) -> Array:
        """Numbers of words int[n, slots], the padding's too -> float32[n, K]."""
        features = np.empty((len(inputs), self.table.shape[1]), np.float32)
        for first in range(0, len(inputs), _CHUNK):
            numbers = inputs[first : first + _CHUNK].astype(np.int32, copy=False)
            features[first : first + _CHUNK] = self.table[numbers].mean(axis=1)
        return features @ self.weight.T + self.bias

    def state(self) -> Mapping[str, AnyArray]:
        return {"table": self.table, "weight": self.weight, "bias": self.bias}


class WordAveragingNetwork(Network):
    """Hendrycks et al. 2018, arXiv:1802.05300, with its initial values; inputs int[b, slots] of `Vocabulary.encode`.

    The mean is over all slots, as published: padding has a vector that is never trained, so that the features of a
    short text are small. Only the rows of words that a batch has are stepped (`LazyRows`); they are not held near
    zero, as published, since that would move every row in every step.
    """

    def __init__(self, n_inputs: int, n_classes: int, generator: Generator) -> None:
        import torch

        bound = (6 / (VOCABULARY + 1 + DIMENSIONS)) ** 0.5
        table = torch.empty(VOCABULARY + 1, DIMENSIONS).uniform_(-bound, bound, generator=generator)
        self.table = torch.nn.Parameter(table)
        head = torch.nn.Linear(DIMENSIONS, n_classes, device="meta").to_empty(device="cpu")  # no global randomness
        torch.nn.init.normal_(head.weight, std=DIMENSIONS**-0.5, generator=generator)
        torch.nn.init.zeros_(head.bias)
        self.head = head
        self._rows: LazyRows | None = None

    def embed(self, x: Tensor) -> Tensor:
        """int[b, slots] -> float[b, slots, h]."""
        import torch

        rows, places = _distinct(x)
        vectors = torch.cat([self.table[:1].detach(), self._vectors(rows[1:])])
        return torch.nn.functional.embedding(places, vectors)

    def encode(self, embedded: Tensor, mask: Any = None) -> Tensor:
        """The mean over all slots, whatever the mask."""
        return embedded.mean(dim=1)

    def features(self, x: Tensor, mask: Any = None) -> Tensor:
        """What `encode` makes of `embed`, from how often each word is there: without a vector per slot, much faster."""
        rows, places = _distinct(x)
        shares = self.table.new_zeros(len(x), len(rows))
        shares.scatter_add_(1, places, self.table.new_full(places.shape, 1 / x.shape[1]))
        return shares[:, 1:] @ self._vectors(rows[1:]) + shares[:, :1] * self.table[0].detach()

    def _vectors(self, rows: Tensor) -> Tensor:
        return self.table[rows] if self._rows is None else self._rows.of(rows)

    def parameters(self) -> Sequence[Parameter]:
        return [self.table, *self.head.parameters()]

    def optimiser(self, decay: float, learning_rate: float) -> Optimizer:
        import torch

        groups = [
            {"params": [self.head.weight], "weight_decay": decay},
            {"params": [self.table, self.head.bias], "weight_decay": 0.0},
        ]
        adam = torch.optim.Adam(groups, lr=learning_rate, fused=True)
        self._rows = LazyRows(self.table, adam)
        return adam

    def classifier(self) -> WordAveragingClassifier:
        if self._rows is not None:
            self._rows.catch_up()
        arrays = {name: array.detach().numpy().copy() for name, array in self.head.state_dict().items()}
        return WordAveragingClassifier(self.table.detach().numpy().copy(), **arrays)

    @classmethod
    def load(cls, state: Mapping[str, AnyArray]) -> WordAveragingClassifier:
        return WordAveragingClassifier(**state)


def _distinct(x: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers in x int[b, slots] in order, the padding first even where there is none; and where each is there."""
    import torch

    numbers = torch.nn.functional.pad(x.long().flatten(), (1, 0), value=PADDING)
    rows, places = torch.unique(numbers, return_inverse=True)
    return rows, places[1:].view(x.shape)
