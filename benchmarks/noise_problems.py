"""Which pools a run of `benchmarks.noise` learns from: a seed's sample of the files, its noise and its gold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.noise_stages import Stages, choose_strata
from benchmarks.noise_strata import AUTO, NONE, observable, strata_of
from benchmarks.noisy_pools import Inputs, Noise, Pool, Rows, sample_of
from models_ml.arrays import AnyArray, Positions
from models_ml.seeds import generator


@dataclass(frozen=True)
class Sample:
    """What all problems of a seed share."""

    rows: Rows
    test_rows: Rows
    inputs: Inputs
    seed: int

    @cached_property
    def x(self) -> tuple[AnyArray, AnyArray]:
        """Inputs of the rows and of the test rows."""
        return self.inputs.of(self.rows, self.test_rows)


@dataclass(frozen=True)
class Problem:
    """One pool; made when the first method asks for it."""

    sample: Sample
    noise: Noise
    n_gold: int
    encoder: str
    strata: str

    @cached_property
    def stages(self) -> Stages:
        rows = self.sample.rows
        strata = None if self.strata in (NONE, AUTO) else strata_of(self.strata, rows)
        stages = Stages(self._pool(strata), self.encoder, self.sample.seed)
        if self.strata == AUTO:
            choose_strata(stages, observable(rows))
        return stages

    def _pool(self, strata: Positions | None) -> Pool:
        rows, seed = self.sample.rows, self.sample.seed
        names = sorted({row["label"] for row in rows})
        truth, test = (_places(part, names) for part in (rows, self.sample.test_rows))
        order = generator(seed, "noise", "order").permutation(len(rows))
        return Pool(
            x=self.sample.x[0],
            truth=truth,
            silver=self.noise.labels(rows, names, truth, generator(seed, "noise", "labels")),
            gold_rows=order[len(rows) - self.n_gold :],
            x_test=self.sample.x[1],
            test=test,
            n_classes=len(names),
            strata=strata,
        )


def problems(rows: Rows, test_rows: Rows, inputs: Inputs, noises: Sequence[Noise], options: Any) -> Iterator[Problem]:
    """One per seed and noise; `options`: items, seeds, gold or gold_fraction, encoder, strata."""
    for seed in options.seeds:
        part = [rows[i] for i in sample_of(len(rows), options.items, seed)]
        n_gold = min(len(part), options.gold if options.gold is not None else int(len(part) * options.gold_fraction))
        sample = Sample(part, test_rows, inputs, seed)
        for noise in noises:
            yield Problem(sample, noise, n_gold, options.encoder, options.strata)


def _places(rows: Rows, names: Sequence[str]) -> Positions:
    """The class of each row; ValueError for a label that no row to train on has."""
    places = {name: place for place, name in enumerate(names)}
    unknown = next((row["label"] for row in rows if row["label"] not in places), None)
    if unknown is not None:
        raise ValueError(f"The label {unknown!r} of the test file is not among the labels to train on.")
    return np.array([places[row["label"]] for row in rows], np.int64)
