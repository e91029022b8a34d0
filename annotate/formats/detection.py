"""Decides how a file is written (format, encoding, delimiter) from its content, never from its name."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import InvalidInput
from annotate.formats import own_export, recognition, streams, tables
from annotate.formats.columns import is_header
from annotate.formats.dialect import DELIMITERS, NO_DELIMITER, Dialect

_HEAD = 256 * 1024  # bytes at the beginning that decide format and delimiter
_MAX_RECORDS = 500
_WIDEST = tables.MAX_COLUMNS + 1  # columns of a row
_MOST_REREAD = (
    _HEAD // 2
)  # characters of the beginning that are read again after broken quotes, for each way to read it
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x1b\x00"))
_EVEN = 0.9  # of the rows must be equally wide where no name tells that the first one is a header
_ARRAY = re.compile(r"\[\s*(\{|\]\s*$|$)")  # an array of objects, or one without elements

# First bytes of files in other formats, from the formats' specifications.
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word document"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x8b", "a gzip file inside a gzip file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
)
_ADVICE = "Save it as CSV or JSON Lines (plain or .gz), and send that."


@dataclass(frozen=True)
class Detected:
    """How a file seems to be written, and how sure that is."""

    dialect: Dialect
    is_sure: bool  # False: the encoding is a guess that a person should check
    notes: tuple[str, ...]  # sentences for people about the encoding
    facts: streams.Facts


def detect(
    file: BinaryIO,
    name: Path | str,
    beat: Callable[[], None] = lambda: None,
    *,
    limit: int | None = None,
    encoding: str = "",
    choices: Mapping[str, Any] = MappingProxyType({}),
    columns: Collection[str] = (),
) -> Detected:
    """Read the whole file once and decide its dialect; InvalidInput says what it is if it is no table and no JSON.

    Of a `Beginning` all that is there is read, and decides. `limit`: most bytes, unpacked. `choices`: what a person
    decided of the dialect (its encoding also as `encoding`), and `columns`: the columns that somebody chose.
    """
    head = streams.head(file, name, _HEAD)
    _refuse_other_kinds(head, name)
    encoding = choices.get("encoding") or encoding
    is_given = bool(encoding)
    if is_given:
        tables.check_mark(head, encoding, name)
        counter: streams.Counter = tables.LineCounter(encoding)
    else:
        encoding, counter = _survey_of(head, name)
    facts = streams.inspect(file, name, counter, beat, limit=limit)
    is_sure, notes = True, tuple[str, ...]()
    if isinstance(counter, _Survey):
        encoding, is_sure, notes = counter.verdict()
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    is_all = len(head) < _HEAD
    format = choices.get("format") or _json_format(text, name)
    if format in ("jsonl", "json"):
        notes = notes if is_given or encoding == "utf-8" else _json_notes(counter, name)
        dialect, is_sure = Dialect.from_json({**choices, "format": format}), True
    else:
        dialect = _table(text, encoding, is_all, choices, columns)
    if "export" not in choices:
        dialect = recognition.recognised(file, dialect)
    return Detected(dialect, is_sure, (*notes, *own_export.notes(dialect)), facts)


def _refuse_other_kinds(head: bytes, name: Path | str) -> None:
    kind = next((kind for magic, kind in _KINDS if head.startswith(magic)), "")
    if head.startswith(b"PK\x03\x04"):
        kind = _zip_kind(head)
    start = head[:200].lstrip(streams.BOM + b" \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        kind = "a web page"
    elif start.startswith(b"<?xml"):
        kind = "an XML document"
    elif head[257:262] == b"ustar":
        kind = "a tar archive"
    elif head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        raise InvalidInput(_("%(name)s is text in UTF-32. Save it as UTF-8.") % {"name": name})
    if kind:
        raise InvalidInput(
            _("%(name)s is %(kind)s, not CSV or JSON Lines. %(advice)s")
            % {"name": name, "kind": kind, "advice": _ADVICE}
        )


def _zip_kind(head: bytes) -> str:
    """Which kind of document a zip archive is, by the names of the files in it."""
    if b"xl/" in head or b"[Content_Types].xml" in head and b"word/" not in head and b"ppt/" not in head:
        return "an Excel workbook (xlsx)"
    if b"word/" in head:
        return "a Word document (docx)"
    if b"opendocument.spreadsheet" in head:
        return "an OpenDocument spreadsheet (ods)"
    return "a zip archive"


def _survey_of(head: bytes, name: Path | str) -> tuple[str, streams.Counter]:
    """The encoding as far as the first bytes tell, and the counter that the whole file is then read with."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", tables.LineCounter("utf-16")
    n_nul = head.count(b"\x00")
    if n_nul > 1 and n_nul * 5 > len(head):
        raise InvalidInput(
            _("%(name)s looks like UTF-16 without its byte order mark, or is no text at all. Save it as UTF-8.")
            % {"name": name}
        )
    n_control = len(head) - len(head.translate(None, _CONTROL))
    if n_control + n_nul > 5 and (n_control + n_nul) * 50 > len(head):
        raise InvalidInput(
            _("%(name)s is no text file: it is full of control characters. %(advice)s")
            % {"name": name, "advice": _ADVICE}
        )
    return "utf-8", _Survey()


