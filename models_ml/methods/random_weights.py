"""The control of learning to reweight: weights that know nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.methods.contract import Need
from models_ml.methods.learning_to_reweight import LearningToReweight
from models_ml.networks.network import Network
from models_ml.training.loop import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RandomWeights(LearningToReweight):
    """λ·Σ_gold CE + Σ_silver w·CE with w_i ∝ max(0, N(0, 1)), drawn anew in each batch."""

    name: ClassVar[str] = "random_weights"
    title: ClassVar[str] = "Random weights"
    sentence: ClassVar[str] = (
        "Learns from gold, and in each step from machine labels that weigh what chance says: a control."
    )
    source: ClassVar[str] = "Ren et al. 2018, arXiv:1803.09050"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def usefulness(
        self, network: Network, features: Tensor, logits: Tensor, batch: Batch, rng: np.random.Generator
    ) -> Tensor | None:
        import torch

        return torch.from_numpy(rng.standard_normal(len(batch.rows)).astype(np.float32))
