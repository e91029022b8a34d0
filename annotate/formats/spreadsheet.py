"""Decides how CSV for spreadsheets is written and read back: no cell of it runs as a formula, and no text is lost.

Spreadsheets run a cell that begins with = + - @, also in full width and after characters that they trim. They may take
another separator than the file's, and end a quoted cell at a line end. So an apostrophe is put in wherever a cell could
begin (at the start of a text and after each comma, semicolon, tab, carriage return and line feed) if apostrophes,
quotes or invisible characters follow and then a character that starts a formula. Apostrophes that are there already
count, so that reading takes away exactly those that were put in.
"""

import re
from collections.abc import Iterable, Sequence

from annotate.formats.csv import Cell

COLUMN = "goldloop:csv-spreadsheet"  # a reserved header: texts in a file that has this column were escaped
MARK = b"\xef\xbb\xbf"  # at the beginning of a file; without it Excel takes UTF-8 for the system's old encoding

# What shows nothing (models_ml/texts.py), and a few more. Without line ends and tab: a cell could begin after each.
INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x20\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680"
    "\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
STARTS = "=+\\-@\t\r\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"

# What exports of manifest format 1 put an apostrophe before, and nowhere but at the start of a cell.
_FORMAT_1 = re.compile(
    r"'[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]*"
    r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]"
)
# A place where a cell could begin, all that is passed over there, and what starts a formula, if that comes next. What
# is passed over is taken whole, line feeds and all, so that the time stays linear in the length of the text.
_PLACE = re.compile(rf"(\A|[,;\t\r\n])(['\"\n{INVISIBLE}]*+)(?=([{STARTS}])?)")
_RUNS = re.compile(rf"(?:\A|[,;\t\r\n])['\"{INVISIBLE}]*+[{STARTS}]")  # whether there is anything to do at all


def escape(text: str) -> str:
    """The text with an apostrophe wherever a spreadsheet could take what follows for a formula."""
    return _PLACE.sub(_with_apostrophes, text) if _RUNS.search(text) else text


def unescape(text: str) -> str:
    """The text of which `escape` made this one."""
    return _PLACE.sub(_without_apostrophes, text) if "'" in text else text


def without_first_apostrophe(text: str) -> str:
    """The text that exports of manifest format 1 wrote like this. "-x" and "'-x" both became "'-x": the first is it."""
    return text[1:] if _FORMAT_1.match(text) else text


def lines(rows: Iterable[Sequence[Cell]]) -> bytes:
    """The rows as CSV with every cell in quotes; null is an empty cell."""
    return "".join([",".join(map(_quoted, row)) + "\r\n" for row in rows]).encode()


def _with_apostrophes(place: re.Match[str]) -> str:
    before, passed_over, starts = place.groups()
    return f"{before}'" + passed_over.replace("\n", "\n'") if starts else place[0]


def _without_apostrophes(place: re.Match[str]) -> str:
    before, passed_over, starts = place.groups()
    return before + passed_over.removeprefix("'").replace("\n'", "\n") if starts else place[0]


def _quoted(cell: Cell) -> str:
    if cell is None:
        return '""'
    if not isinstance(cell, str):
        return f'"{cell}"'
    return '"' + escape(cell).replace('"', '""') + '"'
