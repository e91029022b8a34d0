"""Co-teaching: two networks, each of which learns what the other finds easy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.networks.linear import mean_classifier
from models_ml.networks.network import Classifier, Network
from models_ml.noise.rate import NoiseRate
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CoTeaching(NoiseRate, Minibatch):
    """λ·Σ_gold CE + Σ_kept CE: of a batch's silver a network learns the share R(t) whose loss is smallest to its peer.

    R(t) = 1 - τ·min(t^c/T_k, 1) in epoch t = 0, 1, …: c shapes the way, the last value is 1 - τ whatever c is. The loss
    is the mean over what is kept, and is divided by nothing else. The networks begin with other weights and see the
    items in other orders; their mean predicts. Gold is always kept.
    """

    name: ClassVar[str] = "co_teaching"
    title: ClassVar[str] = "Co-teaching"
    sentence: ClassVar[str] = (
        "Trains two classifiers, each on gold and on those machine labels that the other finds easiest to believe."
    )
    source: ClassVar[str] = "Han et al. 2018, arXiv:1804.06872"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_RATE})
    n_networks: ClassVar[int] = 2

    noise_rate: str = parameter(
        "auto",
        "How many machine labels are left out in the end: as many as the reference sample finds wrong (auto), or the "
        "share given below (given).",
        choices=("auto", "given"),
    )
    given_noise_rate: float = parameter(
        0.2, "The share of machine labels that are wrong; used where the noise rate is given.", low=0.0, high=1.0
    )
    # T_k = 10 and c = 1 as published, there of 200 epochs.
    ramp: float = parameter(
        10.0,
        "After how many epochs as many are left out as ever will be, where the exponent is 1.",
        low=1.0,
        high=10_000.0,
    )
    exponent: float = parameter(
        1.0, "1: the share that is left out grows steadily; above 1, more slowly at first.", low=0.1, high=10.0
    )

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        state = super().begin(data, networks, rng)
        rate = self.share_wrong(data)
        return State(state.optimisers, {"rate": rate, "items": self._all_items(data), "order": np.empty(0, np.int64)})

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        share = kept_share(batch.epoch, state.memory["rate"], self.ramp, self.exponent)
        first, second = networks
        other = self._in_another_order(state, batch, rng)
        return [self._taught(first, second, batch, share), self._taught(second, first, other, share)]

    def finish(self, state: State, networks: Sequence[Network]) -> Classifier:
        return mean_classifier([network.classifier() for network in networks])

    def _taught(self, network: Network, peer: Network, batch: Batch, share: float) -> Tensor:
        """The network's mean loss on what its peer keeps."""
        import torch

        with torch.no_grad():
            to_peer = self.item_losses(peer(batch.x), batch)
        kept = batch.part(easiest(to_peer, batch.is_gold, share))
        return (kept.weight * self.item_losses(network(kept.x), kept)).sum() / max(1, len(kept.rows))

    def _all_items(self, data: TrainingData) -> Batch:
        """Everything that trains in one batch, from which the second network draws."""
        import torch

        targets = self.targets(data)
        return Batch(
            x=torch.from_numpy(data.inputs[targets.rows]),
            likelihood=torch.from_numpy(targets.likelihood),
            weight=torch.from_numpy(targets.weight_of_mean_one),
            rows=torch.from_numpy(targets.rows),
            is_gold=torch.from_numpy(data.gold[targets.rows] >= 0),
            epoch=0,
            reference_batch=lambda: None,
        )

    def _in_another_order(self, state: State, batch: Batch, rng: np.random.Generator) -> Batch:
        """As many items as the batch has, drawn without repeats until all were seen."""
        import torch

        items, order, n = state.memory["items"], state.memory["order"], len(batch.rows)
        if len(order) < n:
            order = rng.permutation(len(items.rows))
        state.memory["order"] = order[n:]
        return replace(items.part(torch.from_numpy(order[:n])), epoch=batch.epoch)


def kept_share(epoch: int, rate: float, ramp: float, exponent: float) -> float:
    """R(t) = 1 - τ·min(t^c/T_k, 1)."""
    return 1 - rate * min(epoch**exponent / ramp, 1.0)


def easiest(losses: Tensor, is_gold: Tensor, share: float) -> Tensor:
    """All gold and, of the others, the `share` with the smallest losses float[b]; places int64."""
    import torch

    others = (~is_gold).nonzero()[:, 0]
    n = round(share * len(others))
    return torch.cat([is_gold.nonzero()[:, 0], others[losses[others].argsort(stable=True)[:n]]])
