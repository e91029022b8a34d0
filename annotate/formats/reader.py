"""Decides which reader reads a file of a given dialect: all of them give rows with their line numbers."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from annotate.errors import InvalidInput
from annotate.formats import jsonl
from annotate.formats.dialect import Dialect
from annotate.formats.own_csv import OwnCsv
from annotate.formats.own_export import Exported
from annotate.formats.streams import Facts
from annotate.formats.tables import Table

Line = tuple[int, Any, bool]  # line number, raw row, whether the raw row is whole
_SAMPLE = 1_000


class Reader(Protocol):
    """Reads files of one dialect. A raw row is opaque: only the reader that gave it can parse it."""

    is_typed: bool  # True: values have JSON's types; False: every value is text, and an empty text means none

    def inspect(
        self, file: BinaryIO, name: Path | str, beat: Callable[[], None] = ..., *, limit: int | None = None
    ) -> Facts:
        """Read the whole file once; InvalidInput says why it cannot be used at all."""
        ...

    def names(self, file: BinaryIO) -> list[str]:
        """The names of the file's columns, in their order."""
        ...

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[Line]:
        """Each row that begins after line `skip`."""
        ...

    def parse(self, raw: Any) -> dict[str, Any]:
        """The row's values by column; InvalidInput says why the row cannot be used."""
        ...

    def excerpt(self, raw: Any) -> str:
        """The beginning of the row as printable text."""
        ...

    def size(self, raw: Any) -> int:
        """About how many bytes the row takes in memory."""
        ...


class JsonLines:
    """Reads JSON Lines by the functions of formats/jsonl."""

    is_typed = True

    def inspect(
        self,
        file: BinaryIO,
        name: Path | str,
        beat: Callable[[], None] = lambda: None,
        *,
        limit: int | None = None,
    ) -> Facts:
        return jsonl.inspect(file, name, beat, limit=limit)

    def names(self, file: BinaryIO) -> list[str]:
        """The keys of the first thousand lines; each line may have other keys."""
        names: dict[str, None] = {}
        for _, raw, is_whole in islice(self.lines(file), _SAMPLE):
            try:
                names.update(dict.fromkeys(jsonl.parse(raw) if is_whole else ()))
            except InvalidInput:
                continue
        return list(names)

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[Line]:
        for line in jsonl.lines(file, skip=skip):
            if line[1].strip() or not line[2]:
                yield line

    def parse(self, raw: bytes) -> dict[str, Any]:
        return jsonl.parse(raw)

    def excerpt(self, raw: bytes) -> str:
        return jsonl.excerpt(raw)

    def size(self, raw: bytes) -> int:
        return len(raw)


def reader_of(dialect: Dialect) -> Reader:
    """The reader for files of this dialect."""
    if dialect.export:
        return Exported(_written_by(dialect), dialect)
    return JsonLines() if dialect.format == "jsonl" else Table(dialect)


def _written_by(dialect: Dialect) -> Reader:
    """The reader of the format in which Goldloop wrote an export, or another program wrote it anew."""
    if dialect.format == "jsonl":
        return JsonLines()
    is_as_written = (dialect.export, dialect.encoding, dialect.delimiter) == ("plain", "utf-8", ",")
    return OwnCsv(dialect) if is_as_written else Table(dialect)
