"""What a classifier minimises when some of its labels are gold and most are a machine's.

One formula carries gold, silver and silver read by a noise matrix: the marginal likelihood -log Σ_k p_k L_k, where L_k
is how likely the item's label would be if its class were k. Gold, and silver taken at its word, are one-hot rows of L;
corrected silver is the column Ĉ[:, ỹ] (Patrini et al. 2017, Hendrycks et al. 2018). Losses per item that forgive wrong
labels take the same L; here is what several methods share of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models_ml.arrays import Array, Ints, Matrix, Positions

if TYPE_CHECKING:
    from torch import Tensor

# logits float32[n, K] -> (loss in nats, summed; gradient float32[n, K])
Objective = Callable[[Array], tuple[float, Array]]

# float32 has its smallest normal number near 1e-38; below this a likelihood is treated as this.
TINY = 1e-35


@dataclass(frozen=True)
class Targets:
    """What the n rows of a training set are labeled with; `rows` says which of the given items they are.

    rows int64[n]; likelihood float32[n, K]: how likely the row's label is under each class; weight
    float32[n].
    """

    rows: Positions
    likelihood: Array
    weight: Array

    @property
    def weight_of_mean_one(self) -> Array:
        """The weights as multiples of their mean, float32[n]."""
        mean = float(self.weight.mean()) if len(self.weight) else 0.0
        return (self.weight / max(mean, 1e-12)).astype(np.float32)


def make_targets(
    gold: Ints,
    silver: Ints,
    n_classes: int,
    gold_weight: float,
    transitions: Matrix | None = None,
    strata: Ints | None = None,
) -> Targets:
    """Targets of items with gold int[N] (-1: none) and silver int[N] (K: no valid answer, -1: never asked).

    The silver of an item with gold is left out. Without `transitions` silver is taken at its word and failures are left
    out; with Ĉ float64[G, K, K+1] failures count through its last column, each item by the Ĉ of its stratum int[N]
    (None: all by the first). An infinite gold weight means gold only, weight 1.
    """
    gold_only = not np.isfinite(gold_weight)
    columns = np.eye(n_classes)[None] if transitions is None else transitions
    is_gold = gold >= 0
    is_silver = ~is_gold & (silver >= 0) & (silver < columns.shape[2]) & (not gold_only)
    rows = np.flatnonzero(is_gold | is_silver)
    kind = is_gold[rows]
    others = rows[~kind]
    likelihood = np.empty((len(rows), n_classes), np.float32)
    likelihood[kind] = np.eye(n_classes, dtype=np.float32)[gold[rows[kind]]]
    likelihood[~kind] = columns[0 if strata is None else strata[others], :, silver[others]]
    weight = np.where(kind, 1.0 if gold_only else gold_weight, 1.0).astype(np.float32)
    return Targets(rows, likelihood, weight)


def marginal_likelihood(targets: Targets) -> Objective:
    """Objective Σ w · -log Σ_k softmax(z)_k L_k with its analytic gradient w·(p - p∘L / Σ p∘L)."""
    likelihood, weight = targets.likelihood, targets.weight

    def objective(logits: Array) -> tuple[float, Array]:
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        total = e.sum(axis=1)
        matched = e * likelihood
        match = np.maximum(matched.sum(axis=1), np.float32(TINY))
        loss = float((weight * (np.log(total) - np.log(match))).sum(dtype=np.float64))
        e *= (weight / total)[:, None]
        matched *= (weight / match)[:, None]
        e -= matched
        return loss, e

    return objective


def log_match(logits: Tensor, likelihood: Tensor) -> Tensor:
    """log Σ_k softmax(z)_k L_k per item: float[b, K] twice -> float[b]; finite, and its gradient too, however small."""
    return (logits.log_softmax(dim=1) + likelihood.clamp_min(TINY).log()).logsumexp(dim=1)


def marginal_losses(logits: Tensor, likelihood: Tensor) -> Tensor:
    """-log Σ_k softmax(z)_k L_k per item: cross entropy for one-hot rows, forward correction for columns of Ĉ."""
    return -log_match(logits, likelihood)


def generalized_losses(logits: Tensor, likelihood: Tensor, q: float) -> Tensor:
    """(1 - p^q)/q per item, p = Σ_k softmax(z)_k L_k: float[b, K] twice -> float[b], between 0 and 1/q.

    Nearly cross entropy for small q, 1 - p for q = 1. Its slope is p^q times that of cross entropy, so the less likely
    the model finds a label, the less that label pulls (Zhang & Sabuncu 2018, arXiv:1805.07836).
    """
    return -(q * log_match(logits, likelihood)).expm1() / q


def soft_hinge_losses(logits: Tensor, label: Tensor) -> Tensor:
    """The soft multi-class hinge of Lyu & Tsang 2020 (arXiv:1905.10045): float[b, K], one-hot float[b, K] -> float[b].

    With the margin u = z_y - max_{j≠y} z_j it is max(1 - u, 0) where the label is the prediction (u ≥ 0), which is at
    most 1, and 1 - log softmax(z)_y elsewhere, which is more than 1: an upper bound of the 0-1 loss.
    """
    is_label = label > 0
    others = logits.masked_fill(is_label, -math.inf).amax(dim=1)
    margin = logits.masked_fill(~is_label, 0).sum(dim=1) - others
    return (1 - margin).clamp_min(0).where(margin >= 0, 1 + marginal_losses(logits, label))


def curriculum(losses: Tensor, threshold: float) -> Tensor:
    """The v in {0, 1}^n with the least max(Σ v·loss, threshold - Σ v), as bool[n]; losses float[n], none negative.

    Exact (Lyu & Tsang 2020, arXiv:1905.10045): in ascending order the i-th, i from 1, is in v while the sum of the
    first i losses is at most threshold + 1 - i. Counting i from 0 there, as some code does, lets too many in.
    """
    import torch

    order = losses.argsort(stable=True)
    place = torch.arange(1, len(losses) + 1)
    is_in = losses[order].cumsum(0, dtype=torch.float64) <= threshold + 1 - place
    return torch.zeros_like(is_in).scatter(0, order, is_in)
