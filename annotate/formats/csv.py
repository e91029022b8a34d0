"""Decides how CSV for programs is written and read back (RFC 4180, UTF-8): every cell comes back as it was.

An empty cell without quotes is null, two quotes are an empty text, and no other cell is altered. A spreadsheet may run
such cells as formulas: the CSV for people is written by formats/spreadsheet.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

_CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')


def lines(rows: Iterable[Sequence[Cell]]) -> bytes:
    """The rows as CSV: texts as they are, numbers as numbers, None as an empty cell without quotes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    for row in rows:
        # This Python's writer knows no difference between an empty text and None; few rows hold an empty text.
        if "" in row or len(row) == 1:
            text.write(",".join(map(_written, row)) + "\r\n")
        else:
            writer.writerow(row)
    return text.getvalue().encode()


def cells(record: str) -> list[str | None]:
    """The cells of one record that `lines` wrote; None for null. ValueError if it is not written like that."""
    found: list[str | None] = []
    at, end = 0, ","
    while end == ",":
        match = _CELL.match(record, at)
        if match is None:
            raise ValueError("has text beside a double quote; inside quotes a double quote is written twice")
        quoted, plain, end = match.groups()
        found.append(quoted.replace('""', '"') if quoted is not None else plain or None)
        at = match.end()
    if at < len(record):
        raise ValueError("has a line end outside of double quotes")
    return found


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    text = str(cell)
    is_plain = text and not any(sign in text for sign in ',"\r\n')
    return text if is_plain else '"' + text.replace('"', '""') + '"'
