"""How much an item is worth a person, read from the class probabilities alone; larger is worth more."""

from collections.abc import Callable

import numpy as np

from models_ml.arrays import Bools, Floats, Positions

# Rows per block: a block of 8,192 x 10 doubles stays in the second-level cache, which makes the several
# passes of a score cost about as much as one.
_BLOCK = 8192


def margin(probabilities: Floats) -> Floats:
    """1 - (best - second best) per row: (N, K) probabilities, K >= 2 -> (N,) in [0, 1].

    Rows with NaN score NaN. Raises ValueError for other shapes.
    Reference: Scheffer, Decomain & Wrobel 2001, "Active hidden Markov models for information extraction".
    """
    return _by_block(_margin, probabilities)


def least_confidence(probabilities: Floats) -> Floats:
    """1 - best per row: (N, K) probabilities, K >= 2 -> (N,) in [0, 1 - 1/K].

    Reference: Lewis & Gale 1994, "A sequential algorithm for training text classifiers".
    """
    return _by_block(lambda block: 1 - block.max(axis=1), probabilities)


def entropy(probabilities: Floats) -> Floats:
    """Shannon entropy per row in nats: (N, K) probabilities, K >= 2 -> (N,) in [0, log K].

    Reference: Shannon 1948; as a query strategy Settles 2009, "Active learning literature survey".
    """
    return _by_block(_entropy, probabilities)


SCORES: dict[str, Callable[[Floats], Floats]] = {
    "margin": margin,
    "least_confidence": least_confidence,
    "entropy": entropy,
}


def top_k(scores: Floats, k: int, eligible: Bools | None = None) -> Positions:
    """Positions of the k largest scores, largest first; equal scores in order of position.

    `scores` (N,), NaN = unknown, which comes last; `eligible` (N,) or None for all.
    Gives fewer than k where fewer are eligible. No full sort: O(N + k log k).
    """
    positions = np.arange(len(scores)) if eligible is None else np.flatnonzero(eligible)
    if k <= 0 or not len(positions):
        return np.empty(0, dtype=np.int64)
    costs = -scores[positions]  # ascending, as the sorts are; NaN sorts last
    costs = np.where(np.isnan(costs), np.inf, costs)
    if k < len(positions):
        chosen = _smallest(costs, k)
        positions, costs = positions[chosen], costs[chosen]
    return positions[np.argsort(costs, kind="stable")].astype(np.int64)


def _smallest(costs: Floats, k: int) -> Positions:
    """The k smallest by position; argpartition alone would break ties at the edge arbitrarily."""
    edge = costs[np.argpartition(costs, k - 1)[k - 1]]
    below = costs < edge
    ties = np.flatnonzero(costs == edge)[: k - int(below.sum())]
    below[ties] = True
    return np.flatnonzero(below)


def _by_block(score: Callable[[Floats], Floats], probabilities: Floats) -> Floats:
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(f"scores need probabilities of shape (N, K >= 2), not {probabilities.shape}")
    n = len(probabilities)
    result = np.empty(n, dtype=probabilities.dtype)
    for start in range(0, n, _BLOCK):
        result[start : start + _BLOCK] = score(probabilities[start : start + _BLOCK])
    return result


def _margin(block: Floats) -> Floats:
    top = np.partition(block, block.shape[1] - 2, axis=1)
    return np.asarray(1 - (top[:, -1] - top[:, -2]))


def _entropy(block: Floats) -> Floats:
    # 0 log 0 = 0: the floor keeps the logarithm finite and the factor 0 does the rest.
    return np.asarray(-(block * np.log(np.maximum(block, np.finfo(block.dtype).tiny))).sum(axis=1))
