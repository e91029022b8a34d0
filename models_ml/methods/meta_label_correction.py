"""Meta label correction: a second network learns to correct machine labels so that learning from them helps on gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.networks.corrector import make_corrector
from models_ml.networks.linear_gradients import along, head_gradient, residuals
from models_ml.networks.network import Network
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MetaLabelCorrection(Minibatch):
    """λ·Σ_gold CE + Σ_silver CE(g(h(x), ỹ), f(x)), Zheng et al. 2021; g lowers the loss of gold after a step on silver.

    The derivative of the loss of a reference batch at θ' = θ - η∇L_silver(g) by g is exact for a linear head (one step
    ahead, k = 1 in the paper; steps before it are left out), though f itself is stepped by Adam. In place of the
    paper's skip link g begins as trust in the machine label. No reference gold: g stays what it was.
    """

    name: ClassVar[str] = "meta_label_correction"
    title: ClassVar[str] = "Meta label correction"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels as a second network corrects them, which is judged by how well the "
        "reference sample is then predicted."
    )
    source: ClassVar[str] = "Zheng et al. 2021, arXiv:1911.03809"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GOLD})

    # On eight made-up sets (160 steps) .01 to .05 did alike and .02 lost at most 3 points to cross entropy, .1 up to 4.
    # The corrector is scaled so that a step moves no part of its logits farther than this.
    correction_rate: float = parameter(
        0.02, "How long the first steps of the correcting network are.", low=0.0, high=10.0
    )
    # Of unit vectors a step of 1 moves logits by less than 1, so that the gradient at θ' is still that near θ.
    look_ahead: float = parameter(
        1.0, "How long the step on corrected labels is after which gold judges them.", low=1e-6, high=1e3
    )

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        import torch

        state = super().begin(data, networks, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        head: Any = networks[0].head
        corrector = make_corrector(head.in_features, data.n_classes, generator)
        optimiser = torch.optim.Adam(corrector.parameters.values(), lr=self.correction_rate)
        return State([*state.optimisers, optimiser], {"corrector": corrector})

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        import torch

        features = networks[0].features(batch.x)
        logits = networks[0].head(features)
        corrected = state.memory["corrector"](features.detach(), batch.likelihood.argmax(dim=1))
        likelihood = torch.where(batch.is_gold[:, None], batch.likelihood, corrected.detach())
        loss = (batch.weight * soft_losses(logits, likelihood)).mean()
        reference = batch.reference_batch()
        if reference is None or batch.is_gold.all():
            return [loss]
        silver = ~batch.is_gold
        pull = meta_pull(networks[0], features[silver].detach(), corrected[silver].detach(), reference, self.look_ahead)
        return [loss + (corrected[silver] * pull).sum()]


def soft_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """-Σ_k y_k log p_k, float[b] of float[b, K] twice."""
    return -(labels * logits.log_softmax(dim=1)).sum(dim=1)


def meta_pull(network: Network, features: Tensor, labels: Tensor, reference: Batch, step: float) -> Tensor:
    """∂/∂y of the reference batch's mean loss after a step of this length on soft_losses of labels y, float[b, K].

    features float[b, h], labels float[b, K]. The loss moves by η/b ⟨e_k ⊗ (h_i, 1), ∇L_reference(θ')⟩ with y_ik.
    """
    now = network.head(features).detach()
    trusted = network.features(reference.x).detach()
    moved = network.head(trusted).detach() - step * along(trusted, head_gradient(features, now.softmax(dim=1) - labels))
    gradient = head_gradient(trusted, residuals(moved, reference.likelihood))
    return step / len(features) * along(features, gradient)
