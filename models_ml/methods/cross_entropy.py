"""The control: machine labels taken at their word."""

from dataclasses import dataclass
from typing import ClassVar

from models_ml.training.full_batch import FullBatch


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(FullBatch):
    """λ·Σ_gold CE + Σ_silver CE, as if the machine were right; failures are left out."""

    name: ClassVar[str] = "cross_entropy"
    title: ClassVar[str] = "Cross-entropy"
    sentence: ClassVar[str] = "Learns from gold and from machine labels as if the machine were always right: a control."
    source: ClassVar[str] = "Multinomial logistic regression"
