"""Decides whether a file is an export of Goldloop itself, by its columns and its first rows."""

from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO

from annotate.errors import InvalidInput
from annotate.formats import own_export, streams
from annotate.formats.dialect import Dialect
from annotate.formats.reader import reader_of

_LOOKED_AT = 20  # rows


def recognised(file: BinaryIO, dialect: Dialect) -> Dialect:
    """The dialect, with the kind of export that the file is; unchanged for a file that cannot be read."""
    plain = replace(dialect, export="")
    try:
        rows = _first_rows(file, plain)
        names = _table_names(file, plain) if dialect.format == "csv" else list(rows[0]) if rows else []
    except streams.DAMAGE:
        return plain
    if not own_export.may_be_export(rows):
        return plain
    is_table = dialect.format == "csv" or own_export.is_spread(names)
    return replace(plain, export=own_export.kind_of(names, is_table=is_table))


def _table_names(file: BinaryIO, dialect: Dialect) -> list[str]:
    """The names of a table's columns; none if it is unusable."""
    try:
        return reader_of(dialect).names(file)
    except InvalidInput:
        return []


def _first_rows(file: BinaryIO, dialect: Dialect) -> list[dict[str, Any]]:
    """The first rows, as far as they can be read."""
    reader, rows = reader_of(dialect), list[dict[str, Any]]()
    try:
        for _number, raw, is_whole in islice(reader.lines(file), _LOOKED_AT):
            with suppress(InvalidInput):
                rows += [reader.parse(raw)] if is_whole else []
    except InvalidInput:  # the header is unusable
        return []
    return rows
