"""Noisy label annealing: machine labels that the model contradicts are passed over, ever more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.methods.contract import TrainingData, parameter
from models_ml.networks.network import Network
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NoisyLabelAnnealing(Minibatch):
    """λ·Σ_gold CE + Σ_silver CE over what is kept: step t passes over ỹ if max p > μ_t and argmax p ≠ ỹ.

    μ_t falls from `first_threshold` in the first step to 1/K in the last; the paper does not say how, so in a straight
    line. An item that is passed over in one step may come back in the next. Gold is never passed over.
    """

    name: ClassVar[str] = "noisy_label_annealing"
    title: ClassVar[str] = "Noisy label annealing"
    sentence: ClassVar[str] = (
        "Learns from gold and machine labels, and passes over those machine labels that it contradicts, at first only "
        "where it is very sure, later more and more."
    )
    source: ClassVar[str] = "Wang et al. 2021 (UDG), arXiv:2109.09193"

    first_threshold: float = parameter(  # the paper's
        0.9, "How sure it must be in the beginning to pass over a machine label.", low=0.0, high=1.0
    )

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        state = super().begin(data, networks, rng)
        n_steps = self.epochs * -(-len(self.targets(data).rows) // self.batch_size)
        return State(state.optimisers, {"step": 0, "n_steps": n_steps})

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        t, n_steps = state.memory["step"], state.memory["n_steps"]
        state.memory["step"] += 1
        logits = networks[0](batch.x)
        threshold = annealed(t / max(1, n_steps - 1), self.first_threshold, logits.shape[1])
        kept = batch.is_gold | ~contradicted(logits.detach().softmax(dim=1), batch.likelihood.argmax(dim=1), threshold)
        losses = batch.weight * self.item_losses(logits, batch)
        return [(losses * kept).sum() / kept.sum().clamp_min(1)]


def annealed(progress: float, first: float, n_classes: int) -> float:
    """μ at `progress` from 0 to 1: from `first` to 1/K in a straight line."""
    return first + progress * (1 / n_classes - first)


def contradicted(p: Tensor, label: Tensor, threshold: float) -> Tensor:
    """Where p float[b, K] is surer than the threshold of another class than label int64[b]; bool[b]."""
    confidence, likeliest = p.max(dim=1)
    return (confidence > threshold) & (likeliest != label)
