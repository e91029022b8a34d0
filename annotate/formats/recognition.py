"""Decides whether a file is an export of Goldloop itself, by the names of its columns."""

from dataclasses import replace
from itertools import islice
from typing import BinaryIO

from annotate.errors import InvalidInput
from annotate.formats import own_export, streams
from annotate.formats.dialect import Dialect
from annotate.formats.reader import reader_of

_LOOKED_AT = 20  # JSON objects, if the first ones cannot be read


def recognised(file: BinaryIO, dialect: Dialect) -> Dialect:
    """The dialect, with the kind of export that the file is; unchanged for a file that cannot be read."""
    plain = replace(dialect, export="")
    try:
        names = _names(file, plain)
    except streams.DAMAGE:
        return plain
    return replace(plain, export=own_export.kind_of(names, is_table=dialect.format == "csv"))


def _names(file: BinaryIO, dialect: Dialect) -> list[str]:
    """The names of the columns; of JSON those of the first object that can be read, of an unusable file none."""
    reader = reader_of(dialect)
    if dialect.format == "csv":
        try:
            return reader.names(file)
        except InvalidInput:
            return []
    for _number, raw, is_whole in islice(reader.lines(file), _LOOKED_AT):
        try:
            return list(reader.parse(raw)) if is_whole else []
        except InvalidInput:
            continue
    return []
