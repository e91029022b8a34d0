"""How often a machine's label is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models_ml.noise.transition import pooled_error

if TYPE_CHECKING:
    from models_ml.methods.contract import TrainingData


def pooled_noise_rate(data: TrainingData) -> float:
    """The share of valid machine labels that are wrong, from reference gold, shrunk to a prior (`pooled_error`).

    A failure is no label, so it is not a wrong one; other gold was drawn where the machine was unsure, so it would
    overstate the rate. Without reference gold it is the prior alone.
    """
    gold = np.where(data.reference, data.gold, -1)
    return pooled_error(gold, np.where(data.silver < data.n_classes, data.silver, -1))
