"""Learning to reweight: a machine label counts as far as a step on it would also help on the reference sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.methods.contract import Need
from models_ml.networks.linear_gradients import along, head_gradient, residuals
from models_ml.networks.network import Network
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LearningToReweight(Minibatch):
    """λ·Σ_gold CE + Σ_silver w·CE with w_i ∝ max(0, ⟨∇ℓ_i, ∇L_reference⟩) in each batch.

    The paper takes a virtual step θ - α∇Σ ε_i ℓ_i and differentiates the loss of a trusted batch after it by ε at 0;
    that derivative is -α⟨∇ℓ_i, ∇L⟩, which a linear head gives in closed form (below other networks it stands for the
    last layer alone). Only reference gold is the trusted batch. Here gold trains too, with its own weight, and the
    weights of silver have mean 1, where the paper's sum to 1 over a batch. No reference gold: cross entropy.
    """

    name: ClassVar[str] = "learning_to_reweight"
    title: ClassVar[str] = "Learning to reweight"
    sentence: ClassVar[str] = (
        "Learns from gold, and in each step from those machine labels that also help to predict the reference sample."
    )
    source: ClassVar[str] = "Ren et al. 2018, arXiv:1803.09050"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GOLD})

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        features = networks[0].features(batch.x)
        logits = networks[0].head(features)
        useful = self.usefulness(networks[0], features.detach(), logits.detach(), batch, rng)
        losses = batch.weight * self.item_losses(logits, batch)
        return [losses.mean() if useful is None else (share_out(useful, batch.is_gold) * losses).mean()]

    def usefulness(
        self, network: Network, features: Tensor, logits: Tensor, batch: Batch, rng: np.random.Generator
    ) -> Tensor | None:
        """What the weights of silver are proportional to where it is above 0, float[b]; None: all weigh the same."""
        reference = batch.reference_batch()
        if reference is None:
            return None
        trusted = network.features(reference.x).detach()
        residual = residuals(network.head(trusted).detach(), reference.likelihood)
        moved = along(features, head_gradient(trusted, residual))
        return (residuals(logits, batch.likelihood) * moved).sum(dim=1)


def share_out(useful: Tensor, is_gold: Tensor) -> Tensor:
    """Weights float[b]: 1 for gold; for silver max(0, useful) over its mean, or 0 for all where none is useful."""
    import torch

    positive = useful.clamp_min(0.0) * ~is_gold
    mean = positive.sum() / (~is_gold).sum().clamp_min(1)
    return torch.where(is_gold, torch.ones_like(useful), positive / mean.clamp_min(1e-30))
