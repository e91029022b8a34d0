"""How often a machine's label is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models_ml.methods.contract import TrainingData, parameter
from models_ml.noise.transition import pooled_error


def pooled_noise_rate(data: TrainingData) -> float:
    """The share of valid machine labels that are wrong, from reference gold, shrunk to a prior (`pooled_error`).

    A failure is no label, so it is not a wrong one; other gold was drawn where the machine was unsure, so it would
    overstate the rate. Without reference gold it is the prior alone.
    """
    gold = np.where(data.reference, data.gold, -1)
    return pooled_error(gold, np.where(data.silver < data.n_classes, data.silver, -1))


@dataclass(frozen=True, kw_only=True)
class NoiseRate:
    """The parameters of a method that needs to know how many machine labels are wrong (`Need.NOISE_RATE`)."""

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
