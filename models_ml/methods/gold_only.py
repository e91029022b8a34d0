"""The control: no machine label at all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from models_ml.methods.contract import Method, Need
from models_ml.training.full_batch import FullBatch


@dataclass(frozen=True, kw_only=True)
class GoldOnly(FullBatch):
    """Σ_gold CE."""

    name: ClassVar[str] = "gold_only"
    title: ClassVar[str] = "Gold only"
    sentence: ClassVar[str] = "Learns from gold alone, as if there were no machine labels: a control."
    source: ClassVar[str] = "Multinomial logistic regression"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GOLD})
    grid: ClassVar[Mapping[str, Sequence[float]]] = {"l2": Method.grid["l2"]}

    gold_weight: float = math.inf  # what the method is; nothing to set
