"""A noise matrix that is estimated anew in every step, from reference gold, while labels are being corrected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.losses import marginal_losses
from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.networks.network import Network
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor

# How much of Ĉ a step keeps: a batch of some dozen gold items says little of a row, ten steps together say more.
MEMORY = 0.9


@dataclass(frozen=True, kw_only=True)
class FasTEN(Minibatch):
    """λ·Σ_gold CE + Σ_silver -log (p Ĉ)_ỹ, and CE of a second head that learns silver alone; Kye et al. 2022.

    Row i of Ĉ is the mean of what the second head predicts for reference gold of class i, with no gradient. Silver
    that the first head contradicts with enough confidence is replaced by what it predicts; the second head then learns
    that, so that Ĉ stays the noise of the labels as they are. Unlike the paper: inputs are frozen vectors, so the heads
    share nothing that is trained and the weight of the second loss says nothing; gold is drawn at random, not so many
    of each class; Ĉ is a running mean, since gold is scarce; and a replaced label comes back where confidence is lost.
    A class without reference gold keeps the row of the identity, by which silver is taken at its word.
    """

    name: ClassVar[str] = "fasten"
    title: ClassVar[str] = "Online noise matrix"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels read through a noise matrix that is estimated again in each step, "
        "while labels that look wrong are replaced."
    )
    source: ClassVar[str] = "Kye et al. 2022 (FasTEN), arXiv:2111.14932"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GOLD})
    n_networks: ClassVar[int] = 2

    # As published.
    replace_above: float = parameter(
        0.8, "The probability from which on a prediction replaces a machine label; 1: never.", low=0.0, high=1.0
    )

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        import torch

        state = super().begin(data, networks, rng)
        valid = np.where((data.silver >= 0) & (data.silver < data.n_classes), data.silver, 0)
        silver = torch.from_numpy(valid.astype(np.int64))
        return State(state.optimisers, {"silver": silver, "labels": silver, "transition": torch.eye(data.n_classes)})

    def epoch(
        self, state: State, networks: Sequence[Network], score_all: Callable[[Network], Tensor], epoch: int
    ) -> None:
        if epoch and self.replace_above < 1.0:
            surest, predicted = score_all(networks[0]).softmax(dim=1).max(dim=1)
            state.memory["labels"] = predicted.where(surest >= self.replace_above, state.memory["silver"])

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        import torch

        reference = batch.reference_batch()
        if reference is not None:
            predicted = networks[1](reference.x).detach().softmax(dim=1)
            state.memory["transition"] = running_transition(state.memory["transition"], predicted, reference.likelihood)
        labels, transition = state.memory["labels"][batch.rows], state.memory["transition"]
        likelihood = torch.where(batch.is_gold[:, None], batch.likelihood, transition.T[labels])
        second = torch.nn.functional.cross_entropy(networks[1](batch.x), labels, reduction="none")
        return [
            (batch.weight * marginal_losses(networks[0](batch.x), likelihood)).mean(),
            (second * ~batch.is_gold).mean(),
        ]


def running_transition(before: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """Ĉ float[K, K], each row moved towards the mean of the predictions float[b, K] for its class, where there are any.

    truth float[b, K]: one-hot rows.
    """
    import torch

    n = truth.sum(dim=0)[:, None]
    means = truth.T @ predicted / n.clamp_min(1.0)
    return torch.where(n > 0, MEMORY * before + (1 - MEMORY) * means, before)
