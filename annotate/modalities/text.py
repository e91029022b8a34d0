"""Text: one string that people read and the encoder embeds."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from annotate.errors import InvalidInput

NAME = "text"
FIELDS = ("text",)
MAX_CHARACTERS = 200_000  # a very long document; more is nearly always a broken file


def payload_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The payload of one imported row; raises InvalidInput with the reason the row cannot be used."""
    text = row.get("text")
    if text is None:
        raise InvalidInput('has no "text"')
    if not isinstance(text, str):
        raise InvalidInput(f'"text" is {type(text).__name__}, not a string')
    if not text.strip():
        raise InvalidInput('"text" is empty')
    if "\x00" in text:
        raise InvalidInput('"text" holds a NUL character')
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f'"text" has {len(text):,} characters; at most {MAX_CHARACTERS:,} are taken')
    return {"text": text}


def content_hash(payload: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of modality and payload, not normalised; u and fold follow from it."""
    canonical = orjson.dumps({"modality": NAME, "payload": payload}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


def prompt_parts(payload: Mapping[str, str]) -> tuple[str, ...]:
    """What an annotator model and the encoder read."""
    return (payload["text"],)
