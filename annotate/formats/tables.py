"""Decides which records of a CSV file (RFC 4180, and usual deviations) can be used; reads it in bounded memory.

A record is one row and may span several lines of the file; its number is the line on which it begins, as editors
count lines. A record that breaks the rules becomes a `Broken` with the reason, and reading continues on the next
line.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import InvalidInput
from annotate.formats import jsonl, streams
from annotate.formats.beginnings import Beginning
from annotate.formats.dialect import DELIMITERS, ENCODINGS, NO_DELIMITER, Dialect

MAX_RECORD = jsonl.MAX_LINE_BYTES  # characters
MAX_COLUMNS = 1_000
MAX_NAME = 200  # characters of a column's name
_FIRST = "column 1"  # the first column's name where the header leaves it empty, as programs do above row numbers

_LIMIT = MAX_RECORD + 2  # room for CR and LF
_REREAD = 20_000_000  # characters that are read again after broken quotes, at most: this bounds the time
_REREAD_OF_BEGINNING = 1_000_000  # the same where only the beginning of a file is looked at, while somebody waits
_CUT = 50_000  # characters of a record that the end of a beginning may have cut off: a longer one is broken
_BEGINNING_ROWS = 20  # that are looked at before a file is taken
_BEGINNING = 500  # characters of a broken record that are kept
_BAD = re.compile("[\ud800-\udfff]")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)  # a first line that spreadsheets write and read
_MARKS = "\ufeff\xef\xbb\xbf"  # a byte order mark, decoded or read as one byte per character

# The csv module's own limit (131,072 characters, for the whole process) is lower than MAX_RECORD.
csv.field_size_limit(2 * _LIMIT)


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that cannot be used, and the reason for people."""

    reason: str
    text: str  # its beginning
    is_too_long: bool = False


Raw = list[str] | Broken
Notice = Callable[[int, Sequence[str]], None]


