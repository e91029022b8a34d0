"""Gradients of a linear head, written out: what a step on one item does to the loss of others, without autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models_ml.losses import TINY

if TYPE_CHECKING:
    from torch import Tensor


def residuals(logits: Tensor, likelihood: Tensor) -> Tensor:
    """∂/∂z of -log Σ_k softmax(z)_k L_k: p - p∘L/Σ p∘L, float[b, K] of float[b, K] twice; finite however small p is."""
    log_p = logits.log_softmax(dim=1)
    return log_p.exp() - (log_p + likelihood.clamp_min(TINY).log()).softmax(dim=1)


def head_gradient(features: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Mean gradient of weight float[K, h] and bias float[K], for features float[b, h] and residuals float[b, K].

    Item i contributes r_i ⊗ (h_i, 1).
    """
    n = max(len(features), 1)
    return residual.T @ features / n, residual.sum(dim=0) / n


def along(features: Tensor, gradient: tuple[Tensor, Tensor]) -> Tensor:
    """How the logits float[b, K] of features float[b, h] move when the head moves along `gradient`."""
    weight, bias = gradient
    return features @ weight.T + bias
