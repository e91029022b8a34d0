"""Text: one string that people read and the encoder embeds."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.modalities import strings
from annotate.modalities.strings import Part
from models_ml.types import Contents

NAME = "text"
FIELDS = ("text",)


def payload_of(row: Mapping[str, Any], columns: Mapping[str, str] = strings.AS_NAMED) -> dict[str, str]:
    """The payload of one imported row; raises InvalidInput with the reason the row cannot be used.

    `columns`: the column of each field that has another name in this file.
    """
    if not columns and "text" not in row and "text_a" in row and "text_b" in row:
        raise InvalidInput(
            _('has no "text" but a pair ("text_a", "text_b"); the items of this project are single texts')
        )
    return {"text": strings.checked(row, columns.get("text", "text"))}


def content_hash(payload: Mapping[str, str]) -> str:
    """What makes two texts the same item."""
    return strings.content_hash(NAME, payload)


def contents(payload: Mapping[str, str]) -> Contents:
    """What an annotator model and the encoder read."""
    return (payload["text"],)


def screen_parts(payload: Mapping[str, str]) -> tuple[Part, ...]:
    """What a person reads: the text alone, without a heading."""
    return (Part("text", None, payload["text"]),)