class Table:
    """Reads a CSV file as rows of texts, named by the header."""

    is_typed = False  # every value is text, and an empty cell means none

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.columns: list[str] = []
        self._header: list[str | None] = []  # None: a column without a name, which holds nothing
        self._swallowing = (0, 0)  # how many rows may have swallowed others, and the line of the first

    @property
    def warnings(self) -> list[str]:
        """Sentences about what `lines` read last: cells that span lines, each of which could be a row."""
        n, first = self._swallowing
        if not n:
            return []
        sentence = ngettext(
            "%(n)s row (on line %(first)s) has a quoted cell that spans several lines, and each of them has as many "
            "cells as the header: perhaps a double quote is a character like others here, and rows were joined. Then "
            "read the file with quoting off.",
            "%(n)s rows (line %(first)s the first) have a quoted cell that spans several lines, and each of them has "
            "as many cells as the header: perhaps a double quote is a character like others here, and rows were "
            "joined. Then read the file with quoting off.",
            n,
        )
        return [sentence % {"n": f"{n:,}", "first": f"{first:,}"}]

    def inspect(
        self,
        file: BinaryIO,
        name: Path | str,
        beat: Callable[[], None] = lambda: None,
        *,
        limit: int | None = None,
    ) -> streams.Facts:
        """Read the whole file once, see streams.inspect; InvalidInput also for an unusable header or no rows."""
        check_mark(streams.head(file, name, 2), self.dialect.encoding, name)
        facts = streams.inspect(file, name, LineCounter(self.dialect.encoding), beat, limit=limit)
        self.check_beginning(file, name)
        return facts

    def check_beginning(self, file: BinaryIO, name: Path | str) -> None:
        """InvalidInput for an unusable header, a column that needs a name and has none, or no rows."""
        check_mark(streams.head(file, name, 2), self.dialect.encoding, name)
        try:
            rows = self.lines(file)
            has_rows = next((True for _, raw, _ in rows if self._check_nameless(raw)), False)
            if None in self._header:
                all(self._check_nameless(raw) for _, raw, _ in islice(rows, _BEGINNING_ROWS))
        except InvalidInput as error:
            raise InvalidInput(_("%(name)s: %(error)s") % {"name": name, "error": error}) from None
        if not has_rows:
            raise InvalidInput(_("%(name)s has a header, but no row below it.") % {"name": name})

    def names(self, file: BinaryIO) -> list[str]:
        """The names of the columns, from the header."""
        next(self.lines(file), None)
        return self.columns

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[tuple[int, Raw, bool]]:
        """(line on which the row begins, cells or Broken, True) for each row after line `skip`, without blank lines.

        InvalidInput for an unusable header.
        """
        self._swallowing, self._header = (0, 0), []
        most, cut = reread_of(file)
        text = _decoded(file, self.dialect.encoding)
        rows = records(text, self.dialect, self._notice, most_reread=most, cut=cut)
        if self.dialect.header_line:
            header = next(islice(rows, self.dialect.header_line - 1, None), None)
            self._header = _names(header[1] if header else [])
        else:
            rows = self._numbered(rows)
        self.columns = [name for name in self._header if name is not None]
        for number, raw in rows:
            if number > skip and not self._is_blank(raw):
                yield number, raw, True

    def parse(self, raw: Raw) -> dict[str, Any]:
        """The cells by column; InvalidInput says why the row cannot be used."""
        if isinstance(raw, Broken):
            raise InvalidInput(raw.reason)
        if len(raw) == len(self.columns) == len(self._header):
            return dict(zip(self.columns, raw, strict=True))
        cells = dict(zip(self._header, raw, strict=False))
        if any(name is not None for name in self._header[len(raw) :]) or any(map(str.strip, raw[len(self._header) :])):
            raise InvalidInput(self._ragged(len(raw)))
        if (place := self._nameless(raw)) is not None:
            raise InvalidInput(
                _("has something in column %(value)s, which the header gives no name") % {"value": f"{place + 1:,}"}
            )
        return {name: cell for name, cell in cells.items() if name is not None}

    def excerpt(self, raw: Raw) -> str:
        """The beginning of the row as printable text."""
        return jsonl.printable(raw.text if isinstance(raw, Broken) else self.dialect.delimiter.join(raw))

    def size(self, raw: Raw) -> int:
        return len(raw.text) if isinstance(raw, Broken) else sum(map(len, raw))

    def _numbered(self, rows: Iterator[tuple[int, Raw]]) -> Iterator[tuple[int, Raw]]:
        """The rows of a table without a header, whose columns are numbered; a line "sep=;" is none of them."""
        before = list[tuple[int, Raw]]()
        for number, raw in rows:
            if isinstance(raw, list) and SEPARATOR.fullmatch(self.dialect.delimiter.join(raw)) and not before:
                continue
            before.append((number, raw))
            if isinstance(raw, list) or len(before) == _BEGINNING_ROWS:
                break
        last: Raw = before[-1][1] if before else []
        width = len(last) if isinstance(last, list) and last else 1
        _check_width(width)
        self._header = [f"column {place}" for place in range(1, width + 1)]
        return chain(before, rows)

    def _notice(self, number: int, lines: Sequence[str]) -> None:
        """Count a row that spans these lines, if each of them has as many cells as the header."""
        width = len(self._header)
        if width > 1 and all(line.count(self.dialect.delimiter) == width - 1 for line in lines):
            n, first = self._swallowing
            self._swallowing = (n + 1, first or number)

    def _nameless(self, cells: list[str]) -> int | None:
        """The first column without a name in which this row has something."""
        places = (place for place, name in enumerate(self._header[: len(cells)]) if name is None)
        return next((place for place in places if cells[place].strip()), None)

    def _check_nameless(self, raw: Raw) -> bool:
        """True; InvalidInput where the row has something in a column without a name."""
        if isinstance(raw, list) and (place := self._nameless(raw)) is not None:
            raise InvalidInput(
                _("The header gives column %(value)s no name; every column that holds something needs one.")
                % {"value": f"{place + 1:,}"}
            )
        return True

    def _is_blank(self, raw: Raw) -> bool:
        """Whether the row is a line of blanks; in a table of one column that is an empty cell, not a blank line."""
        return isinstance(raw, list) and len(raw) == 1 < len(self.columns) and not raw[0].strip()

    def _ragged(self, n_cells: int) -> str:
        sentence = f"has {n_cells:,} cell{'s' * (n_cells != 1)} where the header has {len(self.columns):,}"
        if n_cells < len(self.columns) or self.dialect.delimiter == NO_DELIMITER:
            return sentence
        return f"{sentence}; a cell that holds a {DELIMITERS[self.dialect.delimiter]} has to stand in double quotes"


def check_mark(head: bytes, encoding: str, name: Path | str) -> None:
    """InvalidInput if the encoding needs a byte order mark and the file begins with none."""
    if encoding == "utf-16" and not head.startswith(_UTF_16):
        raise InvalidInput(
            _("%(name)s has no byte order mark, so it is not UTF-16 as such; choose which of the two.") % {"name": name}
        )


