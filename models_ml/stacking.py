"""The stack: logistic regression on an item's vector and its machine label together, fitted on gold alone.

Stacked generalisation (Wolpert 1992, Neural Networks 5:241) with the machine as one member and the vector itself beside
it, so that it learns where the machine is to be believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models_ml.arrays import Array, Bools, Floats, Ints, Matrix
from models_ml.calibration import safe_log, uniform_noise
from models_ml.losses import Objective, Targets, marginal_likelihood
from models_ml.metrics import item_log_loss
from models_ml.networks.linear import LinearClassifier
from models_ml.training.full_batch import ROUGH, SOLVER, SolverConfig, fit_linear


@dataclass(frozen=True)
class StackConfig:
    """What a stack sees and how it is held back."""

    # Falling, because each fit starts from the one before. Of the summed loss; with inputs three times as long they are
    # those of gold alone (methods/contract.py) and one stronger.
    l2: tuple[float, ...] = (30.0, 10.0, 3.0, 1.0, 0.3)
    # Length of an item's vector: centred log-probabilities differ by about 3 between a sure label and the others, and
    # under one penalty whatever is shorter counts for less.
    vector_length: float = 3.0
    # A label of unknown confidence is taken to be wrong this often, which is the prior of noise/transition.py. Another
    # value only stretches the scores, and the weights undo that.
    silver_error: float = 0.2
    # With less gold there is no stack: on 77 classes after 100 labels it cost 4 points of what was delivered.
    gold_per_class: int = 5


STACK = StackConfig()


@dataclass(frozen=True)
class Stack:
    """probabilities float32[N, K], row i by a classifier that saw no gold of the fold of i; l2: chosen for each fold.

    n_gold: the gold labels that it learned from.
    """

    probabilities: Array
    l2: tuple[float, ...]
    n_gold: int


@dataclass(frozen=True)
class _Pool:
    """Items: x float32[n, d]; silver int[n]; silver_probability float[n, K] or None; gold int[n]; fold int[n]."""

    x: Array
    silver: Ints
    silver_probability: Floats | None
    gold: Ints
    fold: Ints

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Ints | Bools) -> _Pool:
        soft = self.silver_probability
        kept = (self.x[rows], self.silver[rows], None if soft is None else soft[rows], self.gold[rows], self.fold[rows])
        return _Pool(*kept)


def fit_stack(
    *,
    x: Array,
    silver: Ints,
    silver_probability: Floats | None,
    gold: Ints,
    fold: Ints,
    n_classes: int,
    config: StackConfig = STACK,
) -> Stack | None:
    """The stack's out-of-fold predictions for all N items; None with fewer than `gold_per_class` · K gold labels.

    x float32[N, d]; silver int[N] (K: no valid answer, -1: never asked); silver_probability float[N, K] or None, NaN
    rows where confidence is unknown; gold int[N] (-1: none), only gold that may train: never the audit's; fold int[N].
    Nothing here is random. The classifier of a fold, and its L2, come from the gold of the other folds: the L2 has the
    lowest log-loss there, each fold predicted by fits that saw neither it nor the fold to be predicted in the end.
    ValueError names what does not fit.
    """
    pool = _Pool(x, silver, silver_probability, gold, fold)
    _check(pool, n_classes)
    known = pool.take(np.flatnonzero(gold >= 0))
    if len(known) < config.gold_per_class * n_classes:
        return None
    n_folds = int(fold.max()) + 1
    seen = _inputs_of(known, n_classes, config)
    chosen = _choose(seen, known, n_folds, n_classes, config)
    p = np.zeros((len(pool), n_classes), np.float32)
    for f in range(n_folds):
        rows = np.flatnonzero(fold == f)
        classifier = _fit(seen, known.gold, known.fold != f, n_classes, chosen[f])
        p[rows] = classifier.predict_proba(_inputs_of(pool.take(rows), n_classes, config))
    return Stack(p, tuple(chosen), len(known))


def stack_inputs(
    x: Array, silver: Ints, silver_probability: Floats | None, n_classes: int, config: StackConfig = STACK
) -> Array:
    """[3 · unit vector, centred log p_llm] of each item, float32[n, d + K]; arguments as in `fit_stack`.

    A label without a distribution counts as a smoothed one-hot; where the machine failed or was never asked its part is
    zero, which says nothing of any class.
    """
    length = np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    scores = _silver_scores(silver, silver_probability, n_classes, config.silver_error)
    return np.hstack([config.vector_length * x / length, scores]).astype(np.float32)


def _silver_scores(silver: Ints, silver_probability: Floats | None, n_classes: int, error: float) -> Matrix:
    """Centred log p_llm float64[n, K]; rows sum to 0."""
    said = (silver >= 0) & (silver < n_classes)
    log_p = np.zeros((len(silver), n_classes))
    log_p[said] = np.log(uniform_noise(silver[said], error, np.full(n_classes, 1 / n_classes)))
    if silver_probability is not None:
        sure = said & np.isfinite(silver_probability).all(axis=1)
        log_p[sure] = safe_log(silver_probability[sure])
    return np.asarray(log_p - log_p.mean(axis=1, keepdims=True), np.float64)


def _inputs_of(pool: _Pool, n_classes: int, config: StackConfig) -> Array:
    return stack_inputs(pool.x, pool.silver, pool.silver_probability, n_classes, config)


def _choose(inputs: Array, known: _Pool, n_folds: int, n_classes: int, config: StackConfig) -> list[float]:
    """The L2 for each fold, by gold of the other folds alone; of equals the strongest.

    A fit without folds f and g tells how well an L2 predicts g for the choice of f, and f for that of g.
    """
    loss = np.zeros((n_folds, len(config.l2)))
    for f in range(n_folds):
        for g in range(f):
            start = None
            for at, l2 in enumerate(config.l2):
                start = _fit(inputs, known.gold, ~np.isin(known.fold, (f, g)), n_classes, l2, ROUGH, start)
                loss[f, at] += _loss(start, inputs, known, g)
                loss[g, at] += _loss(start, inputs, known, f)
    return [config.l2[best] for best in loss.argmin(axis=1)]


def _fit(
    inputs: Array,
    gold: Ints,
    seen: Bools,
    n_classes: int,
    l2: float,
    solver: SolverConfig = SOLVER,
    start: LinearClassifier | None = None,
) -> LinearClassifier:
    return fit_linear(inputs[seen], _cross_entropy(gold[seen], n_classes), n_classes, l2, start, solver)


def _cross_entropy(gold: Ints, n_classes: int) -> Objective:
    """Σ -log p of the gold labels."""
    n = len(gold)
    return marginal_likelihood(Targets(np.arange(n), np.eye(n_classes, dtype=np.float32)[gold], np.ones(n, np.float32)))


def _loss(classifier: LinearClassifier, inputs: Array, known: _Pool, fold: int) -> float:
    """Summed log-loss of the gold of a fold."""
    rows = known.fold == fold
    return float(item_log_loss(classifier.predict_proba(inputs[rows]), known.gold[rows]).sum())


def _check(pool: _Pool, n_classes: int) -> None:
    """ValueError unless the arrays fit together and hold what they should."""
    n, soft = len(pool), pool.silver_probability
    if any(len(column) != n for column in (pool.silver, pool.gold, pool.fold)):
        raise ValueError("A stack needs one silver label, gold label and fold per item.")
    if not n:
        return
    if not np.isfinite(pool.x).all():
        raise ValueError("The vectors hold numbers that are infinite or none.")
    if min(pool.silver.min(), pool.gold.min()) < -1 or pool.silver.max() > n_classes or pool.gold.max() >= n_classes:
        raise ValueError("A label lies outside the classes.")
    if pool.fold.min() < 0:
        raise ValueError("A fold is negative.")
    if soft is not None and soft.shape != (n, n_classes):
        raise ValueError("Silver probabilities must have one row per item and one column per class.")
    if soft is not None and _has_odd_row(soft):
        raise ValueError("A row of silver probabilities does not sum to one, or holds a negative number.")


def _has_odd_row(probabilities: Floats) -> bool:
    """Whether a row that is known is no distribution; float32 sums of many classes are off by less than 0.001."""
    rows = probabilities[np.isfinite(probabilities).all(axis=1)]
    return bool((rows < 0).any() or (np.abs(rows.sum(axis=1, dtype=np.float64) - 1) > 1e-3).any())
