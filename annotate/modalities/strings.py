"""What modalities of written fields share: how a field is checked, how a payload is hashed, what a screen shows."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from models_ml.texts import has_text

AS_NAMED: Mapping[str, str] = {}  # each field stands in the column of its own name
MAX_CHARACTERS = 200_000  # a very long document; more is nearly always a broken file


@dataclass(frozen=True)
class Part:
    """One block of text on the annotating screen; `heading` is None where it stands alone."""

    field: str
    heading: Promise | None  # translated where it is shown
    text: str


def checked(row: Mapping[str, Any], field: str) -> str:
    """The text in this column; raises InvalidInput with the reason the row cannot be used."""
    text = row.get(field)
    if text is None:
        raise InvalidInput(_('has no "%(field)s"') % {"field": field})
    if not isinstance(text, str):
        raise InvalidInput(_('"%(field)s" is %(type)s, not a string') % {"field": field, "type": type(text).__name__})
    if not has_text(text):
        raise InvalidInput(_('"%(field)s" is empty') % {"field": field})
    if "\x00" in text:
        raise InvalidInput(_('"%(field)s" holds a NUL character') % {"field": field})
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(
            _('"%(field)s" has %(many)s characters; at most %(most)s are taken')
            % {"field": field, "many": f"{len(text):,}", "most": f"{MAX_CHARACTERS:,}"}
        )
    return text


def content_hash(modality: str, payload: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of modality and payload, not normalised; u and fold follow from it."""
    canonical = orjson.dumps({"modality": modality, "payload": payload}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()