class LineCounter:
    """Counts lines as editors do: ended by CR LF, LF or CR alone."""

    def __init__(self, encoding: str) -> None:
        # Where a line end is a single byte, decoding as Latin-1 gives the same line ends, and is fastest.
        name, errors = (encoding, "surrogatepass") if "utf-16" in encoding else ("latin-1", "strict")
        self._decoder = codecs.getincrementaldecoder(name)(errors)
        self._n_ends, self._last, self.has_content = 0, "\n", False

    def add(self, block: bytes) -> None:
        text = self._decoder.decode(block)
        self._n_ends += text.count("\n") + text.count("\r") - text.count("\r\n")
        self._n_ends -= self._last == "\r" and text[:1] == "\n"
        self._last = text[-1:] or self._last
        self.has_content = self.has_content or bool(text.lstrip(_MARKS).strip())

    @property
    def n_lines(self) -> int:
        return self._n_ends + (self._last not in "\r\n")


def records(
    stream: TextIO, dialect: Dialect, notice: Notice | None = None, *, most_reread: int | None = None, cut: int = 0
) -> Iterator[tuple[int, Raw]]:
    """(line on which the record begins, cells or Broken) for each record; empty lines are left out.

    `notice` is told of each record that spans several lines: the number of the first, and the lines. `most_reread`:
    characters that are read again after broken quotes (None: _REREAD). `cut`: where the stream ends before its file
    does, a last record of fewer characters is none, as its end is not there.
    """
    lines = _Lines(stream, dialect.encoding, _REREAD if most_reread is None else most_reread)
    # A line with NUL cannot be used anyway, so NUL may stand for the delimiter that there is not.
    delimiter = "\0" if dialect.delimiter == NO_DELIMITER else dialect.delimiter
    if dialect.quoting:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    while True:
        start = lines.begin()
        raw: Raw
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLong) as error:
            if lines.n_kept < cut and "unexpected end" in str(error):
                return
            raw = lines.give_up(error)
        except UnicodeDecodeError:
            yield start, Broken(f"cannot be read as {ENCODINGS[dialect.encoding]}, nor can what follows it", "")
            return
        else:
            if not cells:
                continue
            raw = lines.judge(cells)
            if notice and len(lines.kept) > 1 and isinstance(raw, list):
                notice(start, lines.kept)
        yield start, raw


def is_too_long(raw: Any) -> bool:
    """Whether a raw row is one line that is longer than MAX_RECORD."""
    return isinstance(raw, Broken) and raw.is_too_long


class _TooLong(Exception):
    """The record is longer than MAX_RECORD."""


