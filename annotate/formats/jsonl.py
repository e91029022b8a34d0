"""JSON Lines, plain or gzip: one object per line, read without trusting any of it, in bounded memory."""

import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from annotate.errors import InvalidInput

MAX_LINE_BYTES = 1_000_000
MAX_DEPTH = 250  # orjson writes up to 254 levels; deeper metadata could be read but never stored

_LIMIT = MAX_LINE_BYTES + 2  # room for CR and LF
_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_EXCERPT = 120
_INT64 = range(-(2**63), 2**63)
_LONG = 19  # digits of the shortest integer that may not fit into 64 bits
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _LONG)
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_NOT_JSON = re.compile(rb"\b(NaN|Infinity)\b")


@dataclass(frozen=True)
class Facts:
    """What a first pass over a file found."""

    sha256: str  # of the bytes as stored, compressed or not
    n_lines: int
    stamp: tuple[int, int]  # size and time of change, to see that nobody writes to it meanwhile


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading; InvalidInput says why it cannot be read at all."""
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory, not a file.")
    if not path.exists():
        raise InvalidInput(f"There is no file {path}.")
    if not path.is_file():
        raise InvalidInput(f"{path} is not a regular file; it is read twice, so a pipe will not do.")
    try:
        file = path.open("rb", buffering=0)  # each pass brings its own buffer
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield file


def inspect(file: BinaryIO, path: Path, beat: Callable[[], None] = lambda: None) -> Facts:
    """Read everything once: checksum, number of lines, and that a .gz is whole. Stores nothing."""
    digest, n_lines, last, has_content = hashlib.sha256(), 0, b"", False
    stamp = _stamp(file)
    file.seek(0)
    while block := file.read(_BLOCK):
        digest.update(block)
        beat()
    try:
        for block in _blocks(file):
            n_lines += block.count(b"\n")
            last = block[-1:]
            has_content = has_content or bool(block.removeprefix(_BOM).strip())
            beat()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
        raise InvalidInput(
            f"{path}: the gzip file {what} after {n_lines:,} readable lines. Nothing of it was imported."
        ) from error
    if not has_content:
        raise InvalidInput(f"{path} is empty.")
    return Facts(digest.hexdigest(), n_lines + (last != b"\n"), stamp)


def is_unchanged(file: BinaryIO, facts: Facts) -> bool:
    """Whether the file still has the size and time of change that it was inspected with."""
    return _stamp(file) == facts.stamp


def lines(file: BinaryIO, *, skip: int = 0) -> Iterator[tuple[int, bytes, bool]]:
    """(line number from 1, bytes without line end, whether that is all of it) for each line after `skip`.

    Of a line over MAX_LINE_BYTES only the beginning is kept; the rest passes by in blocks.
    """
    stream = _decompressed(file)
    if stream.peek(3).startswith(_BOM):
        stream.read(len(_BOM))
    number = 0
    while raw := stream.readline(_LIMIT):
        number += 1
        goes_on = len(raw) == _LIMIT and not raw.endswith(b"\n")
        if goes_on:
            while (rest := stream.readline(_BLOCK)) and not rest.endswith(b"\n"):
                pass
        if number > skip:
            raw = raw.rstrip(b"\r\n")
            is_whole = not goes_on and len(raw) <= MAX_LINE_BYTES
            yield number, raw if is_whole else raw[: 4 * _EXCERPT], is_whole


def parse(raw: bytes) -> dict[str, Any]:
    """The object on one line; InvalidInput says why it cannot be stored and read back unchanged."""
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(_why_broken(raw, error)) from None
    if not isinstance(row, dict):
        raise InvalidInput(f"is {_KINDS[type(row)]}, not an object")
    # Counting digits first is ten times faster than the search, and nearly always enough.
    if len(raw.translate(None, _NO_DIGITS)) >= _LONG and _LONG_NUMBER.search(raw):
        _check_integers(raw)
    if b"\\u0000" in raw and _has_nul(row):
        raise InvalidInput("holds a NUL character")
    return row


def dumps(value: Any) -> str:
    """JSON for the database; InvalidInput where the value is nested deeper than can be stored."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise InvalidInput(f"is nested deeper than {MAX_DEPTH} levels") from None


def write(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One line per object, keys in the order they have."""
    return b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows])


def excerpt(raw: bytes) -> str:
    """The beginning of a line, printable whatever it holds."""
    text = raw[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


_KINDS = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}


def _stamp(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _decompressed(file: BinaryIO) -> io.BufferedReader:
    """The content from its beginning. The first bytes decide whether it is gzip, not the name."""
    file.seek(0)
    is_gzip = file.read(2) == _GZIP
    file.seek(0)
    # Detached from the file itself: closing the stream must leave the file open for another pass.
    raw = gzip.GzipFile(fileobj=file) if is_gzip else io.FileIO(os.dup(file.fileno()))
    return io.BufferedReader(raw, _BLOCK)  # type: ignore[type-var, arg-type]


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    stream = _decompressed(file)
    while block := stream.read(_BLOCK):
        yield block


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
    """orjson reads an integer past 64 bits as a rounded float; such a row would not be what was sent."""

    def check(digits: str) -> None:
        if len(digits) > 20 or int(digits) not in _INT64:
            raise InvalidInput(f"holds the integer {digits[:20]}…, which does not fit into 64 bits")

    try:
        json.loads(raw, parse_int=check)
    except RecursionError:
        raise InvalidInput(f"is nested deeper than {MAX_DEPTH} levels") from None


def _has_nul(value: Any) -> bool:
    """Whether any string inside holds NUL, which PostgreSQL cannot store."""
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
