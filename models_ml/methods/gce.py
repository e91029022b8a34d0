"""Generalized cross entropy: between cross entropy, which learns every wrong label, and absolute error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models_ml.losses import generalized_losses
from models_ml.methods.contract import parameter
from models_ml.training.loop import Batch
from models_ml.training.silver_loss import SilverLoss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GCE(SilverLoss):
    """λ·Σ_gold CE + Σ_silver (1 - p_ỹ^q)/q: the less likely the model finds a label, the less that label pulls."""

    name: ClassVar[str] = "gce"
    title: ClassVar[str] = "Generalized cross-entropy"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels with a loss that gives up on those the model keeps finding unlikely."
    )
    source: ClassVar[str] = "Zhang & Sabuncu 2018, arXiv:1805.07836"

    q: float = parameter(
        0.7,
        "0 is cross-entropy, 1 is absolute error: the larger, the less a wrong label is learned.",
        low=0.01,
        high=1.0,
    )

    def silver_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        return generalized_losses(logits, batch.likelihood, self.q)
