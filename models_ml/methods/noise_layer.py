"""A noise matrix learned with the classifier, from labels alone: identity at first, then let loose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.losses import Targets, make_targets, marginal_losses
from models_ml.methods.contract import TrainingData, parameter
from models_ml.networks.network import Network
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor

# What each row of Q holds on its diagonal when it is let loose: nearly identity, but far enough from it that softmax
# still has a slope.
DIAGONAL = 0.9


@dataclass(frozen=True, kw_only=True)
class NoiseLayer(Minibatch):
    """λ·Σ_gold CE + Σ_silver -log[(Qᵀp)_ỹ] + β·tr(Q)/K, Q float[K, K+1] = softmax(b) by row; column K: no answer.

    Q is the identity, and failures say nothing, while the classifier finds its feet; then b is trained with it. The
    penalty makes Q as diffuse as the labels allow: without it Q = identity explains them as well once the classifier
    has learned the noise. Without gold Q may take one class for another.
    """

    name: ClassVar[str] = "noise_layer"
    title: ClassVar[str] = "Noise layer"
    sentence: ClassVar[str] = (
        "Learns from gold and machine labels, and with them how often the machine says one class when another is true."
    )
    source: ClassVar[str] = "Sukhbaatar et al. 2014, arXiv:1406.2080"

    # A quarter of the training is about when the linear classifier has learned what most labels agree on.
    frozen: float = parameter(
        0.25, "For which part of the training the machine is taken at its word.", low=0.0, high=1.0
    )
    # Where silver said 0 of half of class 1 and failed in a tenth, .05 to .2 found the truth (.50 learned, .495 true);
    # 0 stopped short of it (.58), .5 went beyond (.38). Accuracy hardly depends on it.
    trace_penalty: float = parameter(
        0.1, "How strongly the learned matrix is pushed away from a machine that is always right.", low=0.0, high=10.0
    )
    layer_rate: float = parameter(0.05, "How long the steps of the learned matrix are.", low=0.0, high=10.0)

    def targets(self, data: TrainingData) -> Targets:
        """Failures train too: they are likely alike under every class until Q says otherwise."""
        k = data.n_classes
        at_its_word = np.hstack([np.eye(k), np.full((k, 1), 1.0 / k)])
        return make_targets(data.gold, data.silver, k, self.gold_weight, at_its_word[None])

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        import torch

        state, k = super().begin(data, networks, rng), data.n_classes
        rows = np.full((k, k + 1), (1 - DIAGONAL) / k)
        np.fill_diagonal(rows, DIAGONAL)
        layer = torch.from_numpy(np.log(rows).astype(np.float32)).requires_grad_()
        memory = {"layer": layer, "silver": torch.from_numpy(data.silver.astype(np.int64))}
        return State([*state.optimisers, torch.optim.Adam([layer], lr=self.layer_rate)], memory)

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        logits = networks[0](batch.x)
        if batch.epoch < self.frozen * self.epochs:
            return [(batch.weight * marginal_losses(logits, batch.likelihood)).mean()]
        q = state.memory["layer"].softmax(dim=1)
        said = state.memory["silver"][batch.rows].clamp_min(0)  # of gold that was never asked: not read
        likelihood = batch.likelihood.where(batch.is_gold[:, None], q.T[said])
        loss = (batch.weight * marginal_losses(logits, likelihood)).mean()
        return [loss + self.trace_penalty * q.diagonal().mean()]
