"""Early-learning regularisation: what was predicted for an item early on holds it back from a wrong label later."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.methods.contract import TrainingData, parameter
from models_ml.networks.linear import mean_classifier
from models_ml.networks.network import Classifier, Network
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor

# 1 - <p, t> is not taken for smaller: its logarithm has no bound, and here its gradient ends.
SMALLEST_GAP = 1e-4


@dataclass(frozen=True, kw_only=True)
class EarlyLearning(Minibatch):
    """λ·Σ_gold CE + Σ_silver [CE + strength·log(1 - <p, t>)]; t ← β·t + (1 - β)·p remembers what was predicted.

    The gradient of the second term draws p towards t, so items that were predicted well before their wrong labels were
    learned by heart keep pulling the right way. ELR+ trains two networks: each one's t is fed by the running mean of
    the other's weights, inputs and labels are mixed in pairs (mixup), and the mean of both running means predicts. Gold
    is right, so nothing holds it back; that also goes for its part in a mixed pair.
    """

    name: ClassVar[str] = "early_learning"
    title: ClassVar[str] = "Early-learning regularisation (ELR)"
    sentence: ClassVar[str] = (
        "Learns from gold and machine labels, and remembers what it predicted for each item early on, so that later it "
        "does not learn wrong labels by heart."
    )
    source: ClassVar[str] = "Liu et al. 2020, arXiv:2007.00151"
    n_networks: ClassVar[int] = 2

    variant: str = parameter(
        "elr-plus",
        "One classifier (elr), or two that remember for each other, with averaged weights and mixed inputs (elr-plus).",
        choices=("elr", "elr-plus"),
    )
    # Strength 3 and momentum .7 are what the paper chose for CIFAR-10 and Clothing1M.
    strength: float = parameter(3.0, "How strongly early predictions hold back later ones.", low=0.0, high=100.0)
    momentum: float = parameter(
        0.7, "How slowly an item's memory follows its predictions: 0 forgets all but the last.", low=0.0, high=0.999
    )
    # The paper's .997 is for tens of thousands of steps; a fit here has some hundreds.
    averaging: float = parameter(
        0.99, "How slowly averaged weights follow the trained ones, in elr-plus.", low=0.0, high=0.9999
    )
    mixing: float = parameter(
        1.0, "How evenly two items are mixed in elr-plus: 0 mixes none, 1 is evenly spread.", low=0.0, high=100.0
    )

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        import torch

        used = networks[:1] if self.variant == "elr" else networks
        averages = copy.deepcopy(used)
        state = super().begin(data, used, rng)
        memories = [torch.zeros(len(data.gold), data.n_classes) for _ in used]
        return State(state.optimisers, {"memories": memories, "averages": averages, "n_averaged": 0})

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        memories = state.memory["memories"]
        if self.variant == "elr":
            logits = networks[0](batch.x)
            remembered = remember(memories[0], batch.rows, logits.detach().softmax(dim=1), self.momentum)
            weight = batch.weight
            strength = self.strength * weight * ~batch.is_gold
            return [elr_losses(logits, weight[:, None] * batch.likelihood, remembered, strength).mean()]
        self._average(state, networks)
        believed = [_probabilities(average, batch.x) for average in state.memory["averages"]]
        remembered_by_both = [
            remember(memory, batch.rows, p, self.momentum)
            for memory, p in zip(memories, reversed(believed), strict=True)  # each from the other
        ]
        return [
            self._mixed_loss(network, remembered, batch, rng)
            for network, remembered in zip(networks, remembered_by_both, strict=True)
        ]

    def finish(self, state: State, networks: Sequence[Network]) -> Classifier:
        if self.variant == "elr":
            return networks[0].classifier()
        self._average(state, networks)  # what the last step made counts too
        return mean_classifier([average.classifier() for average in state.memory["averages"]])

    def _average(self, state: State, networks: Sequence[Network]) -> None:
        """Move averaged weights towards the trained ones: faster in the beginning, or the first weights would stay."""
        import torch

        n = state.memory["n_averaged"]
        state.memory["n_averaged"] += 1
        stays = min(self.averaging, (1 + n) / (10 + n))
        with torch.no_grad():
            for average, network in zip(state.memory["averages"], networks, strict=True):
                for mean, now in zip(average.parameters(), network.parameters(), strict=True):
                    mean.lerp_(now, 1 - stays)

    def _mixed_loss(self, network: Network, remembered: Tensor, batch: Batch, rng: np.random.Generator) -> Tensor:
        """The mean loss of items mixed in pairs: what the head sees, labels, memories and weights alike."""
        import torch

        share = float(rng.beta(self.mixing, self.mixing)) if self.mixing > 0 else 1.0
        share, other = max(share, 1 - share), torch.from_numpy(rng.permutation(len(batch.rows)))

        def mixed(values: Tensor) -> Tensor:
            return share * values + (1 - share) * values[other]

        logits = network.head(mixed(network.features(batch.x)))
        labels = mixed(batch.weight[:, None] * batch.likelihood)
        strength = self.strength * mixed(batch.weight * ~batch.is_gold)
        return elr_losses(logits, labels, mixed(remembered), strength).mean()


def elr_losses(logits: Tensor, labels: Tensor, remembered: Tensor, strength: Tensor) -> Tensor:
    """-Σ_k y_k log p_k + strength·log(1 - <p, t>) per item, float[b]; p = softmax(z).

    logits z, labels y (with their weights) and remembered t float[b, K], strength float[b].
    """
    log_p = logits.log_softmax(dim=1)
    gap = (1 - (log_p.exp() * remembered).sum(dim=1)).clamp_min(SMALLEST_GAP)
    return strength * gap.log() - (labels * log_p).sum(dim=1)


def remember(memory: Tensor, rows: Tensor, p: Tensor, momentum: float) -> Tensor:
    """Move the memory float[n, K] of items `rows` towards predictions p float[b, K], in place; what it is now."""
    moved = momentum * memory[rows] + (1 - momentum) * p
    memory[rows] = moved
    return moved


def _probabilities(network: Network, x: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        return network(x).softmax(dim=1)
