"""Decides what the beginning of a file tells: how it is written, its columns, its first rows. No project is needed.

While somebody waits, MOST_BYTES are read, unpacked, for SECONDS of CPU time at most; what needs the whole file is a
run (annotate/imports/counting.py, annotate/imports/ingest.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import InvalidInput
from annotate.formats import beginnings, detection, nested, own_export, streams
from annotate.formats.beginnings import Beginning, Clock
from annotate.formats.columns import Chosen, propose, without_labels
from annotate.formats.dialect import Dialect
from annotate.formats.jsonl import MAX_LINE_BYTES
from annotate.formats.reader import Line, Reader, reader_of
from annotate.formats.tables import is_too_long
from annotate.imports.label_columns import shown

MOST_BYTES = 1 << 20  # of the content, and of the stored bytes: more than the longest row
SECONDS = 0.6  # of CPU time, for all that is made of the bytes
N_CHECKED = 1_000  # rows that a preview reads as an import would
_READING_SECONDS = 0.25  # of them, after which no more bytes are handed to the readers
_N_SAMPLES = 3  # values of a column


@dataclass(frozen=True)
class Row:
    """One of the first rows, as its reader gave it and as it was parsed."""

    line: Line
    columns: dict[str, Any] | None  # None: it cannot be used


@dataclass(frozen=True)
class Column:
    """A column of the file, with the first different values in it."""

    name: str
    samples: tuple[str, ...]
    role: str | None  # text (or text_a, text_b), id, gold, silver, confidence; None: it becomes metadata


@dataclass(frozen=True)
class FilePreview:
    """What the beginning of a file tells."""

    dialect: Dialect
    reader: Reader
    is_sure: bool  # False: the encoding is a guess
    notes: tuple[str, ...]
    names: list[str]  # of the columns
    mapping: dict[str, str | None]  # column by role: as chosen, else as proposed
    rows: list[Row]  # the first ones
    n_rows: int  # about, where only the beginning was read
    n_bytes: int  # unpacked; about, where only the beginning was read
    n_bytes_read: int  # unpacked
    is_whole: bool  # whether all of the file was read
    doubts: tuple[str, ...]  # sentences about rows that may have been misread
    clock: Clock  # by which the time of the whole preview is bounded

    @property
    def parsed(self) -> list[dict[str, Any]]:
        """The values by column of each row that can be parsed."""
        return [row.columns for row in self.rows if row.columns is not None]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns with samples of their values."""
        seen: dict[str, dict[str, None]] = {name: {} for name in self.names}
        for columns in self.parsed:
            if self.clock.is_over:
                break
            for name, value in nested.values(columns, seen, is_flat=not self.reader.is_typed):
                if len(seen[name]) < _N_SAMPLES and value not in (None, ""):
                    seen[name][shown(value)] = None
        roles = {column: role for role, column in self.mapping.items() if column}
        return tuple(Column(name, tuple(samples), roles.get(name)) for name, samples in seen.items())

    def why_unreadable(self) -> str:
        """Why no column can be chosen, with the reason of the first row; empty where some row has a field."""
        if self.names:
            return ""
        if not self.rows:
            sentence = _("No row ends within the first %(many)s bytes; more is not read while you wait.")
            return sentence % {"many": f"{self.n_bytes_read:,}"} if not self.is_whole else ""
        number, reason = self.rows[0].line[0], self._why_not()
        sentence = ngettext(
            "The first row cannot be read: row %(number)s %(reason)s.",
            "None of the first %(n)s rows can be read: row %(number)s, the first, %(reason)s.",
            len(self.rows),
        )
        return sentence % {"n": f"{len(self.rows):,}", "number": f"{number:,}", "reason": reason}

    def _why_not(self) -> str:
        _number, raw, is_whole = self.rows[0].line
        if not is_whole:
            return _("is longer than %(most)s bytes") % {"most": f"{MAX_LINE_BYTES:,}"}
        try:
            self.reader.parse(raw)
        except InvalidInput as error:
            return str(error)
        return _("has no fields")


