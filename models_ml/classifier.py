"""What every fit gives back, whatever its method and network."""

from collections.abc import Mapping
from typing import Protocol

from models_ml.arrays import AnyArray, Array


class Classifier(Protocol):
    """What a fit gives back."""

    def logits(self, inputs: Array) -> Array:
        """float32[n, d] -> float32[n, K]; a row never depends on the other rows."""

    def state(self) -> Mapping[str, AnyArray]:
        """Named arrays from which `Method.load` makes the same classifier; their shapes do not depend on the data."""
