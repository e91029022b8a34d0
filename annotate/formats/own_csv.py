"""Decides how CSV that formats/csv wrote is read: null and an empty text stay two things, in bounded memory."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from django.utils.translation import ngettext

from annotate.errors import InvalidInput
from annotate.formats import csv, jsonl, streams
from annotate.formats.dialect import Dialect
from annotate.formats.tables import MAX_RECORD, Broken, Table, reread_of

Raw = list[str | None] | Broken

_LIMIT = MAX_RECORD + 2  # room for CR and LF
_REREAD = 20_000_000  # characters that are read again after broken records, at most: this bounds the time
_BEGINNING = 500  # characters of a broken record that are kept
_BAD = re.compile("[\ud800-\udfff]")


class OwnCsv:
    """Reads such a file as rows of texts and nulls, named by the header. Lines are counted as `Table` counts them."""

    is_typed = True
    warnings: list[str] = []  # nothing can be misread

    def __init__(self, dialect: Dialect) -> None:
        self.table = Table(dialect)  # any table's reader reads it too, but for null and the empty text
        self.columns: list[str] = []

    def inspect(
        self, file: BinaryIO, name: Path | str, beat: Callable[[], None] = lambda: None, *, limit: int | None = None
    ) -> streams.Facts:
        return self.table.inspect(file, name, beat, limit=limit)

    def check_beginning(self, file: BinaryIO, name: Path | str) -> None:
        self.table.check_beginning(file, name)

    def names(self, file: BinaryIO) -> list[str]:
        return self.table.names(file)

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[tuple[int, Raw, bool]]:
        """(line on which the row begins, cells or Broken, True) for each row after line `skip`."""
        self.columns = self.names(file)
        most, _cut = reread_of(file)
        for number, raw in islice(records(_decoded(file), most), 1, None):  # below the header, on whatever line that is
            if number > skip:
                yield number, raw, True

    def parse(self, raw: Raw) -> dict[str, Any]:
        """The cells by column; InvalidInput says why the row cannot be used."""
        if isinstance(raw, Broken):
            raise InvalidInput(raw.reason)
        if len(raw) != len(self.columns):
            raise InvalidInput(
                ngettext(
                    "has %(cells)s cell where the header has %(columns)s",
                    "has %(cells)s cells where the header has %(columns)s",
                    len(raw),
                )
                % {"cells": f"{len(raw):,}", "columns": f"{len(self.columns):,}"}
            )
        return dict(zip(self.columns, raw, strict=True))

    def excerpt(self, raw: Raw) -> str:
        return jsonl.printable(raw.text if isinstance(raw, Broken) else ",".join(cell or "" for cell in raw))

    def size(self, raw: Raw) -> int:
        return len(raw.text) if isinstance(raw, Broken) else sum(len(cell or "") for cell in raw)


def records(stream: TextIO, most_reread: int | None = None) -> Iterator[tuple[int, Raw]]:
    """(line on which the record begins, cells or Broken) for each record; empty lines are left out.

    Of a broken record the lines below its first one are read again, since they may be good rows: `most_reread`
    characters at most.
    """
    waiting = list[str]()  # lines to be read again, the next one last
    last = n_reread = 0
    while kept := _record(stream, waiting):
        start, last = last + 1, last + len(kept)
        raw = _judged(kept)
        if isinstance(raw, Broken) and len(kept) > 1 and n_reread < (_REREAD if most_reread is None else most_reread):
            waiting += reversed(kept[1:])
            last -= len(kept) - 1
            n_reread += sum(map(len, kept))
        elif isinstance(raw, Broken):
            _skip_rest(stream, kept[-1])
            raw = raw if len(kept) == 1 else _with_all(raw, last)
        if raw:
            yield start, raw


def _record(stream: TextIO, waiting: list[str]) -> list[str]:
    """The lines of the next record: until no cell in quotes is open, or there are too many characters."""
    kept, n_quotes, n_characters = list[str](), 0, 0
    while line := waiting.pop() if waiting else stream.readline(_LIMIT):
        kept.append(line)
        n_quotes += line.count('"')
        n_characters += len(line)
        if n_quotes % 2 == 0 or n_characters > _LIMIT:
            break
    return kept


def _judged(kept: list[str]) -> Raw:
    """The cells of the record on these lines, none for an empty line."""
    text = "".join(kept)
    if len(text.rstrip("\r\n")) > MAX_RECORD:
        return Broken(f"is longer than {MAX_RECORD:,} characters", text[:_BEGINNING])
    if text.count('"') % 2:
        return Broken("opens a double quote that is never closed", text[:_BEGINNING])
    return _cells(text) if text.strip("\r\n") else []


def _with_all(raw: Broken, last: int) -> Broken:
    return replace(raw, reason=f"{raw.reason} (with it, everything up to line {last:,} was set aside)")


def _cells(text: str) -> Raw:
    if not text.isascii() and _BAD.search(text):
        return Broken("is not UTF-8", text[:_BEGINNING].encode("utf-8", "replace").decode())
    if "\0" in text:  # which PostgreSQL cannot store
        return Broken("holds a NUL character", text[:_BEGINNING])
    try:
        return csv.cells(text)
    except ValueError as error:
        return Broken(str(error), text[:_BEGINNING])


def _skip_rest(stream: TextIO, line: str) -> None:
    """Read and drop the rest of a line that was read in part."""
    while line and not line.endswith(("\n", "\r")):
        line = stream.readline(_LIMIT)


def _decoded(file: BinaryIO) -> TextIO:
    stream = streams.decompressed(file)
    if stream.peek(3).startswith(streams.BOM):
        stream.read(len(streams.BOM))
    return io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")
