"""Items to vectors: a text is its own vector; a pair is what its two texts say, and how they differ."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from models_ml.arrays import Vectors
from models_ml.types import Contents, Encoder

# The relation of the two texts outweighs what they say by themselves: at 1 paraphrases are told a point worse, at 1/4
# topics five to nineteen (docs/decisions/007). A power of two, so that halving rounds nothing.
_CONTENT = np.float32(0.5)


def joined(contents: Contents) -> str:
    """All of an item as one text."""
    return "\n".join(contents)


class ItemEncoder(Protocol):
    """Items of one modality to vectors. An item's vector never depends on the other items of the call."""

    name: str
    fingerprint: str  # as Encoder's: of all that can change a vector
    dim: int

    def encode(self, items: Sequence[Contents]) -> Vectors:
        """Return float32 (n, dim), rows in the order of `items`."""


class TextItems:
    """One text per item: the encoder's own vector."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name, self.fingerprint, self.dim = encoder.name, encoder.fingerprint, encoder.dim

    def encode(self, items: Sequence[Contents]) -> Vectors:
        return self._encoder.encode([text for (text,) in items])


class PairItems:
    """Two texts a, b per item: [a/2, b/2, |a - b|, a * b] of their unit vectors, float32 (n, 4 d).

    The features of InferSent (Conneau et al. 2017, arXiv:1705.02364), which a linear head needs to see a relation:
    from a and b alone it cannot tell whether they are near.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name, self.dim = f"{encoder.name} pair-1", 4 * encoder.dim
        self.fingerprint = hashlib.sha256(f"{encoder.fingerprint} pair-1".encode()).hexdigest()

    def encode(self, items: Sequence[Contents]) -> Vectors:
        texts = [*(a for a, _ in items), *(b for _, b in items)]
        a, b = self._encoder.encode(texts).reshape(2, len(items), self._encoder.dim)
        return np.hstack([a * _CONTENT, b * _CONTENT, np.abs(a - b), a * b])


_BY_MODALITY: dict[str, Callable[[Encoder], ItemEncoder]] = {"text": TextItems, "pair": PairItems}


def item_encoder(encoder: Encoder, modality: str) -> ItemEncoder:
    """What turns items of this modality into vectors."""
    if modality not in _BY_MODALITY:
        raise ValueError(f"items of modality {modality!r} have no vectors")
    return _BY_MODALITY[modality](encoder)