def of_file(
    file: BinaryIO,
    name: str,
    *,
    fields: Sequence[str] = ("text",),
    dialect: Mapping[str, Any] | None = None,
    columns: Chosen | None = None,
    limit: int | None = None,
) -> FilePreview:
    """What the first MOST_BYTES of a file tell of it. `file`: on disk, or bytes as io.BytesIO.

    `name`: the file's name in messages. `fields`: the fields that the content of an item has. `dialect`: what a person
    chose of it, and `columns`: column by role, instead of what is detected and proposed. `limit`: most bytes of the
    content. InvalidInput if the file is neither a table nor JSON, or cannot be read like this at all.
    """
    choices, chosen = dialect or {}, columns or {}
    Dialect.from_json({"format": "csv", **choices})  # refuses impossible choices before the file is read
    clock = Clock(SECONDS)
    start, damage = beginnings.beginning(file, most=MOST_BYTES, reading=Clock(_READING_SECONDS))
    if damage is not None:
        n_lines = start.getvalue().count(b"\n")
        raise InvalidInput(streams.damage_sentence(name, damage, n_lines))
    n_bytes = start.n_bytes / start.share if start.n_bytes else 0
    # What a file says of its size may be anything where it is cut off: what is there has to look like it.
    if limit is not None and not start.is_whole and min(beginnings.stated_bytes(file), n_bytes) > limit:
        raise InvalidInput(streams.too_large(name, start.stamp[0], limit))
    wanted = [column for column in chosen.values() if column]
    found = detection.detect(start, name, limit=limit, choices=choices, columns=wanted)
    reader = reader_of(found.dialect)
    if start.is_whole:
        reader.inspect(start, name, limit=limit)
    else:
        reader.check_beginning(start, name)
    names = reader.names(start)
    rows, n_rows = _rows(reader, start, clock, is_cut_out=found.dialect.format == "json")
    n_bytes = round(start.n_read / start.share)  # again: less may have been read than is there
    return FilePreview(
        dialect=found.dialect,
        reader=reader,
        is_sure=found.is_sure,
        notes=found.notes,
        names=names,
        mapping=mapping_of(found.dialect, names, chosen, fields),
        rows=rows,
        n_rows=n_rows,
        n_bytes=n_bytes,
        n_bytes_read=start.n_read,
        is_whole=start.is_whole,
        doubts=(*reader.warnings, *_too_large(n_bytes, limit)),
        clock=clock,
    )


def _rows(reader: Reader, start: Beginning, clock: Clock, *, is_cut_out: bool) -> tuple[list[Row], int]:
    """The first N_CHECKED rows, and how many the whole file has: about, where only its beginning is there.

    `is_cut_out`: rows are found by their brackets, so that none of them can be cut off by the end of the beginning.
    """
    rows, n = list[Row](), 0
    for line in _ended(reader.lines(start), start, is_cut_out=is_cut_out):
        n += 1
        if len(rows) < N_CHECKED and not (rows and clock.is_over):
            rows.append(Row(line, _parsed(reader, line)))
    return rows, n if start.is_whole else max(len(rows), round(n / start.share))


def _ended(lines: Iterator[Line], start: Beginning, *, is_cut_out: bool) -> Iterator[Line]:
    """The rows that have ended: where the beginning ends before the file does, it may cut off the last one."""
    before: Line | None = None
    for line in lines:
        if before is not None:
            yield before
        before = line
    # A row that is longer than any may be is known to be so without its end.
    if before is not None and (start.is_whole or is_cut_out or not before[2] or is_too_long(before[1])):
        yield before


def _parsed(reader: Reader, line: Line) -> dict[str, Any] | None:
    _number, raw, is_whole = line
    try:
        return reader.parse(raw) if is_whole else None
    except InvalidInput:
        return None


def mapping_of(dialect: Dialect, names: list[str], columns: Chosen, fields: Sequence[str]) -> dict[str, str | None]:
    """The column of each role as chosen; columns of content and id are proposed where nobody chose any.

    In an export of Goldloop the columns of labels are known, too.
    """
    if columns.keys() & {*fields, "id"}:
        return dict(columns)
    if dialect.export:
        return {**own_export.propose(names, fields), **columns}
    return {**without_labels(propose(names, fields)), **columns}


def _too_large(n_bytes: int, limit: int | None) -> list[str]:
    """A sentence about a file that seems to hold more than an import takes."""
    if limit is None or n_bytes <= limit:
        return []
    sentence = _(
        "It seems to hold about %(many)s bytes when it is unpacked; %(limit)s are taken. If it does, an import of it "
        "ends before anything is stored: split it into several files."
    )
    return [sentence % {"many": f"{n_bytes:,}", "limit": f"{limit:,}"}]
