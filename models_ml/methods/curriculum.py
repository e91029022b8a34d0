"""Curriculum loss: a bound of the 0-1 loss that leaves out the hardest labels of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.losses import curriculum, soft_hinge_losses
from models_ml.methods.contract import TrainingData, parameter
from models_ml.networks.network import Network
from models_ml.training.loop import Batch, State
from models_ml.training.silver_loss import SilverLoss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Curriculum(SilverLoss):
    """λ·Σ_gold CE + min over v in {0, 1}^m of max(Σ v·ℓ, C - Σ v) on the m machine labels of a batch.

    ℓ is the soft hinge, C = m + the number of labels that the model does not predict: at least the 0-1 loss, at most
    Σ ℓ. v is solved exactly, then held while the network takes a step on Σ v·ℓ. It knows no classes: one whose labels
    are all hard is dropped from a batch whole, and only gold keeps it.
    """

    name: ClassVar[str] = "curriculum"
    title: ClassVar[str] = "Curriculum loss"
    sentence: ClassVar[str] = (
        "Learns from gold, and from those machine labels that the model finds easy; how many are left out follows from "
        "how many it would contradict."
    )
    source: ClassVar[str] = "Lyu & Tsang 2020, arXiv:1905.10045"

    # Published: 5 or 10 of 200 epochs, for networks that begin without a notion of what is easy. For a linear one 0, 2
    # and 5 of 20 were within .5 points (simulated, 6 classes).
    burn_in: int = parameter(2, "How many epochs see all labels before any is left out.", low=0, high=10_000)

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        state = super().begin(data, networks, rng)
        state.memory["wrong"] = self.share_wrong(data)
        return state

    def share_wrong(self, data: TrainingData) -> float:
        """The share ε of machine labels that are given up beforehand."""
        return 0.0

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        losses = self.item_losses(networks[0](batch.x), batch)
        weight = batch.weight.clone()
        if batch.epoch >= self.burn_in:
            of_silver = losses.detach()[~batch.is_gold]
            weight[~batch.is_gold] *= curriculum(of_silver, threshold(of_silver, state.memory["wrong"]))
        return [(weight * losses).mean()]

    def silver_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        return soft_hinge_losses(logits, batch.likelihood)


def threshold(losses: Tensor, wrong: float) -> float:
    """C = (1-ε)²·m + (1-ε)·errors, of soft hinge losses float[m]: those above 1 are the labels not predicted."""
    return (1 - wrong) ** 2 * len(losses) + (1 - wrong) * int((losses > 1).sum())
