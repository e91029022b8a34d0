"""How each kind of content is understood: one module per modality, looked up by name."""

from collections.abc import Mapping
from typing import Any, Protocol

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.modalities import pair, text
from annotate.modalities.strings import Part
from models_ml.types import Contents


class Modality(Protocol):
    """What the module of a modality offers. A payload is the JSON that is stored of an item, and only this reads it."""

    @property
    def NAME(self) -> str:
        """What the project's column says."""

    @property
    def FIELDS(self) -> tuple[str, ...]:
        """The columns of an imported row that make the payload, in the order that people and models read them."""

    def payload_of(self, row: Mapping[str, Any], columns: Mapping[str, str] = ...) -> dict[str, str]:
        """The payload of one imported row; raises InvalidInput with the reason the row cannot be used.

        `columns`: the column of each field that has another name in this file.
        """

    def content_hash(self, payload: Mapping[str, str]) -> str:
        """What makes two payloads the same item: SHA-256 in hexadecimal."""

    def contents(self, payload: Mapping[str, str]) -> Contents:
        """What an annotator model and the encoder read."""

    def screen_parts(self, payload: Mapping[str, str]) -> tuple[Part, ...]:
        """What a person reads."""


_MODALITIES: dict[str, Modality] = {"text": text, "pair": pair}
NAMES = tuple(sorted(_MODALITIES))


def modality(name: str) -> Modality:
    """The modality of this name; InvalidInput where there is none."""
    if name not in _MODALITIES:
        raise InvalidInput(
            _("Unknown modality %(name)s; there are: %(names)s.") % {"name": repr(name), "names": ", ".join(NAMES)}
        )
    return _MODALITIES[name]


def modality_of(row: Mapping[str, Any]) -> Modality:
    """The modality whose columns a row has: text wherever there is "text", and where nothing fits."""
    kinds = _MODALITIES.values()
    return next((kind for kind in kinds if all(field in row for field in kind.FIELDS)), _MODALITIES["text"])
