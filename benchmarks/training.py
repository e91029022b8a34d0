"""What does the generic training loop cost? Its speed beside loops written by hand in PyTorch, in the same run."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, ClassVar

import numpy as np

from benchmarks.learners import BATCH, RATE, PlainOnWords, Words
from models_ml.arrays import AnyArray, Ints
from models_ml.encoders.words import SLOTS, VOCABULARY
from models_ml.methods.contract import TrainingData
from models_ml.networks.words import DIMENSIONS
from models_ml.seeds import generator
from models_ml.training.loop import Minibatch

WIDTH = 384  # of MiniLM's vectors
WORDS_LEFT = 5.2  # of an SST phrase, once stop words are gone; the mean

FIELDS = """
Prints one JSON object per model:
  model            linear: a head on frozen vectors; words: the mean of a text's word vectors, and a head
  device           cpu
  samples_per_s    items that the loop trains on per second (models_ml/training/loop.py), epochs × items / seconds
  ratio_to_plain   that over the same of the loop by hand, the median of the repeats; above 1 the loop is faster
  low, high        the smallest and largest ratio of the repeats
  plain_per_s      items per second of the loop by hand
Both do the same: Adam, cross-entropy, items in a new order in each epoch. By hand the words' table is stepped as
torch.optim.Adam does it, all of it in each step; the loop moves the rows that a batch has, to the same numbers.
"""
Fit = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class _Head(Minibatch):
    name: ClassVar[str] = "head"


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    import torch

    torch.set_num_threads(options.threads)
    for model in options.models:
        x, y = _made_up(model, options.items)
        data = _data(x, y, options.classes)
        loop, plain = _loop(model, data, options.epochs), _plain(model, x, y, options)
        _seconds(plain, loop, is_even=True)  # what is loaded only once
        pairs = [_seconds(plain, loop, is_even=bool(i % 2)) for i in range(options.repeats)]
        ratios, seen = [by_hand / ours for by_hand, ours in pairs], options.items * options.epochs
        print(
            json.dumps(
                {
                    "model": model,
                    "device": "cpu",
                    "samples_per_s": round(seen / median(ours for _, ours in pairs)),
                    "ratio_to_plain": round(median(ratios), 3),
                    "low": round(min(ratios), 3),
                    "high": round(max(ratios), 3),
                    "plain_per_s": round(seen / median(by_hand for by_hand, _ in pairs)),
                }
            ),
            flush=True,
        )


def _made_up(model: str, items: int) -> tuple[AnyArray, Ints]:
    """Unit vectors, or numbers of words as frequent as in texts; and labels that follow from them, about."""
    rng = generator(0, "training", model)
    if model == "linear":
        x = rng.standard_normal((items, WIDTH)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x, (x[:, 0] > 0).astype(np.int64)
    ranks = np.arange(1, VOCABULARY + 1)
    words = np.zeros((items, SLOTS), np.int32)
    for row, n in zip(words, np.minimum(rng.geometric(1 / WORDS_LEFT, items), SLOTS), strict=True):
        row[-n:] = rng.choice(ranks, n, p=1 / ranks / (1 / ranks).sum())
    return words, (words.max(axis=1) % 2).astype(np.int64)


def _data(x: AnyArray, y: Ints, n_classes: int) -> TrainingData:
    nothing, some = np.full(len(y), -1), np.full((1, n_classes, n_classes + 1), 1 / (n_classes + 1))
    return TrainingData(x, nothing, nothing >= 0, y, some, n_classes)


def _loop(model: str, data: TrainingData, epochs: int) -> Fit:
    rng = generator(0, "fit")
    if model == "linear":
        return lambda: _Head(epochs=epochs, gold_weight=1.0).fit(data, rng)
    return lambda: Words().train(PlainOnWords, data, rng, epochs=epochs)


def _plain(model: str, x: AnyArray, y: Ints, options: argparse.Namespace) -> Fit:
    """As one writes it in PyTorch."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    class Averaging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY + 1, DIMENSIONS, padding_idx=0)
            self.head = nn.Linear(DIMENSIONS, options.classes)

        def forward(self, numbers: Any) -> Any:
            return self.head(self.embedding(numbers).mean(dim=1))

    size, rate = (_Head().batch_size, _Head().learning_rate) if model == "linear" else (BATCH, RATE)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    n_steps = options.epochs * -(-len(y) // size)

    def fit() -> object:
        network = nn.Linear(WIDTH, options.classes) if model == "linear" else Averaging()
        adam = torch.optim.Adam(network.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / n_steps)
        for _ in range(options.epochs):
            order = torch.randperm(len(labels))
            for first in range(0, len(labels), size):
                rows = order[first : first + size]
                loss = cross_entropy(network(inputs[rows]), labels[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
        return network

    return fit


def _seconds(plain: Fit, loop: Fit, is_even: bool) -> tuple[float, float]:
    """Of both, one after the other; which is first changes, for machines slow down and speed up."""
    took = {}
    for fit in (plain, loop) if is_even else (loop, plain):
        started = perf_counter()
        fit()
        took[fit] = perf_counter() - started
    print(f"by hand {took[plain]:.2f} s, loop {took[loop]:.2f} s", file=sys.stderr)
    return took[plain], took[loop]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--models", nargs="+", choices=["linear", "words"], default=["linear", "words"], help="(default: both)")
    add("--items", type=int, default=10_000, metavar="N", help="made up (default %(default)s)")
    add("--classes", type=int, default=2, metavar="K", help="columns of the head (default %(default)s)")
    add("--epochs", type=int, default=3, metavar="E", help="of each fit (default %(default)s)")
    add("--repeats", type=int, default=5, metavar="R", help="of each pair of fits (default %(default)s)")
    add("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 1)), help="(default: OMP_NUM_THREADS, 1)")
    return parser


if __name__ == "__main__":
    main()