def _json_format(text: str, name: Path | str) -> str:
    """json or jsonl if the text is one of these, else nothing; InvalidInput for another JSON document."""
    text = text.lstrip()
    if _ARRAY.match(text):
        return "json"
    if text[:1] == "{":
        _refuse_document(text, name)
    return "jsonl" if text[:1] in ("{", "[") else ""


def _refuse_document(text: str, name: Path | str) -> None:
    """InvalidInput if the text is one JSON object over many lines instead of one object per line."""
    if text.split("\n", 1)[0].strip() == "{":
        raise InvalidInput(
            _(
                "%(name)s is one JSON document. What can be read is one object per line (JSON Lines), or an "
                "array of objects (`jq -c '.[]' FILE` takes them out of a document)."
            )
            % {"name": name}
        )


def _json_notes(counter: streams.Counter, name: Path | str) -> tuple[str, ...]:
    if not isinstance(counter, _Survey):
        raise InvalidInput(
            _("%(name)s is JSON in UTF-16; JSON is always UTF-8 (RFC 8259, section 8.1). Save it anew.")
            % {"name": name}
        )
    sentence = ngettext(
        "%(n)s line is not UTF-8, which JSON always is: line %(first)s. It will be set aside.",
        "%(n)s lines are not UTF-8, which JSON always is, line %(first)s the first of them; they will be set aside.",
        counter.n_broken,
    )
    return (sentence % {"n": f"{counter.n_broken:,}", "first": f"{counter.first_broken:,}"},)


# ---- encoding


class _Survey(tables.LineCounter):
    """Counts lines, and of those with non-ASCII bytes how many are valid UTF-8 and how many are not."""

    def __init__(self) -> None:
        super().__init__("utf-8")
        self._rest = b""
        self._n_before = 0  # lines judged before
        self.n_broken = self.first_broken = self.n_valid = self.first_valid = 0
        self._has_c1 = False

    def add(self, block: bytes) -> None:
        super().add(block)
        block = self._rest + block
        # A carriage return at the very end is kept back: its line feed may follow in the next block.
        end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block) - 1)) + 1
        # A line longer than a block is cut, between two characters if possible, so that the kept rest stays small.
        end = end or (len(block) - _n_tail(block) if len(block) > streams.BLOCK else 0)
        self._judge(block[:end])
        self._rest = block[end:]

    def verdict(self) -> tuple[str, bool, tuple[str, ...]]:
        """(encoding, whether it is sure, sentences about it for people)"""
        self._judge(self._rest)
        self._rest = b""
        if not self.n_broken:
            return "utf-8", True, ()
        guess = "cp1252" if not self._has_c1 else "latin-1"
        if not self.n_valid:
            return guess, False, (_("The file is not UTF-8; its encoding is a guess. Look at the accents below."),)
        if self.n_broken > self.n_valid:
            return guess, False, (f"{self._mixed()} {_('Read like this, the UTF-8 lines come out garbled.')}",)
        return "utf-8", True, (f"{self._mixed()} {_('The lines that are not will be set aside.')}",)

    def _mixed(self) -> str:
        sentence = _(
            "The file mixes encodings. Lines with accents in UTF-8: %(valid)s (line %(first_valid)s the first); not in "
            "UTF-8: %(broken)s (line %(first_broken)s the first)."
        )
        numbers = {"valid": self.n_valid, "broken": self.n_broken}
        numbers |= {"first_valid": self.first_valid, "first_broken": self.first_broken}
        return sentence % {name: f"{number:,}" for name, number in numbers.items()}

    def _judge(self, lines: bytes) -> None:
        if not lines.isascii():
            for number, line in enumerate(lines.splitlines(), start=self._n_before + 1):
                if not line.isascii():
                    self._judge_line(number, line)
        self._n_before += lines.count(b"\n") + lines.count(b"\r") - lines.count(b"\r\n")

    def _judge_line(self, number: int, line: bytes) -> None:
        try:
            line.decode()
        except UnicodeDecodeError:
            self.n_broken += 1
            self.first_broken = self.first_broken or number
            self._has_c1 = self._has_c1 or any(byte in line for byte in b"\x81\x8d\x8f\x90\x9d")
        else:
            self.n_valid += 1
            self.first_valid = self.first_valid or number


