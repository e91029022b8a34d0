"""How badly each machine label is learned, epoch by epoch, while machine labels are all there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models_ml.losses import marginal_losses
from models_ml.methods.contract import TrainingData
from models_ml.networks.network import Network
from models_ml.training.loop import Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor


def silver_losses(data: TrainingData, like: Minibatch, rng: np.random.Generator) -> Tensor:
    """float32[E, n]: cross entropy of the n items' silver before each epoch of a training as long as that of `like`.

    Silver of items with gold is learned as well, and no gold, so that the losses of labels whose truth is known are
    those of any other label. NaN where there is no valid silver.
    """
    import torch

    watched = _Watched(
        data=data,
        **{name: getattr(like, name) for name in ("epochs", "batch_size", "learning_rate", "l2")},
    )
    alone = dataclasses.replace(data, gold=np.full_like(data.gold, -1), reference=np.zeros_like(data.reference))
    watched.fit(alone, rng)
    return torch.stack(watched.losses)


@dataclass(frozen=True, kw_only=True)
class _Watched(Minibatch):
    """Cross entropy, written down before each epoch."""

    data: TrainingData
    losses: list[Tensor] = field(default_factory=list)

    def epoch(
        self, state: State, networks: Sequence[Network], score_all: Callable[[Network], Tensor], epoch: int
    ) -> None:
        import torch

        valid = (self.data.silver >= 0) & (self.data.silver < self.data.n_classes)
        one_hot = torch.eye(self.data.n_classes)[torch.from_numpy(np.where(valid, self.data.silver, 0))]
        losses = marginal_losses(score_all(networks[0]), one_hot)
        self.losses.append(losses.masked_fill(torch.from_numpy(~valid), torch.nan))
