"""Adam for a table of which a step reads few rows: the others are moved when they are next read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from models_ml.arrays import Matrix, Positions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Adam

# What is left of momentum when its steps are no longer counted.
FORGOTTEN = 1e-8
# Until this step all rows are moved in each: at first the correction of v changes by much from step to step. With a
# learning rate of 5e-4 the sum in `_Drift` is then right to 2e-7 of a weight; without, to 5e-5.
EARLY = 50


class LazyRows:
    """A table that is stepped as by torch's Adam (Kingma & Ba 2015, arXiv:1412.6980), but row by row.

    Adam goes on moving a row after its last gradient, by what is left of its momentum. `_Drift` has that in closed
    form, so that a row is left alone until somebody reads it, by `of`. The table must be among the parameters of
    `adam`, which has its learning rate and steps all others: it never sees a gradient of the table.
    """

    def __init__(self, table: Parameter, adam: Adam) -> None:
        import torch

        self._table = table
        self._group = next(group for group in adam.param_groups if any(p is table for p in group["params"]))
        if self._group["weight_decay"]:
            raise ValueError("weight decay moves every row of a table in every step, so that none can wait")
        self._m, self._v = torch.zeros_like(table), torch.zeros_like(table)
        self._last = torch.zeros(len(table), dtype=torch.int64)  # the step that touched a row last; 0: none
        self._t = 0  # steps done
        self._drift = _Drift(*self._group["betas"])
        self._reads: list[tuple[Tensor, Tensor]] = []  # rows, and what was read, where its gradient will appear
        adam.register_step_post_hook(lambda *_: self._step())

    def of(self, rows: Tensor) -> Tensor:
        """Distinct rows int64[r] where all steps so far have put them, float[r, d].

        Where gradients are recorded, the next step moves the table by those of what is read.
        """
        import torch

        self.catch_up(rows)
        with torch.no_grad():
            values = self._table.index_select(0, rows)
        if torch.is_grad_enabled():
            self._reads.append((rows, values.requires_grad_()))
        return values

    def catch_up(self, rows: Tensor | None = None) -> None:
        """Bring distinct rows int64[r] of the table (None: all) to where all steps so far put them."""
        import torch

        if not self._t:
            return
        if rows is None or self._t <= EARLY:
            rows = self._last.nonzero()[:, 0]
        since, (b1, b2) = self._last.index_select(0, rows).numpy(), self._group["betas"]
        gap = self._t - since
        columns = np.stack([*self._drift.nodes(since), b1**gap, b2**gap])
        w1, a1, w2, a2, m_left, v_left = torch.from_numpy(columns).to(self._table.dtype)[:, :, None]
        with torch.no_grad():
            m, v = self._m.index_select(0, rows), self._v.index_select(0, rows)
            root, eps = v.sqrt(), self._group["eps"]
            moved = (w1 / (root * a1).add_(eps)).add_(w2 / (root * a2).add_(eps)).mul_(m)
            self._move(rows, moved, m.mul_(m_left), v.mul_(v_left))

    def _step(self) -> None:
        """Move what was read since the step before, by its gradients; without any the table is left alone."""
        import torch

        rows, gradient = _merged([(rows, values.grad) for rows, values in self._reads if values.grad is not None])
        self._reads = []
        if gradient is None:
            return
        self._t += 1
        (b1, b2), t = self._group["betas"], self._t
        with torch.no_grad():
            m = self._m.index_select(0, rows).lerp_(gradient, 1 - b1)
            v = self._v.index_select(0, rows).mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
            root = v.sqrt().div_(math.sqrt(1 - b2**t)).add_(self._group["eps"])
            self._move(rows, (m / root).mul_(self._group["lr"] / (1 - b1**t)), m, v)
        self._drift.add(t, self._group["lr"])

    def _move(self, rows: Tensor, by: Tensor, m: Tensor, v: Tensor) -> None:
        """Subtract `by` from the rows, which then have these moments and are up to date."""
        self._table.index_add_(0, rows, by, alpha=-1)
        self._m.index_copy_(0, rows, m)
        self._v.index_copy_(0, rows, v)
        self._last[rows] = self._t


def _merged(reads: list[tuple[Tensor, Any]]) -> tuple[Any, Any]:
    """Distinct rows and the sums of their gradients; None twice where nothing was read."""
    import torch

    if len(reads) < 2:
        return reads[0] if reads else (None, None)
    gradients = torch.cat([gradient for _, gradient in reads])
    rows, places = torch.unique(torch.cat([rows for rows, _ in reads]), return_inverse=True)
    return rows, gradients.new_zeros(len(rows), gradients.shape[1]).index_add_(0, places, gradients)


class _Drift:
    """How far momentum moves a row that has had no gradient since step s.

    With moments m and v at step s, step s + j moves it by m·w_j / (a_j·√v + ε), where w_j = lr·β1^j / (1 - β1^(s+j))
    and a_j = β2^(j/2) / √(1 - β2^(s+j)). a_j hardly changes over the few dozen steps in which β1^j counts, so that the
    sum over j is that of two terms, at two a's that have the same moments Σ w_j·a_j^p, p = 0..3 (Gauss quadrature;
    Golub & Welsch 1969). The moments are the same for all rows that were last touched at s.
    """

    def __init__(self, beta1: float, beta2: float) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self._window = max(1, math.ceil(math.log(FORGOTTEN) / math.log(beta1))) if beta1 > 0 else 1
        ages = np.arange(self._window, 0, -1)
        self._w, self._a = beta1**ages, beta2 ** (ages / 2)
        self._moments: Matrix = np.zeros((4, 1024))

    def add(self, t: int, lr: float) -> None:
        """Step t has been done: it moved the rows that were last touched before."""
        if t >= self._moments.shape[1]:
            self._moments = np.concatenate([self._moments, np.zeros_like(self._moments)], axis=1)
        n = min(t, self._window)
        w = self._w[-n:] * (lr / (1 - self._beta1**t))
        a = self._a[-n:] / math.sqrt(1 - self._beta2**t)
        for power in self._moments[:, t - n : t]:
            power += w
            w = w * a

    def nodes(self, since: Positions) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Weights and places w1, a1, w2, a2 float64[r] of the two terms, for rows last touched at steps int64[r]."""
        total, first, second, third = self._moments[:, since]
        some = np.maximum(total, 1e-300)
        mean, square = first / some, second / some
        variance = np.maximum(square - mean * mean, 0)
        skewness = third / some - 3 * mean * square + 2 * mean * mean * mean
        # Without spread it was one step, or several alike, and the rest is rounding.
        middle = np.where(variance > 1e-12 * square, skewness / np.maximum(variance, 1e-300), 0) / 2
        half = np.sqrt(middle * middle + variance)
        share = np.where(half > 0, (half - middle) / np.maximum(2 * half, 1e-300), 0.5)
        return total * share, mean + middle + half, total * (1 - share), mean + middle - half
