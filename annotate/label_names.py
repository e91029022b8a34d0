"""Which label of a project a value in a file or a request means, and how to say that it means none."""

from collections.abc import Iterable

import orjson
from django.utils.translation import gettext as _

from annotate.models import Label
from models_ml.label_matching import Matcher, is_empty, spellings

_MAX_SAID = 100  # characters of a value in a sentence


def matcher(labels: Iterable[Label]) -> Matcher[Label]:
    """Finds labels by what people and programs write for them."""
    return Matcher({label.name: label for label in labels})


def said(value: object) -> str:
    """A value as a sentence may quote it: short, in one line, without control characters."""
    names = spellings(value)
    text = names[0] if names else _json(value)
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return repr(shown if len(shown) <= _MAX_SAID else f"{shown[: _MAX_SAID - 1]}…")


def why_none(value: object) -> str:
    """Why `value` means no label of the project, as a sentence about a row, without its first letter and full stop."""
    if isinstance(value, list) and sum(not is_empty(one) for one in value) > 1:
        return _("%(value)s names several labels; an item has one") % {"value": said(value)}
    return _("%(value)s is none of the project's labels") % {"value": said(value)}


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):  # an integer of more than 64 bits inside, or half a character
        return f"({type(value).__name__})"
