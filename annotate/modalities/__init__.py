"""How each kind of content is understood: one module per modality, looked up by name."""

from types import ModuleType

from annotate.errors import InvalidInput
from annotate.modalities import text

_MODALITIES: dict[str, ModuleType] = {"text": text}


def modality(name: str) -> ModuleType:
    """The module that validates, hashes and shows payloads of this modality."""
    if name not in _MODALITIES:
        raise InvalidInput(f"Unknown modality {name!r}; there are: {', '.join(sorted(_MODALITIES))}.")
    return _MODALITIES[name]
