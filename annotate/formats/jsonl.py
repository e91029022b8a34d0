"""Decides which lines of a JSON Lines file (plain or gzip) can be used; reads untrusted input in bounded memory."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.formats import streams
from annotate.formats.streams import BLOCK, BOM
from annotate.formats.streams import Facts as Facts
from annotate.formats.streams import is_unchanged as is_unchanged
from annotate.formats.streams import opened as opened

MAX_LINE_BYTES = 1_000_000
# orjson reads 1,024 levels and writes 254: what lies deeper could not be stored, nor given back within lists and rows.
MAX_DEPTH = 250

_LIMIT = MAX_LINE_BYTES + 2  # room for CR and LF
_EXCERPT = 120
EXCERPT_BYTES = 4 * _EXCERPT  # of a line, from which its excerpt is made
_INT64 = range(-(2**63), 2**63)
_LONG = 19  # an integer with at least so many digits may not fit into 64 bits
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _LONG)
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_NOT_JSON = re.compile(rb"\b(NaN|Infinity)\b")


def inspect(
    file: BinaryIO, path: Path | str, beat: Callable[[], None] = lambda: None, *, limit: int | None = None
) -> Facts:
    """Read the whole file once, see streams.inspect; lines are counted by their line feeds."""
    return streams.inspect(file, path, _LineCounter(), beat, limit=limit)


def lines(file: BinaryIO, *, skip: int = 0) -> Iterator[tuple[int, bytes, bool]]:
    """(line number from 1, bytes without line end, whether they are the whole line) for each line after `skip`.

    Of a line longer than MAX_LINE_BYTES only the beginning is kept; the rest is read in blocks and dropped.
    """
    stream = streams.decompressed(file)
    if stream.peek(3).startswith(BOM):
        stream.read(len(BOM))
    number = 0
    while raw := stream.readline(_LIMIT):
        number += 1
        goes_on = len(raw) == _LIMIT and not raw.endswith(b"\n")
        if goes_on:
            while (rest := stream.readline(BLOCK)) and not rest.endswith(b"\n"):
                pass
        if number > skip:
            raw = raw.rstrip(b"\r\n")
            is_whole = not goes_on and len(raw) <= MAX_LINE_BYTES
            yield number, raw if is_whole else raw[:EXCERPT_BYTES], is_whole


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object on one line; InvalidInput if it could not be stored and read back unchanged, with the reason."""
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(_why_broken(raw, error)) from None
    if not isinstance(row, dict):
        raise InvalidInput(_("is %(kinds)s, not an object") % {"kinds": _KINDS[type(row)]})
    # Counting digits is ten times faster than the search, and nearly always enough.
    if len(raw.translate(None, _NO_DIGITS)) >= _LONG and _LONG_NUMBER.search(raw):
        _check_integers(raw)
    if b"\\u0000" in raw and _has_nul(row):
        raise InvalidInput(_("holds a NUL character"))
    if is_too_deep(raw, row):
        raise InvalidInput(_("is nested deeper than %(most)s levels") % {"most": MAX_DEPTH})
    return row


def is_too_deep(raw: bytes, value: Any) -> bool:
    """Whether `value`, which was read from `raw`, is nested deeper than MAX_DEPTH levels; without recursion."""
    # Counting brackets is fast, and nearly always enough.
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    level = [value]
    for _depth in range(MAX_DEPTH):
        level = [part for one in level for part in _parts(one)]
    return any(isinstance(one, dict | list) for one in level)


def dumps(value: Any) -> str:
    """The value as JSON text for the database; InvalidInput if it is nested too deeply to be stored."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise InvalidInput(_("is nested deeper than %(most)s levels") % {"most": MAX_DEPTH}) from None


def write(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """JSON Lines: one line per object, keys in the object's own order."""
    return b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows])


def excerpt(raw: bytes) -> str:
    """The beginning of a line as printable text."""
    return printable(raw[:EXCERPT_BYTES].decode("utf-8", "replace"))


def printable(text: str) -> str:
    """The beginning of a text, with a replacement character for each character that is not printable."""
    shown = (character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:_EXCERPT])
    return "".join(shown)


class _LineCounter:
    """Counts lines that end with a line feed, as JSON Lines has them."""

    def __init__(self) -> None:
        self._n_ends, self._last, self.has_content = 0, b"", False

    def add(self, block: bytes) -> None:
        self._n_ends += block.count(b"\n")
        self._last = block[-1:]
        self.has_content = self.has_content or bool(block.removeprefix(BOM).strip())

    @property
    def n_lines(self) -> int:
        return self._n_ends + (self._last not in (b"\n", b""))


_KINDS = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}


def _why_broken(raw: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return f"is not UTF-8 (byte {wrong.start + 1})"
    if b"\x00" in raw:
        return "holds a NUL character"
    if "depth limit" in error.msg:
        return f"is nested deeper than {MAX_DEPTH} levels"
    if "surrogate" in error.msg:
        return f"holds half a character, a lone surrogate (character {error.pos + 1})"
    if "infinity" in error.msg:
        return f"holds a number too large to store (character {error.pos + 1})"
    if word := _NOT_JSON.search(raw):
        return f"holds {word[0].decode()}, which is not JSON"
    return f"is not JSON: {error.msg.split(': line')[0]} (character {error.pos + 1})"


def _check_integers(raw: bytes) -> None:
    """InvalidInput for an integer beyond 64 bits: orjson would read it as a rounded float."""

    def check(digits: str) -> None:
        if len(digits) > 20 or int(digits) not in _INT64:
            raise InvalidInput(
                _("holds the integer %(digits)s…, which does not fit into 64 bits") % {"digits": digits[:20]}
            )

    try:
        json.loads(raw, parse_int=check)
    except RecursionError:
        raise InvalidInput(_("is nested deeper than %(most)s levels") % {"most": MAX_DEPTH}) from None


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _has_nul(value: Any) -> bool:
    """Whether a string inside the value holds NUL, which PostgreSQL cannot store."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if "\x00" in one:
                return True
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
    return False
