"""Decides how CSV is written (RFC 4180, UTF-8), so that spreadsheets run no text cell as a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

# Spreadsheets run a cell that begins with one of these characters, also in full width and after blanks, which they
# trim. Some split a cell at a leading tab or carriage return, so that the rest becomes a cell of its own.
_INVISIBLE = r"\s\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_FORMULA = re.compile(rf"[{_INVISIBLE}]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]")


def lines(rows: Iterable[Sequence[Cell]]) -> bytes:
    """The rows as CSV: numbers as numbers, None as an empty cell, texts made harmless."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    # Nearly every cell is a number or begins with a letter or digit; these need no regular expression.
    writer.writerows(
        [cell if type(cell) is not str or cell[:1].isalnum() else harmless(cell) for cell in row] for row in rows
    )
    return text.getvalue().encode()


def harmless(cell: Cell) -> Cell:
    """The cell; a text that a spreadsheet could run as a formula gets an apostrophe in front."""
    if isinstance(cell, str) and _FORMULA.match(cell):
        return "'" + cell
    return cell
