"""What a classifier minimises when some of its labels are gold and most are a machine's.

The one plug-in place: an `Objective` turns logits into a loss and its gradient. The three used by the loop
are the same formula, a weighted marginal likelihood Σ w_i · -log Σ_k p_ik L_ik: gold rows of L are one-hot,
silver rows are the column Ĉ[:, ỹ] (corrected) or one-hot (cross entropy). Anything else can be written in
torch and go through `through_autograd`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models_ml.arrays import Array, Ints, Matrix, Positions

if TYPE_CHECKING:
    from torch import Tensor

# logits float32[n, K] -> (loss in nats, summed; gradient float32[n, K])
Objective = Callable[[Array], tuple[float, Array]]

METHODS = ("corrected", "cross_entropy", "gold_only")
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


def make_targets(
    method: str,
    gold: Ints,
    silver: Ints,
    n_classes: int,
    gold_weight: float,
    transition: Matrix | None = None,
) -> Targets:
    """Targets of one of METHODS; gold int[N] (-1: none), silver int[N] (K: no valid answer, -1: never asked).

    The silver of an item with gold is left out. `corrected` needs Ĉ float64[K, K+1] and counts failures
    through its last column; `cross_entropy` leaves failures out; an infinite gold weight means gold only,
    weight 1.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}")
    gold_only = method == "gold_only" or not np.isfinite(gold_weight)
    columns = np.eye(n_classes) if method == "cross_entropy" or transition is None else transition
    is_gold = gold >= 0
    is_silver = ~is_gold & (silver >= 0) & (silver < columns.shape[1]) & (not gold_only)
    rows = np.flatnonzero(is_gold | is_silver)
    kind = is_gold[rows]
    likelihood = np.empty((len(rows), n_classes), np.float32)
    likelihood[kind] = np.eye(n_classes, dtype=np.float32)[gold[rows[kind]]]
    likelihood[~kind] = columns.T[silver[rows[~kind]]]
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


def through_autograd(loss: Callable[[Tensor], Tensor]) -> Objective:
    """Any scalar torch loss of logits as an Objective: for robust losses without a derived gradient."""
    import torch

    def objective(logits: Array) -> tuple[float, Array]:
        z = torch.from_numpy(np.ascontiguousarray(logits)).requires_grad_()
        value = loss(z)
        (gradient,) = torch.autograd.grad(value, z)
        return float(value.detach()), gradient.numpy()

    return objective


def corrected(logits: Tensor, gold: Tensor, silver: Tensor, gold_weight: float, transition: Tensor) -> Tensor:
    """λ·Σ_gold CE + Σ_silver -log[(Ĉᵀ softmax f)_ỹ] (Patrini et al. 2017, Hendrycks et al. 2018).

    logits float[n, K]; gold int64[n] (-1: none), silver int64[n] (K: no valid answer, -1: never asked);
    transition float[K, K+1]. An item with gold does not count with its silver.
    """
    import torch

    use = (gold < 0) & (silver >= 0)
    observed = torch.softmax(logits[use], dim=1) @ transition
    match = observed.gather(1, silver[use][:, None]).clamp_min(TINY)
    return gold_weight * gold_only(logits, gold) - match.log().sum()


def cross_entropy(logits: Tensor, gold: Tensor, silver: Tensor, gold_weight: float) -> Tensor:
    """The control: λ·Σ_gold CE + Σ_silver CE, as if the machine were right; failures are left out."""
    import torch

    use = (gold < 0) & (silver >= 0) & (silver < logits.shape[1])
    plain = torch.nn.functional.cross_entropy(logits[use], silver[use], reduction="sum")
    return gold_weight * gold_only(logits, gold) + plain


def gold_only(logits: Tensor, gold: Tensor) -> Tensor:
    """Σ_gold CE, summed; gold int64[n], -1 where there is none."""
    import torch

    use = gold >= 0
    return torch.nn.functional.cross_entropy(logits[use], gold[use], reduction="sum")
