"""Minibatch methods that give machine labels a loss of their own."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from models_ml.losses import marginal_losses
from models_ml.training.loop import Batch, Minibatch

if TYPE_CHECKING:
    from torch import Tensor


class SilverLoss(Minibatch):
    """λ·Σ_gold CE + Σ_silver of the loss that a subclass says."""

    def item_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Gold is right, so it keeps its cross entropy."""
        of_gold = marginal_losses(logits, batch.likelihood)
        return of_gold.where(batch.is_gold, self.silver_losses(logits, batch))

    @abstractmethod
    def silver_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """float32[b]: the loss of each item of the batch, were its label a machine's."""
