"""Truncated generalized cross entropy: labels that the model finds too unlikely pull no more at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.losses import generalized_losses
from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.networks.network import Network
from models_ml.noise.rate import pooled_noise_rate
from models_ml.training.loop import Batch, State
from models_ml.training.silver_loss import SilverLoss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TruncatedGCE(SilverLoss):
    """λ·Σ_gold CE + Σ_silver w·(1 - p_ỹ^q)/q + (1 - w)·(1 - k^q)/q with w = 1[p_ỹ > k].

    w is decided by the network in training on the items that it trains on, at the beginning of each epoch from
    `prune_from` on. No label outside the training data is looked at and no best epoch is chosen: the last one predicts.
    A linear classifier of many classes may find no label likelier than k. So at most that share of labels is left out
    that reference gold finds wrong, the least likely first.
    """

    name: ClassVar[str] = "truncated_gce"
    title: ClassVar[str] = "Truncated generalized cross-entropy"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels with a loss that forgives wrong ones; those the model finds too "
        "unlikely are left out, decided anew each time all items have been seen."
    )
    source: ClassVar[str] = "Zhang & Sabuncu 2018, arXiv:1805.07836"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_RATE})

    q: float = parameter(
        0.7,
        "0 is cross-entropy, 1 is absolute error: the larger, the less a wrong label is learned.",
        low=0.01,
        high=1.0,
    )
    # As published.
    k: float = parameter(
        0.5, "A machine label that the model finds no likelier than this may be left out.", low=0.0, high=1.0
    )
    # Published: 40 of 120 epochs.
    prune_from: int = parameter(7, "How many epochs are over before labels are left out.", low=0, high=10_000)

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        import torch

        state = super().begin(data, networks, rng)
        is_silver = (data.gold < 0) & (data.silver >= 0) & (data.silver < data.n_classes)
        rows = np.flatnonzero(is_silver)
        state.memory["rows"], state.memory["label"] = torch.from_numpy(rows), torch.from_numpy(data.silver[rows]).long()
        state.memory["kept"] = torch.ones(len(data.gold))
        state.memory["most"] = pooled_noise_rate(data)
        return state

    def epoch(
        self, state: State, networks: Sequence[Network], score_all: Callable[[Network], Tensor], epoch: int
    ) -> None:
        if epoch >= self.prune_from:
            rows, label = state.memory["rows"], state.memory["label"]
            p = score_all(networks[0])[rows].softmax(dim=1).gather(1, label[:, None])[:, 0]
            state.memory["kept"][rows] = (~pruned(p, self.k, state.memory["most"])).float()

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        """The loss of what is left out is a constant, so it may as well be zero."""
        kept = replace(batch, weight=batch.weight * state.memory["kept"][batch.rows])
        return super().step(state, networks, kept, rng)

    def silver_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        return generalized_losses(logits, batch.likelihood, self.q)


def pruned(p: Tensor, k: float, most: float) -> Tensor:
    """Which labels are left out: those of probability k or less, the least likely first, at most the share `most`.

    p float[n] -> bool[n].
    """
    import torch

    least = p.argsort(stable=True)[: int(most * len(p))]
    return torch.zeros(len(p), dtype=torch.bool).scatter(0, least, p[least] <= k)
