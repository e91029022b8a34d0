"""How each kind of content is understood: one module per modality, looked up by name."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from annotate.errors import InvalidInput
from annotate.modalities import pair, text

_MODALITIES: dict[str, ModuleType] = {"text": text, "pair": pair}
NAMES = tuple(sorted(_MODALITIES))


def modality(name: str) -> ModuleType:
    """The module that validates, hashes and shows payloads of this modality."""
    if name not in _MODALITIES:
        raise InvalidInput(f"Unknown modality {name!r}; there are: {', '.join(NAMES)}.")
    return _MODALITIES[name]


def modality_of(row: Mapping[str, Any]) -> ModuleType:
    """The modality whose columns a row has: text wherever there is "text", and where nothing fits."""
    return next((found for found in (text, pair) if all(field in row for field in found.FIELDS)), text)
