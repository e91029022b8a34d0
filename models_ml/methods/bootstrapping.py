"""Bootstrapping: a label is mixed with what the model itself predicts. A control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from models_ml.methods.contract import parameter
from models_ml.training.loop import Batch
from models_ml.training.silver_loss import SilverLoss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Bootstrapping(SilverLoss):
    """λ·Σ_gold CE - Σ_silver Σ_k (β·[k = ỹ] + (1-β)·s_k)·log p_k; s is p itself (soft) or its largest entry (hard).

    Soft, the gradient goes through s, too: β·CE + (1-β)·entropy of p.
    """

    name: ClassVar[str] = "bootstrapping"
    title: ClassVar[str] = "Bootstrapping"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels mixed with what the model itself predicts: a control."
    )
    source: ClassVar[str] = "Reed et al. 2015, arXiv:1412.6596"

    kind: str = parameter(
        "hard",
        "What a label is mixed with: the class that the model predicts (hard), or its probabilities of all classes "
        "(soft).",
        choices=("hard", "soft"),
    )
    # As published for hard; soft had .95.
    beta: float = parameter(
        0.8, "How far the machine label counts: 1 is cross-entropy, 0 the model's own prediction.", low=0.0, high=1.0
    )

    def silver_losses(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch

        log_p = logits.log_softmax(dim=1)
        hard = torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1])
        own = log_p.exp() if self.kind == "soft" else hard
        return -((self.beta * batch.likelihood + (1 - self.beta) * own) * log_p).sum(dim=1)
