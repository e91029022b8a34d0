"""Noise-pruned curriculum loss: the curriculum loss where a known share of labels is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models_ml.methods.contract import Need
from models_ml.methods.curriculum import Curriculum
from models_ml.noise.rate import NoiseRate


@dataclass(frozen=True, kw_only=True)
class NPCL(NoiseRate, Curriculum):
    """As the curriculum loss, with C = (1-ε)²·m + (1-ε)·(labels of the batch that the model does not predict)."""

    name: ClassVar[str] = "npcl"
    title: ClassVar[str] = "Noise-pruned curriculum loss"
    sentence: ClassVar[str] = (
        "Learns from gold, and from those machine labels that the model finds easy; the more of them are wrong, the "
        "more are left out."
    )
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_RATE})
