"""Silver read through the noise matrix that the reference sample shows."""

from dataclasses import dataclass
from typing import ClassVar

from models_ml.methods.contract import Need, parameter
from models_ml.noise.choice import KINDS
from models_ml.training.full_batch import FullBatch


@dataclass(frozen=True, kw_only=True)
class Corrected(FullBatch):
    """λ·Σ_gold CE + Σ_silver -log[(Ĉᵀ softmax f)_ỹ]: forward correction, failures through Ĉ's last column."""

    name: ClassVar[str] = "corrected"
    title: ClassVar[str] = "Noise-corrected"
    sentence: ClassVar[str] = (
        "Learns from gold, and from machine labels read through the noise matrix: how often the machine says one class "
        "when another is true."
    )
    source: ClassVar[str] = (
        "Patrini et al. 2017, arXiv:1609.03683; Hendrycks et al. 2018, arXiv:1802.05300; Yao et al. 2020, "
        "arXiv:2006.07805"
    )
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_MATRIX})

    transition: str = parameter(
        "auto",
        "How the noise matrix is estimated: from counts (direct), from a model of the machine labels (glc), or by "
        "whichever of these predicts the machine's labels of the reference sample better (auto). For comparison: from "
        "counts that nothing is assumed beside (counts), or without gold, from the items that a model of the machine "
        "labels is surest about (anchor), also with counts of what it says (dual-t).",
        choices=KINDS,
    )
