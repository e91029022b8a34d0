"""Pair: two texts in a fixed order, about which one question is asked: the same? does B follow from A?"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import InvalidInput
from annotate.modalities import strings
from annotate.modalities.strings import Part
from models_ml.types import Contents

NAME = "pair"
FIELDS = ("text_a", "text_b")
_HEADINGS = (gettext_lazy("A"), gettext_lazy("B"))


def payload_of(row: Mapping[str, Any], columns: Mapping[str, str] = strings.AS_NAMED) -> dict[str, str]:
    """The payload of one imported row; raises InvalidInput with the reason the row cannot be used.

    `columns`: the column of each field that has another name in this file.
    """
    if not columns and "text" in row and not row.keys() & set(FIELDS):
        raise InvalidInput(_('has "text" but no pair; the items of this project are pairs, "text_a" and "text_b"'))
    return {field: strings.checked(row, columns.get(field, field)) for field in FIELDS}


def content_hash(payload: Mapping[str, str]) -> str:
    """What makes two pairs the same item: both texts, in this order."""
    return strings.content_hash(NAME, payload)


def contents(payload: Mapping[str, str]) -> Contents:
    """What an annotator model and the encoder read."""
    return tuple(payload[field] for field in FIELDS)


def screen_parts(payload: Mapping[str, str]) -> tuple[Part, ...]:
    """What a person reads: both texts under their headings, which the page translates."""
    return tuple(Part(field, name, payload[field]) for field, name in zip(FIELDS, _HEADINGS, strict=True))
