"""Which option a reply names: by its code or by its label's name, alone or in one of the wrappings that models put on.

Asked for the code of an option, models answer `A`, `A.`, `A)`, `(A)`, `**A**`, `"A"`, `a`, `spam`, `A. spam`,
`A: spam`, `Answer: A`, `{"label": "A"}`, or think first (<think>…</think>A). Nothing else is an answer: a reply that
names two options, or whose code and name are of different options, names none.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models_ml.label_matching import Matcher
from models_ml.texts import trimmed

Part = tuple[int, object]  # where it begins in the reply, and what it is: a text, or a value of JSON

_BEGIN, _END = "<think>", "</think>"
_LONGEST = 400  # characters of an answer that can still be a code and a name in a wrapping
_WRAPPINGS = tuple(
    re.compile(pattern)
    for pattern in (r"(.+)", r"(.+)\.", r"(.+)\)", r"\((.+)\)", r"\*\*(.+)\*\*", r'"(.+)"', r"(?i:answer):(.+)")
)
_CODE_AND_NAME = re.compile(r"([A-Za-z]+)[.:]\s(.+)")


@dataclass(frozen=True, slots=True)
class Named:
    """The option that a reply names."""

    label: int
    code: str | None = None  # as it is written in the reply; None: the label's name stands alone
    start: int = 0  # where the code begins in the reply


def option_named(reply: str, codes: Sequence[str], names: Matcher[int]) -> Named | None:
    """The one option that `reply` names; None if it names none, or more than one. `names`: indexes of labels."""
    start, answer = _trimmed(*_without_thoughts(reply))
    if not 0 < len(answer) <= _LONGEST:
        return None
    parts = list(_parts(start, answer))
    by_code = next((one for part in parts if (one := _by_code(part, codes))), None)
    by_name = next((Named(label) for _start, value in parts if (label := names.find(value)) is not None), None)
    if both := _code_and_name(start, answer, codes, names):
        by_code, by_name = by_code or both[0], by_name or both[1]
    if by_code and by_name and by_code.label != by_name.label:
        return None
    return by_code or by_name


def _without_thoughts(reply: str) -> Part:
    """The reply after what the model thought aloud, if it began so and came to an end of it."""
    start, text = _trimmed(0, reply)
    end = text.find(_END)
    if not text.startswith(_BEGIN) or end < 0:
        return start, text
    return start + end + len(_END), text[end + len(_END) :]


def _parts(start: int, answer: str) -> Iterator[Part]:
    """All that may be a code or a name in the answer: the whole of it, and what is in a wrapping."""
    for wrapping in _WRAPPINGS:
        if found := wrapping.fullmatch(answer):
            yield _trimmed(start + found.start(1), found[1])
    if answer.startswith("{"):
        yield from _in_json(start, answer)


def _in_json(start: int, answer: str) -> Iterator[Part]:
    try:
        pairs = json.loads(answer, object_pairs_hook=list)  # as pairs: of two labels a dict would keep the last
    except (ValueError, RecursionError):
        return
    if [name for name, _value in pairs] == ["label"]:
        value = pairs[0][1]
        yield start + (answer.rfind(f'"{value}"') + 1 if isinstance(value, str) else 0), value


def _code_and_name(start: int, answer: str, codes: Sequence[str], names: Matcher[int]) -> tuple[Named, Named] | None:
    """The option of the code and that of the name, where the answer is a code with a name behind it."""
    found = _CODE_AND_NAME.fullmatch(answer)
    code = _by_code((start, found[1]), codes) if found else None
    label = names.find(found[2]) if found else None
    return (code, Named(label)) if code and label is not None else None


def _by_code(part: Part, codes: Sequence[str]) -> Named | None:
    start, value = part
    if not isinstance(value, str) or not value.isascii() or value.upper() not in codes:
        return None
    return Named(codes.index(value.upper()), value, start)


def _trimmed(start: int, text: object) -> tuple[int, str]:
    """The text without blanks around it, and where it begins then."""
    assert isinstance(text, str)
    kept = trimmed(text)
    return start + text.find(kept), kept
