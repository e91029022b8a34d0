"""Noise-pruned curriculum loss: the curriculum loss where a known share of labels is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.methods.curriculum import Curriculum
from models_ml.noise.rate import pooled_noise_rate


@dataclass(frozen=True, kw_only=True)
class NPCL(Curriculum):
    """As the curriculum loss, with C = (1-ε)²·m + (1-ε)·(labels of the batch that the model does not predict)."""

    name: ClassVar[str] = "npcl"
    title: ClassVar[str] = "Noise-pruned curriculum loss"
    sentence: ClassVar[str] = (
        "Learns from gold, and from those machine labels that the model finds easy; the more of them are wrong, the "
        "more are left out."
    )
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_RATE})

    noise_rate: str = parameter(
        "auto",
        "How many machine labels are wrong: as many as the reference sample shows (auto), or the share given below "
        "(given).",
        choices=("auto", "given"),
    )
    given_noise_rate: float = parameter(
        0.2, "The share of machine labels that are wrong; used where the noise rate is given.", low=0.0, high=0.95
    )

    def share_wrong(self, data: TrainingData) -> float:
        return pooled_noise_rate(data) if self.noise_rate == "auto" else self.given_noise_rate
