"""MentorNet: a curriculum decides, by how badly a machine label is learned, how much it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.networks.mentor import N_STAGES, Mentor, Traces, fit_mentor
from models_ml.networks.network import Network
from models_ml.noise.rate import NoiseRate
from models_ml.training.loop import Batch, Minibatch, State
from models_ml.training.loss_traces import silver_losses

if TYPE_CHECKING:
    from torch import Tensor

# How much of the threshold of the batches before is kept, as published.
MEMORY = 0.5
# With fewer reference items than this a mentor would only repeat what chance made of them.
MIN_ITEMS = 10


@dataclass(frozen=True, kw_only=True)
class MentorNet(NoiseRate, Minibatch):
    """λ·Σ_gold CE + Σ_silver v·CE with v by a curriculum (Jiang et al. 2018) that sees the loss ℓ of each label.

    predefined: v = 1 where ℓ is at most ℓ_pt, below which lies as large a share of a batch's losses as labels are
    right, averaged over batches (self-paced learning). learned: v = g(ℓ, ℓ - ℓ_pt, ỹ, stage of the training), a small
    network fitted beforehand to tell right labels from wrong ones in a training on silver alone, on the items of the
    reference sample, whose truth is known. It is as good as these items are many, and holds for the noise rate that
    they show. Left out of the paper: its recurrent layer (its authors found that architectures matter little) and
    leaving out examples at random.
    """

    name: ClassVar[str] = "mentornet"
    title: ClassVar[str] = "MentorNet"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels that count less the harder they are to learn, as wrong ones are."
    )
    source: ClassVar[str] = "Jiang et al. 2018, arXiv:1712.05055"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_RATE})

    curriculum: str = parameter(
        "learned",
        "What tells right labels from wrong ones: a network that learned it on the reference sample (learned), or "
        "whether a label is among those that are easy to learn (predefined, and below ten reference items).",
        choices=("learned", "predefined"),
    )
    burn_in: float = parameter(
        0.2,
        "The first share of a training by a predefined curriculum, in which all machine labels count alike.",
        low=0.0,
        high=1.0,
    )

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        state = super().begin(data, networks, rng)
        rate = self.share_wrong(data)
        state.memory["share_right"] = 1 - rate
        state.memory["mentor"] = self._mentor(data, 1 - rate, rng) if self.curriculum == "learned" else None
        return state

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        losses = self.item_losses(networks[0](batch.x), batch)
        return [(batch.weight * self._weights(state, losses.detach(), batch) * losses).mean()]

    def stage(self, epoch: int) -> int:
        """How far the training has come, 0..99."""
        return epoch * N_STAGES // self.epochs

    def _weights(self, state: State, losses: Tensor, batch: Batch) -> Tensor:
        """v float[b], 1 for gold."""
        import torch

        mentor, ones = state.memory["mentor"], torch.ones_like(losses)
        if batch.is_gold.all() or (mentor is None and batch.epoch < self.burn_in * self.epochs):
            return ones
        threshold = self._threshold(state, losses[~batch.is_gold])
        if mentor is None:
            v = (losses <= threshold).to(losses.dtype)
        else:
            stage = torch.full_like(batch.rows, self.stage(batch.epoch))
            v = mentor.logits(losses, threshold * ones, batch.likelihood.argmax(dim=1), stage).sigmoid()
        return torch.where(batch.is_gold, ones, v)

    def _threshold(self, state: State, losses: Tensor) -> Tensor:
        """ℓ_pt after the losses of this batch."""
        now = losses.quantile(state.memory["share_right"])
        state.memory["threshold"] = MEMORY * state.memory.get("threshold", now) + (1 - MEMORY) * now
        return state.memory["threshold"]

    def _mentor(self, data: TrainingData, share_right: float, rng: np.random.Generator) -> Mentor | None:
        """What tells right from wrong where reference gold says which is which; None: too little of it."""
        import torch

        rows = np.flatnonzero(data.reference & (data.gold >= 0) & (data.silver >= 0) & (data.silver < data.n_classes))
        if len(rows) < MIN_ITEMS:
            return None
        right = data.gold[rows] == data.silver[rows]
        losses = silver_losses(data, self, rng)
        n, stages = len(losses), torch.tensor([self.stage(epoch) for epoch in range(len(losses))])
        traces = Traces(
            loss=losses[:, torch.from_numpy(rows)].flatten(),
            threshold=losses.nanquantile(share_right, dim=1).repeat_interleave(len(rows)),
            label=torch.from_numpy(data.silver[rows].astype(np.int64)).repeat(n),
            stage=stages.repeat_interleave(len(rows)),
            right=torch.from_numpy(right.astype(np.float32)).repeat(n),
        )
        return fit_mentor(traces, data.n_classes, torch.Generator().manual_seed(int(rng.integers(2**62))))