class _Lines:
    """Feeds lines to the csv module, and keeps those of the current record to read them again if it is broken."""

    def __init__(self, stream: TextIO, encoding: str, most_reread: int) -> None:
        self._stream, self._encoding, self._most_reread = stream, encoding, most_reread
        self._waiting: list[str] = []  # lines to be read again, the next one last
        self.kept: list[str] = []
        self.n_kept = self._n_reread = self._width = 0
        self._number = 0  # of the last line read
        self._problem = ""
        self._is_doubtful = False  # a quote was broken above, and no good row was seen since

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.pop() if self._waiting else self._stream.readline(_LIMIT)
        if not line:
            raise StopIteration
        self.n_kept += len(line)
        if self.n_kept > MAX_RECORD:
            self._check_length(line)
        self.kept.append(line)
        self._number += 1
        if "\0" in line:
            self._problem = self._problem or "holds a NUL character"
        if not line.isascii() and (bad := _BAD.search(line)):
            self._problem = self._problem or self._undecodable(bad[0])
        return line

    def begin(self) -> int:
        """Begin a new record; returns the line on which it begins."""
        self.kept, self.n_kept, self._problem = [], 0, ""
        return self._number + 1

    def judge(self, cells: list[str]) -> Raw:
        """The record's cells; Broken if it has unusable characters, or doubtful cells after a broken quote above."""
        if self._is_doubtful and not self._problem:
            if sum(line.count('"') for line in self.kept) % 2:
                self._problem = "follows a broken double quote and holds one itself, so its cells cannot be told apart"
            self._is_doubtful = bool(self._problem) or len(cells) != self._width
        self._width = self._width or len(cells)
        return Broken(self._problem, self._beginning) if self._problem else cells

    def give_up(self, error: Exception) -> Broken:
        """The record as Broken. The lines below its first one are read again, since they may be good rows."""
        beginning, last = self._beginning, self._number
        self._read_again()
        is_one_line = len(self.kept) == 1
        if isinstance(error, _TooLong):
            reason = f"is longer than {MAX_RECORD:,} characters"
            reason += "" if is_one_line else "; perhaps it opens a double quote that is never closed"
        elif "unexpected end" in str(error):
            reason = "opens a double quote that is never closed"
        elif is_one_line:
            reason = "has text after a closing double quote; inside quotes a double quote is written twice"
        else:
            reason = f"opens a double quote that seems to close in the middle of a cell on line {last:,}"
        if self._number > last - len(self.kept) + 1:
            reason += f" (with it, everything up to line {last:,} was set aside)"
        return Broken(reason, beginning, is_too_long=isinstance(error, _TooLong) and is_one_line)

    def _read_again(self) -> None:
        below = self.kept[1:]
        self._n_reread += sum(map(len, below))
        if below and self._n_reread <= self._most_reread:
            self._waiting += reversed(below)
            self._number -= len(below)
            self._is_doubtful = True

    @property
    def _beginning(self) -> str:
        return "".join(self.kept)[:_BEGINNING]

    def _check_length(self, line: str) -> None:
        """_TooLong if the record with this line is longer than MAX_RECORD."""
        if self.kept:
            self._waiting.append(line)
            raise _TooLong
        if len(line.rstrip("\r\n")) <= MAX_RECORD:
            return
        self.kept.append(line[:_BEGINNING])
        self._number += 1
        self._skip_rest(line)
        raise _TooLong

    def _skip_rest(self, line: str) -> None:
        """Read and drop the rest of a line that was read in part."""
        while line and not line.endswith("\n"):
            is_ended = line.endswith("\r")
            line = self._stream.readline(_LIMIT)
            if is_ended and line != "\n":
                self._waiting += [line] if line else []
                return

    def _undecodable(self, bad: str) -> str:
        name = ENCODINGS[self._encoding]
        if "\udc80" <= bad <= "\udcff" and not self._encoding.startswith("utf-16"):
            return f"is not {name}: it holds the byte 0x{ord(bad) - 0xDC00:02X}"
        return f"is not {name}: it holds half a character"


def reread_of(file: BinaryIO) -> tuple[int | None, int]:
    """`most_reread` and `cut` of `records` for this file."""
    if not isinstance(file, Beginning):
        return None, 0
    return _REREAD_OF_BEGINNING, 0 if file.is_whole else _CUT


def _decoded(file: BinaryIO, encoding: str) -> TextIO:
    """The content as text with its line ends as they are; a byte that cannot be decoded becomes a lone surrogate."""
    stream = streams.decompressed(file)
    if encoding == "utf-8" and stream.peek(3).startswith(streams.BOM):
        stream.read(len(streams.BOM))
    errors = "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape"
    return io.TextIOWrapper(stream, encoding, errors=errors, newline="")


def _names(header: Raw) -> list[str | None]:
    """The columns' names from the header, None for those without; InvalidInput says why it is unusable."""
    if isinstance(header, Broken):
        raise InvalidInput(_("The header %(reason)s.") % {"reason": header.reason})
    names = [name.strip() for name in header]
    if len(names) > 1 and not names[0] and _FIRST not in names:
        names[0] = _FIRST
    _check_width(len(names))
    for number, name in enumerate(names, start=1):
        if len(name) > MAX_NAME:
            raise InvalidInput(
                _(
                    "The first line is no header: its cell %(number)s has %(name)s characters, and a column's name "
                    "at most %(max_name)s."
                )
                % {"number": f"{number:,}", "name": f"{len(name):,}", "max_name": MAX_NAME}
            )
    twice = next((name for name, n in Counter(names).items() if name and n > 1), None)
    if twice:
        raise InvalidInput(
            _("The header names two columns %(twice)s; every column needs a name of its own.") % {"twice": repr(twice)}
        )
    return [name or None for name in names]


def _check_width(n_columns: int) -> None:
    if n_columns > MAX_COLUMNS:
        raise InvalidInput(
            _("The header has %(many)s columns; at most %(most)s are taken.")
            % {"many": f"{n_columns:,}", "most": f"{MAX_COLUMNS:,}"}
        )
