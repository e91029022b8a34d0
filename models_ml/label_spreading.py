"""Spreads labels over a graph of items that are near each other (Zhou et al. 2004)."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse

from models_ml.arrays import Array, Matrix

# Similarities held at once: 16 MB of float32, whatever the number of items.
BLOCK = 4_000_000
# What may be missing from the limit, as a share of the labels that spread.
REST = 1e-6


def neighbour_graph(x: Array, n_neighbours: int) -> sparse.csr_array:
    """W float64[n, n], symmetric: the cosine of two items of x float32[n, d], where one is among the other's nearest.

    Cosines below zero, and items without a direction, count as no neighbours; no item is its own.
    """
    n, m = len(x), min(n_neighbours, len(x) - 1)
    if m < 1:
        return sparse.csr_array((n, n))
    directions = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-12))
    nearest, cosines = np.empty((n, m), np.int64), np.empty((n, m))
    step = max(1, BLOCK // n)
    for first in range(0, n, step):
        similar = directions[first : first + step] @ directions.T
        own = np.arange(len(similar))
        similar[own, first + own] = -2  # below every cosine
        found = np.argpartition(-similar, m - 1, axis=1)[:, :m]
        nearest[first : first + step] = found
        cosines[first : first + step] = np.take_along_axis(similar, found, axis=1)
    places = np.repeat(np.arange(n), m), nearest.ravel()
    graph = sparse.csr_array((np.maximum(cosines, 0).ravel(), places), shape=(n, n))
    graph = graph.maximum(graph.T).tocsr()
    graph.eliminate_zeros()
    return graph


def spread(graph: sparse.csr_array, labels: Matrix, alpha: float) -> Matrix:
    """F = (1 - α)·(I - α·S)⁻¹·Y with S = D^-½ W D^-½: what each item gets of the labels, float64[n, K].

    graph: W, symmetric; labels Y float64[n, K], zeros where there are none; alpha in (0, 1): how much an item takes
    from its neighbours. An item that no path joins to a label gets zeros. Reached by steps F ← α·S·F + (1 - α)·Y, each
    of which leaves at most α of what is missing.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha!r}")
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = sparse.diags_array(np.where(degree > 0, 1 / np.sqrt(np.where(degree > 0, degree, 1)), 0))
    normalised = alpha * (scale @ graph @ scale).tocsr()
    own = (1 - alpha) * labels
    spreading = own
    for _ in range(math.ceil(math.log(REST) / math.log(alpha))):
        spreading = normalised @ spreading + own
    return np.asarray(spreading, np.float64)