def _n_tail(block: bytes) -> int:
    """How many bytes at the end of the block may be a character cut in two: a lead byte and at most two more."""
    for n in (1, 2, 3):
        if block[-n] >= 0xC0:
            return n
    return 0


# ---- tables


def _table(text: str, encoding: str, is_all: bool, choices: Mapping[str, Any], columns: Collection[str]) -> Dialect:
    """How a table is written: what a person chose, and the rest by what fits best."""
    base = Dialect("csv", encoding)
    named = tables.SEPARATOR.match(text)
    detected = named[1] if named and named[1] in DELIMITERS else _delimiter(text, base, is_all, columns)
    dialect = replace(base, delimiter=choices.get("delimiter", detected))
    dialect = replace(dialect, quoting=choices.get("quoting", _has_quoting(text, dialect, is_all, columns)))
    header_line = 2 if named and named[1] in DELIMITERS else 1
    if header_line == 1 and not any(
        _has_header(text, one, is_all, columns) for one in {dialect, replace(dialect, delimiter=detected)}
    ):
        header_line = 0
    wanted = choices.get("header_line", header_line)
    if wanted == 1 and header_line == 2:
        wanted = 2  # who says that the first line names the columns, means the first below "sep=;"
    return Dialect.from_json({**dialect.to_json(), **choices, "header_line": wanted})


def _delimiter(text: str, base: Dialect, is_all: bool, columns: Collection[str]) -> str:
    """The delimiter by which most rows have as many cells as the header, or none."""
    candidates = [replace(base, delimiter=delimiter) for delimiter in DELIMITERS if delimiter != NO_DELIMITER]
    best = max(candidates, key=lambda dialect: _consistency(text, dialect, is_all))
    makes_columns, share, _ = _consistency(text, best, is_all)
    if not makes_columns or (share < _EVEN and not _has_header(text, best, is_all, columns)):
        return NO_DELIMITER  # sentences have commas as well, but not the same number in each line
    return best.delimiter


def _has_quoting(text: str, dialect: Dialect, is_all: bool, columns: Collection[str]) -> bool:
    """Whether double quotes enclose cells. In a table by tabs, and in plain lines, they often are characters.

    There they enclose cells only if no row is lost by it, neither broken nor joined with others, or if the very
    first cell is written so.
    """
    plain = replace(dialect, quoting=False)
    if dialect.delimiter == "\t" and not text.startswith('"'):
        n_quoted, n_plain = (_n_even(text, one, is_all) for one in (dialect, plain))
        return n_quoted >= n_plain
    if dialect.delimiter == NO_DELIMITER:
        is_table = text.startswith('"') or _has_header(text, dialect, is_all, columns)
        return is_table and not any(isinstance(raw, tables.Broken) for raw in _sample(text, dialect, is_all))
    return True


def _has_header(text: str, dialect: Dialect, is_all: bool, columns: Collection[str]) -> bool:
    rows = _sample(text, dialect, is_all)
    if rows and isinstance(rows[0], tables.Broken):
        return True  # which is then said
    whole = [raw for raw in rows if isinstance(raw, list)]
    return bool(whole) and is_header(whole[0], whole[1:], columns)


def _n_even(text: str, dialect: Dialect, is_all: bool) -> int:
    """How many rows are as wide as the first."""
    widths = _widths(text, dialect, is_all)
    return sum(width == widths[0] for width in widths)


def _consistency(text: str, dialect: Dialect, is_all: bool) -> tuple[bool, float, int]:
    """(whether it gives more than one column, share of rows as wide as the header, width of the header)"""
    widths = _widths(text, dialect, is_all)
    header, rows = widths[0], widths[1:]
    whole = [width for width in rows if width]  # broken records have width 0 and do not count
    usual, n_usual = Counter(whole).most_common(1)[0] if whole else (header, 0)
    makes_columns = header > 1 and usual > 1 and 2 * n_usual >= len(whole)
    share = sum(width == header for width in rows) / len(rows) if rows else 1.0
    return makes_columns, round(share, 2), header


def _widths(text: str, dialect: Dialect, is_all: bool) -> list[int]:
    return [len(raw) if isinstance(raw, list) else 0 for raw in _sample(text, dialect, is_all)] or [0]


def _sample(text: str, dialect: Dialect, is_all: bool) -> list[tables.Raw]:
    """The first records of the text."""
    rows = tables.records(StringIO(text, newline=""), dialect, most_reread=_MOST_REREAD)
    # Of a row with more columns than are taken only these are looked at.
    records = [raw if isinstance(raw, tables.Broken) else raw[:_WIDEST] for _, raw in islice(rows, _MAX_RECORDS + 1)]
    if len(records) > _MAX_RECORDS or not is_all:
        return records[:-1] or records  # the last record is cut off
    return records
