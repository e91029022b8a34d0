"""One way to read every format: rows with their line numbers, by a dialect that was chosen before."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from annotate.errors import InvalidInput
from annotate.formats import jsonl
from annotate.formats.dialect import Dialect
from annotate.formats.streams import Facts
from annotate.formats.tables import Table

Line = tuple[int, Any, bool]  # its number, what stands there, whether that is all of it
_SAMPLE = 1_000


class Reader(Protocol):
    """Reads one file. Raw rows mean something to the reader that gave them, and to nobody else."""

    is_typed: bool  # whether numbers are numbers; else everything is text, and an empty cell holds nothing

    def inspect(
        self, file: BinaryIO, name: Path | str, beat: Callable[[], None] = ..., *, limit: int | None = None
    ) -> Facts:
        """Read all of it once; InvalidInput says why it cannot be used at all."""
        ...

    def names(self, file: BinaryIO) -> list[str]:
        """The columns there are, in their order."""
        ...

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[Line]:
        """Every row that begins after line `skip`."""
        ...

    def parse(self, raw: Any) -> dict[str, Any]:
        """The row's columns; InvalidInput says why it cannot be used."""
        ...

    def excerpt(self, raw: Any) -> str: ...

    def size(self, raw: Any) -> int:
        """About how many bytes the row takes."""
        ...


class JsonLines:
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
        """The columns of the first thousand lines: each line may have others."""
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
    """What reads files that are written like this."""
    return JsonLines() if dialect.format == "jsonl" else Table(dialect)
