"""Which label a value means: the one function by which names from files, programs and machines are compared.

A value means a label if it is the label's name; else if the two have the same form (see `form`) and no other label
has it. All else means no label: a nearest match would be a guess.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from unicodedata import category, normalize

from models_ml.texts import has_text, trimmed

T = TypeVar("T")
MAX_NAME = 400  # characters; labels have 100 at most, and may be written decomposed
_MAX_INTEGER = 10**100  # Python writes no integers of thousands of digits, and no label is called like that
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")


class Matcher(Generic[T]):
    """Finds what belongs to the label that a value means, by the names of all labels of a project."""

    def __init__(self, by_name: Mapping[str, T]) -> None:
        self._by_name = dict(by_name)
        shared = Counter(map(form, self._by_name))
        self._by_form = {form(name): found for name, found in self._by_name.items() if shared[form(name)] == 1}

    def find(self, value: object) -> T | None:
        """What belongs to the label that `value` means; None where it means none, or more than one."""
        names = spellings(value)
        for name in names:
            if name in self._by_name:
                return self._by_name[name]
        return next((self._by_form[form(name)] for name in names if form(name) in self._by_form), None)


def form(name: str) -> str:
    """What names that differ only in writing have in common.

    Without blanks around it, every blank (no-break ones too) as a space, without upper and lower case, composed (NFC).
    A whole number with decimals of zero is that number: tables often write 1 as 1.0. A text of more than MAX_NAME
    characters is no name, and stays as it is: composing takes time by the square of a run of combining marks.
    """
    if len(name := trimmed(name)) > MAX_NAME:
        return name
    spaced = "".join(" " if category(character) == "Zs" else character for character in name)
    # Case is folded on decomposed text: so says Unicode (3.13, D145: canonical caseless matching).
    folded = normalize("NFC", normalize("NFD", spaced).casefold())
    whole = _WHOLE.fullmatch(folded)
    return whole[1] if whole else folded


def spellings(value: object) -> tuple[str, ...]:
    """How a value of JSON or of a cell is usually written as a name, the nearest first; () if it is no name.

    A boolean is "true" or "false"; yes and no are names like others. A list of one value is that value.
    """
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list):
        return spellings(value[0])
    if isinstance(value, str):
        return (value,)
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, int) and abs(value) < _MAX_INTEGER:
        return (str(value),)
    if isinstance(value, float) and math.isfinite(value):
        return (repr(value), str(int(value))) if value.is_integer() else (repr(value),)
    return ()


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, a text that cannot be seen, an empty list, or a list of one such value."""
    if isinstance(value, list):
        return all(is_empty(one) for one in value)
    return value is None or (isinstance(value, str) and not has_text(value))
