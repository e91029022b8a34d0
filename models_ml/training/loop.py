"""The minibatch loop: what every method trained by gradient steps shares. It knows no method.

A method overrides as little as it needs: `item_losses` for another loss; `step` for another way to use a batch (several
networks, meta-gradients, mixed labels); `begin` for parameters, optimisers and memory of its own; `epoch` for what is
decided once an epoch (pruning, mixtures of losses); `finish` for what predicts in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from models_ml import registry
from models_ml.arrays import AnyArray, Ints
from models_ml.losses import Targets, marginal_losses
from models_ml.methods.contract import Method, TrainingData, parameter
from models_ml.networks.network import Classifier, Network

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


# Batches whose items are fetched at once, which makes each cheaper; of 1 to 64 this was as good as any that takes more
# memory (with 384 numbers an item and 128 items a batch, 1.6 MB).
AHEAD = 8


@dataclass(frozen=True)
class Batch:
    """Some items that train: x float32[b, …]; likelihood float32[b, K] and weight float32[b] (mean 1 over all items) as
    in losses.Targets; rows int64[b]: their places in TrainingData; is_gold bool[b]; epoch, from 0.

    reference_batch(): gold of the reference sample to learn how to learn from, drawn anew each time; None where there
    is none.
    """

    x: Tensor
    likelihood: Tensor
    weight: Tensor
    rows: Tensor
    is_gold: Tensor
    epoch: int
    reference_batch: Callable[[], Batch | None]

    def part(self, at: slice | Tensor) -> Batch:
        """The items of these places; a slice copies nothing."""
        labels = self.likelihood[at], self.weight[at]
        return Batch(self.x[at], *labels, self.rows[at], self.is_gold[at], self.epoch, self.reference_batch)


@dataclass
class State:
    """What one fit keeps between steps: optimisers, all stepped after each batch, and what a method remembers."""

    optimisers: list[Optimizer]
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Minibatch(Method):
    """A method that minimises losses of random batches, Σ weight·loss + l2/2·‖weights‖² as all others do."""

    reproduces: ClassVar[Literal["bits", "seed"]] = "seed"
    n_networks: ClassVar[int] = 1
    network: ClassVar[str] = "linear"

    # On TREC (three seeds, a robust loss) 20 epochs of 128 gave .760; of 64 .761 in twice the time, of 256 .756, and 10
    # epochs .747. Of .02, .05, .1 and .3 the rate of .1 came nearest to the minimum that full batches find.
    epochs: int = parameter(20, "How often each item is seen.", low=1, high=10_000)
    batch_size: int = parameter(128, "How many items a step sees.", low=1, high=100_000)
    learning_rate: float = parameter(
        0.1, "How long the first steps are; later ones shrink to zero.", low=0.0, high=10.0
    )

    def fit(self, data: TrainingData, rng: np.random.Generator) -> Classifier:
        import torch

        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        make = registry.network(self.network)
        networks = [make(data.inputs.shape[1], data.n_classes, generator) for _ in range(self.n_networks)]
        rows = _Rows(data, self.targets(data), rng)
        state = self.begin(data, networks, rng)
        if len(rows):
            self._train(state, networks, rows, rng)
        return self.finish(state, networks)

    def _train(self, state: State, networks: Sequence[Network], rows: _Rows, rng: np.random.Generator) -> None:
        from torch.optim.lr_scheduler import LambdaLR

        n_steps = self.epochs * -(-len(rows) // self.batch_size)
        schedules = [LambdaLR(optimiser, lambda step: self.rate(step / n_steps)) for optimiser in state.optimisers]
        for epoch in range(self.epochs):
            self.epoch(state, networks, rows.score_all, epoch)
            for batch in rows.batches(self.batch_size, epoch):
                _update(state.optimisers, self.step(state, networks, batch, rng))
                for schedule in schedules:
                    schedule.step()

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        """An optimiser per network; `data` says how many items a memory needs."""
        decay = self.penalty / max(float(self.targets(data).weight.sum()), 1.0)
        return State([network.optimiser(decay, self.learning_rate) for network in networks])

    def rate(self, done: float) -> float:
        """The share of the learning rate that a step takes when this share of the steps is done."""
        return 1 - done

    def epoch(
        self, state: State, networks: Sequence[Network], score_all: Callable[[Network], Tensor], epoch: int
    ) -> None:
        """Called before each epoch; score_all(network): logits float32[n, K] of all items of the data."""

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        """One loss per network, to be minimised; here the mean of the batch's weighted losses."""
        return [(batch.weight * self.item_losses(network(batch.x), batch)).mean() for network in networks]

    def item_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """float32[b]: how badly logits float32[b, K] explain each label."""
        return marginal_losses(logits, batch.likelihood)

    def finish(self, state: State, networks: Sequence[Network]) -> Classifier:
        """What predicts; here the first network."""
        return networks[0].classifier()

    def load(self, state: Mapping[str, AnyArray]) -> Classifier:
        """Undo `Classifier.state`, as the network does."""
        return cast(Classifier, registry.find(registry.NETWORKS, self.network).load(state))


def _update(optimisers: Sequence[Optimizer], losses: Sequence[Tensor]) -> None:
    for optimiser in optimisers:
        optimiser.zero_grad()
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    for optimiser in optimisers:
        optimiser.step()


class _Rows:
    """The items that train, as tensors."""

    def __init__(self, data: TrainingData, targets: Targets, rng: np.random.Generator) -> None:
        import torch

        self._rng = rng
        self._inputs, self._rows = torch.from_numpy(data.inputs), torch.from_numpy(targets.rows)
        self._likelihood = torch.from_numpy(targets.likelihood)
        self._weight = torch.from_numpy(targets.weight_of_mean_one)
        self._is_gold = torch.from_numpy(data.gold[targets.rows] >= 0)
        self._reference = np.flatnonzero(data.reference[targets.rows])

    def __len__(self) -> int:
        return len(self._rows)

    def batches(self, size: int, epoch: int) -> Iterator[Batch]:
        """All items once, in random order."""
        order = self._rng.permutation(len(self))
        for start in range(0, len(self), size * AHEAD):
            some = self._batch(order[start : start + size * AHEAD], size, epoch)
            for first in range(0, len(some.rows), size):
                yield some.part(slice(first, first + size))

    def score_all(self, network: Network) -> Tensor:
        import torch

        with torch.no_grad():
            return network(self._inputs)

    def _batch(self, places: Ints, size: int, epoch: int) -> Batch:
        import torch

        at = torch.from_numpy(places)
        rows = self._rows[at]
        return Batch(
            x=self._inputs[rows],
            likelihood=self._likelihood[at],
            weight=self._weight[at],
            rows=rows,
            is_gold=self._is_gold[at],
            epoch=epoch,
            reference_batch=lambda: self._draw_reference(size, epoch),
        )

    def _draw_reference(self, size: int, epoch: int) -> Batch | None:
        if not len(self._reference):
            return None
        places = self._rng.permutation(self._reference)[:size]
        return self._batch(places, size, epoch)
