"""Decides which reader reads a file of a given dialect: all of them give rows with their line numbers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.formats import json_array, jsonl, nested, streams
from annotate.formats.dialect import Dialect
from annotate.formats.own_csv import OwnCsv
from annotate.formats.own_export import Exported
from annotate.formats.streams import Facts
from annotate.formats.tables import MAX_COLUMNS, Table

Line = tuple[int, Any, bool]  # line number, raw row, whether the raw row is whole
_SAMPLE = 1_000


class Reader(Protocol):
    """Reads files of one dialect. A raw row is opaque: only the reader that gave it can parse it."""

    is_typed: bool  # True: values have JSON's types; False: every value is text, and an empty text means none

    @property
    def warnings(self) -> list[str]:
        """Sentences for people about what `lines` read last, and may have misread."""
        ...

    def inspect(
        self, file: BinaryIO, name: Path | str, beat: Callable[[], None] = ..., *, limit: int | None = None
    ) -> Facts:
        """Read the whole file once; InvalidInput says why it cannot be used at all."""
        ...

    def check_beginning(self, file: BinaryIO, name: Path | str) -> None:
        """InvalidInput if the beginning of the file already tells that it cannot be used at all."""
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


class _Objects:
    """What readers of JSON objects share: a raw row is the bytes of one object."""

    is_typed = True
    warnings: list[str] = []  # nothing can be misread

    def check_beginning(self, file: BinaryIO, name: Path | str) -> None:
        """Every beginning may go on well."""

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[Line]:
        raise NotImplementedError

    def names(self, file: BinaryIO) -> list[str]:
        """The names of fields in the first thousand objects; each may have others."""
        names: dict[str, None] = {}
        for _number, raw, is_whole in islice(self.lines(file), _SAMPLE):
            try:
                found = nested.paths(jsonl.parse(raw)) if is_whole else iter(())
            except InvalidInput:
                continue
            names.update(dict.fromkeys(islice(found, max(0, MAX_COLUMNS - len(names)))))
        return list(names)

    def parse(self, raw: bytes) -> dict[str, Any]:
        return jsonl.parse(raw)

    def excerpt(self, raw: bytes) -> str:
        return jsonl.excerpt(raw)

    def size(self, raw: bytes) -> int:
        return len(raw)


class JsonLines(_Objects):
    """Reads JSON Lines by the functions of formats/jsonl."""

    def inspect(
        self,
        file: BinaryIO,
        name: Path | str,
        beat: Callable[[], None] = lambda: None,
        *,
        limit: int | None = None,
    ) -> Facts:
        return jsonl.inspect(file, name, beat, limit=limit)

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[Line]:
        for line in jsonl.lines(file, skip=skip):
            if line[1].strip() or not line[2]:
                yield line


class JsonArray(_Objects):
    """Reads an array of objects; its rows are numbered by their places, whatever lines they stand on."""

    def inspect(
        self,
        file: BinaryIO,
        name: Path | str,
        beat: Callable[[], None] = lambda: None,
        *,
        limit: int | None = None,
    ) -> Facts:
        self.check_beginning(file, name)
        counter = json_array.Counter()
        facts = streams.inspect(file, name, counter, beat, limit=limit)
        if not counter.cutter.is_closed:
            raise InvalidInput(
                _("%(name)s is a JSON array that is never closed: it seems to be cut off.") % {"name": name}
            )
        if counter.cutter.goes_on_after:
            raise InvalidInput(_("%(name)s goes on after the end of its JSON array.") % {"name": name})
        if not facts.n_lines:
            raise InvalidInput(_("%(name)s is an empty JSON array.") % {"name": name})
        return facts

    def check_beginning(self, file: BinaryIO, name: Path | str) -> None:
        beginning = streams.head(file, name, 65_536).removeprefix(streams.BOM).strip()
        if not beginning.startswith(b"["):
            raise InvalidInput(_("%(name)s is no JSON array: it does not begin with a bracket.") % {"name": name})

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[Line]:
        yield from json_array.elements(file, skip=skip)

    def excerpt(self, raw: bytes) -> str:
        return jsonl.excerpt(b" ".join(raw[: jsonl.EXCERPT_BYTES].split()))


def reader_of(dialect: Dialect) -> Reader:
    """The reader for files of this dialect."""
    if dialect.export:
        return Exported(_written_by(dialect), dialect)
    if dialect.format == "json":
        return JsonArray()
    return JsonLines() if dialect.format == "jsonl" else Table(dialect)


def _written_by(dialect: Dialect) -> Reader:
    """The reader of the format in which Goldloop wrote an export, or another program wrote it anew."""
    written = replace(dialect, export="")
    is_as_written = dialect.export == "plain" and written == Dialect("csv")
    return OwnCsv(written) if is_as_written else reader_of(written)
