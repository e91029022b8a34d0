"""What recipes for noisy labels share: fits of one pool that are made once, and noise matrices from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from time import perf_counter
from typing import Any, cast

import numpy as np

from benchmarks.learners import labels_alone, learner_of
from benchmarks.noisy_pools import Pool
from models_ml.arrays import Floats, Ints, Matrix
from models_ml.metrics import TINY
from models_ml.networks.linear import softmax
from models_ml.networks.network import Classifier
from models_ml.noise.strata import STRATUM_STRENGTH, stratified_transition
from models_ml.seeds import generator

N_FOLDS = 5  # of the gold, to choose between noise matrices
Answers = Floats  # what stage 1 expects of the machine, [n, K] or [n, K+1]
Estimate = Callable[[Any], Matrix]  # noise matrices float64[G, K, K+1] from some of the gold: a mask or a slice


@dataclass(frozen=True)
class Learned:
    """What a recipe ends with: who predicts, and the noise matrices that it used, float64[G, K, K+1]."""

    classifier: Classifier
    transitions: Matrix | None = None


class Stages:
    """The fits on one pool that several recipes need, each done once, and what they took."""

    def __init__(self, pool: Pool, encoder: str, seed: int) -> None:
        self.pool, self.seed, self.learner = pool, seed, learner_of(encoder)
        self.silver = labels_alone(pool.silver, pool.gold_rows)
        self.nothing = np.full(len(pool.truth), -1)
        self.n_answers = pool.n_classes + int((self.silver == pool.n_classes).any())
        self._seconds: dict[str, float] = {}
        self._used: set[str] = set()

    def rng(self, name: str) -> np.random.Generator:
        return generator(self.seed, "noise", name)

    def run(self, recipe: Callable[[Stages], Learned]) -> tuple[Learned, float]:
        """What the recipe learned, and its seconds with all that it shares with others."""
        self._used, known, started = set(), dict(self._seconds), perf_counter()
        learned = recipe(self)
        own = perf_counter() - started - sum(took for name, took in self._seconds.items() if name not in known)
        return learned, own + sum(self._seconds[name] for name in self._used)

    @cached_property
    def _first(self) -> Classifier:
        data = self.pool.data(self.nothing, self.silver)
        return self.learner.plain(data, self.rng("silver alone"))

    @cached_property
    def _first_with_failures(self) -> Classifier:
        data = replace(self.pool.data(self.nothing, self.silver), n_classes=self.n_answers)
        return self.learner.plain(data, self.rng("silver and failures"))

    @cached_property
    def _first_of_all(self) -> Classifier:
        everything = np.where(self.pool.gold >= 0, self.pool.gold, self.silver)
        return self.learner.plain(self.pool.data(self.nothing, everything), self.rng("all as silver"))

    def silver_alone(self) -> Classifier:
        """Stage 1: silver at its word, no gold."""
        return self._timed("_first")

    def all_as_silver(self) -> Classifier:
        """Stage 1 of who has no gold: all labels, nobody knows which are right."""
        return self._timed("_first_of_all")

    def answers(self, rows: Ints | None = None) -> Answers:
        """What the machine would say of the items (None: with gold): from stage 1; failures are one more answer."""
        has_failures = self.n_answers > self.pool.n_classes
        first = self._timed("_first_with_failures") if has_failures else self.silver_alone()
        return softmax(first.logits(self.pool.x[self.pool.gold_rows if rows is None else rows]))

    def _timed(self, name: str) -> Classifier:
        started = perf_counter()
        found = getattr(self, name)
        self._seconds.setdefault(name, perf_counter() - started)
        self._used.add(name)
        return cast(Classifier, found)


# ---- noise matrices


def glc_matrices(stages: Stages, answers: Answers, among: Any = slice(None)) -> Matrix:
    """The mean answer by true class (GLC), by stratum shrunk to that of all; float64[G, K, K+1].

    answers float[n_gold, …]; among: which of the gold. As published a class without gold has a uniform row.
    """
    pool, rows = stages.pool, stages.pool.gold_rows[among]
    gold, strata = pool.truth[rows], None if pool.strata is None else pool.strata[rows]
    sums, counts = _sums(answers[among], gold, pool.n_classes)
    uniform = np.full(answers.shape[1], 1 / answers.shape[1])
    pooled = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], uniform)
    found = [pooled]
    if strata is not None:
        parts = [_sums(answers[among][strata == g], gold[strata == g], pool.n_classes) for g in _strata(pool)]
        found = [(s + STRATUM_STRENGTH * pooled) / (n[:, None] + STRATUM_STRENGTH) for s, n in parts]
    return np.pad(np.stack(found), ((0, 0), (0, 0), (0, pool.n_classes + 1 - answers.shape[1])))


def direct_matrices(stages: Stages, among: Any = slice(None)) -> Matrix:
    """Counts of gold against silver, shrunk (noise/transition.py); float64[G, K, K+1]."""
    pool, gold = stages.pool, np.full(len(stages.pool.truth), -1)
    rows = pool.gold_rows[among]
    gold[rows] = pool.truth[rows]
    strata = np.zeros(len(gold), np.int64) if pool.strata is None else pool.strata
    return stratified_transition(gold, pool.silver, strata, pool.n_classes)


def chosen_matrices(stages: Stages) -> Matrix:
    """Of counts and GLC's those that predict the machine's labels of the gold better, out of fold."""
    answers = stages.answers()
    kinds: list[Estimate] = [partial(direct_matrices, stages), partial(glc_matrices, stages, answers)]
    return min(kinds, key=lambda estimate: surprise(stages, estimate))(slice(None))


def surprise(stages: Stages, estimate: Estimate) -> float:
    """The log-loss of the machine's labels of the gold, each by matrices that were estimated without its fold."""
    pool, rows = stages.pool, stages.pool.gold_rows
    strata = np.zeros(len(rows), np.int64) if pool.strata is None else pool.strata[rows]
    fold, loss = stages.rng("folds").integers(0, N_FOLDS, len(rows)), 0.0
    for f in np.unique(fold):
        out = fold == f
        matrices = estimate(~out)
        p = matrices[np.minimum(strata[out], len(matrices) - 1), pool.truth[rows[out]], pool.silver[rows[out]]]
        loss -= float(np.log(np.maximum(p, TINY)).sum())
    return loss


def choose_strata(stages: Stages, candidates: Sequence[Ints]) -> None:
    """Give the pool the strata that predict the machine's labels of the gold best, or none."""
    answers, pool = stages.answers(), stages.pool
    losses = {None: surprise(stages, partial(glc_matrices, stages, answers))}
    for place, strata in enumerate(candidates):
        stages.pool = replace(pool, strata=strata)
        losses[place] = surprise(stages, partial(glc_matrices, stages, answers))
    best = min(losses, key=lambda place: losses[place])
    stages.pool = pool if best is None else replace(pool, strata=candidates[best])


def _sums(answers: Answers, gold: Ints, n_classes: int) -> tuple[Matrix, Floats]:
    """Sums of answers and counts of items by class."""
    of_class = np.eye(n_classes)[gold]
    return of_class.T @ answers.astype(np.float64), of_class.sum(axis=0)


def _strata(pool: Pool) -> range:
    return range(0 if pool.strata is None else int(pool.strata.max(initial=-1)) + 1)
