"""Files as people really send them: what is wrong with each, and what must be said about it.

`refused`: nothing of it is stored, the sentence is the answer. `quarantined`: the good rows come in, the bad one is
set aside with the sentence as its reason. Used by the domain's tests and by those of the upload page. The project
has the labels yes, no, maybe; none of the files names any.
"""

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

GOOD_CSV = b"id,text\n1,a good line\n2,another good line\n"
GOOD_JSONL = b'{"id": "1", "text": "a good line"}\n{"id": "2", "text": "another good line"}\n'


@dataclass(frozen=True)
class BadFile:
    name: str  # as it is called where it comes from
    content: Callable[[], bytes]
    expect: Literal["refused", "quarantined"]
    sentence: str  # a part of the answer, or of the reason in the quarantine
    line: int | None = None  # of the bad row
    n_good: int = 2
    choices: dict[str, str] = field(default_factory=dict)  # of the dialect, made by a person


def _zip(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "text,id\n")
    return file.getvalue()


def _xlsx() -> bytes:
    return _zip(["[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/worksheets/sheet1.xml"])


def _bomb() -> bytes:
    """Three megabytes of archive that would be three gigabytes."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as archive:
        archive.write(b"id,text\n")
    part = gzip.compress(b"1,xxxxxxxxxx\n" * 1_000_000, 1, mtime=0)
    return file.getvalue() + part * 240  # members of one gzip file follow each other


def _huge_header() -> bytes:
    return ",".join(f"c{n}" for n in range(10_000)).encode() + b"\n" + b"," * 9_999 + b"\n"


def _with_line(line: bytes) -> Callable[[], bytes]:
    """A JSON Lines file with this on its second line."""
    first, last = GOOD_JSONL.splitlines(keepends=True)
    return lambda: first + line + b"\n" + last


def _with_row(row: bytes) -> Callable[[], bytes]:
    """A CSV file with this on its third line."""
    header, first, last = GOOD_CSV.splitlines(keepends=True)
    return lambda: header + first + row + b"\n" + last


def _refused(name: str, content: Callable[[], bytes], sentence: str, **choices: str) -> BadFile:
    return BadFile(name, content, "refused", sentence, choices=choices)


def _row(name: str, content: Callable[[], bytes], sentence: str, line: int, n_good: int = 2) -> BadFile:
    return BadFile(name, content, "quarantined", sentence, line, n_good)


BAD_FILES: dict[str, BadFile] = {
    # JSON Lines
    "wrong encoding": _row("items.jsonl", _with_line(b'{"text": "caf\xe9"}'), "is not UTF-8", 2),
    "NUL": _row("items.jsonl", _with_line(b'{"text": "a\\u0000b"}'), "NUL", 2),
    "a line over 1 MB": _row("items.jsonl", _with_line(b'{"text": "' + b"x" * 1_100_000 + b'"}'), "longer than", 2),
    "broken JSON": _row("items.jsonl", _with_line(b'{"text": "a'), "is not JSON", 2),
    "NaN": _row("items.jsonl", _with_line(b'{"text": "a", "score": NaN}'), "NaN", 2),
    "a lone surrogate": _row("items.jsonl", _with_line(b'{"text": "\\ud83d"}'), "lone surrogate", 2),
    "a large integer": _row("items.jsonl", _with_line(b'{"text": "a", "n": 12345678901234567890}'), "64 bits", 2),
    "deep nesting": _row(
        "items.jsonl", _with_line(b'{"text": "a", "x": ' + b"[" * 9_000 + b"]" * 9_000 + b"}"), "nested deeper", 2
    ),
    "no text": _row("items.jsonl", _with_line(b'{"id": "3"}'), 'has no "text"', 2),
    "a duplicate id": _row("items.jsonl", _with_line(b'{"id": "1", "text": "other"}'), "already belongs", 2),
    "an empty file": _refused("items.jsonl", lambda: b"", "is empty"),
    "a truncated gzip file": _refused(
        "items.jsonl.gz", lambda: gzip.compress(GOOD_JSONL * 999, mtime=0)[:-20], "ends too early"
    ),
    "a pretty JSON document": _refused("items.json", lambda: b'{\n  "data": [{"text": "a"}]\n}\n', "one JSON document"),
    "a JSON array that is cut off": _refused("items.json", lambda: b'[{"text": "a"},\n{"text": "b"', "never closed"),
    "something after a JSON array": _refused("items.json", lambda: b'[{"text": "a"}]\n{"text": "b"}', "goes on after"),
    "an empty JSON array": _refused("items.json", lambda: b"[ ]\n", "an empty JSON array"),
    "a JSON array with a broken element": _row(
        "items.json", lambda: b'[{"text": "a"},\n{"text": },\n{"text": "b"}]', "is not JSON", 2
    ),
    "a JSON array of other things": _row(
        "items.json", lambda: b'[{"text": "a"}, 17, {"text": "b"}]', "is a number, not an object", 2
    ),
    "JSON Lines in UTF-16": _refused("items.jsonl", lambda: GOOD_JSONL.decode().encode("utf-16"), "always UTF-8"),
    # something else under the name of a table
    "xlsx named csv": _refused("items.csv", _xlsx, "an Excel workbook (xlsx)"),
    "zip named csv": _refused("items.csv", lambda: _zip(["items.csv"]), "a zip archive"),
    "xls named csv": _refused("items.csv", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "old Excel"),
    "parquet named csv": _refused("items.csv", lambda: b"PAR1" + bytes(99) + b"PAR1", "a Parquet file"),
    "sqlite named csv": _refused("items.csv", lambda: b"SQLite format 3\x00" + bytes(99), "an SQLite database"),
    "pdf named csv": _refused("items.csv", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
    "png named csv": _refused("items.csv", lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image"),
    "a web page named csv": _refused("items.csv", lambda: b"<!DOCTYPE html>\n<html></html>\n", "a web page"),
    "UTF-16 without a mark": _refused("items.csv", lambda: GOOD_CSV.decode().encode("utf-16-le"), "UTF-16 without"),
    "binary": _refused("items.csv", lambda: bytes(range(1, 256)) * 40, "control characters"),
    # tables
    "a ragged row": _row("items.csv", _with_row(b"3,one,two"), "has 3 cells where the header has 2", 3),
    "a short row": _row("items.csv", _with_row(b"3"), "has 1 cell where the header has 2", 3),
    "an unclosed quote": _row("items.csv", _with_row(b'3,"never closed'), "never closed", 3),
    "text after a quote": _row("items.csv", _with_row(b'3,"a" b'), "text after a closing double quote", 3),
    "a quote that closes too late": _row(
        "items.csv",
        lambda: b'id,text\n3,"never closed\n1,a good line\n2,"another" good line\n4,fine\n',
        "opens a double quote",
        2,
    ),
    "NUL in a cell": _row("items.csv", _with_row(b"3,a\x00b"), "NUL", 3),
    "a cell over the limit": _row("items.csv", _with_row(b"3," + b"x" * 300_000), "300,000 characters", 3),
    "a row over the limit": _row("items.csv", _with_row(b"3," + b"x" * 1_100_000), "longer than", 3),
    "mixed encodings": _row(
        "items.csv",
        lambda: "id,text\n1,Grüße\n2,Löwe\n".encode() + "3,Bär\n".encode("cp1252"),
        "is not UTF-8: it holds the byte 0xE4",
        4,
    ),
    "a duplicate id in a table": _row("items.csv", _with_row(b"1,other"), "already belongs", 3),
    "an empty cell": _row("items.csv", _with_row(b"3,"), '"text" is empty', 3),
    "a truncated gzip table": _refused(
        "items.csv.gz", lambda: gzip.compress(GOOD_CSV * 999, mtime=0)[:-20], "ends too early"
    ),
    "a header alone": _refused("items.csv", lambda: b"id,text\n", "has a header, but no row"),
    "no header": _refused("items.csv", lambda: b"17,a good line\n18,another\n", "Which column holds the text"),
    "a huge header": _refused("items.csv", _huge_header, "10,000 columns"),
    "two columns of one name": _refused("items.csv", lambda: b"id,text,text\n1,a,b\n", "two columns 'text'"),
    "a column without a name": _refused("items.csv", lambda: b"text,\na,0\nb,1\n", "column 2 no name"),
    "the wrong delimiter": _refused("items.csv", lambda: GOOD_CSV, "Which column holds the text", delimiter="\t"),
    "a gzip bomb": _refused("items.csv.gz", _bomb, "when it is unpacked"),
}

# Files that look odd and are fine: both rows come in, as they stand here.
ODD_FILES: dict[str, tuple[str, bytes, list[str]]] = {
    "formula cells": ("items.csv", b"id,text\n1,=1+1\n2,\"=cmd|' /C calc'!A0\"\n", ["=1+1", "=cmd|' /C calc'!A0"]),
    "a path in the name": ("../../etc/C:\\files\\items.csv", GOOD_CSV, ["a good line", "another good line"]),
    "carriage returns alone": ("items.csv", GOOD_CSV.replace(b"\n", b"\r"), ["a good line", "another good line"]),
    "a byte order mark": ("items.csv", b"\xef\xbb\xbf" + GOOD_CSV, ["a good line", "another good line"]),
    "UTF-16": ("items.csv", GOOD_CSV.decode().encode("utf-16"), ["a good line", "another good line"]),
    "Windows-1252": ("items.csv", "id,text\n1,Café\n2,Bär – “x”\n".encode("cp1252"), ["Café", "Bär – “x”"]),
    "semicolons": ("items.csv", b"id;text\n1;a, b\n2;c\n", ["a, b", "c"]),
    "tabs": ("items.tsv", b"id\ttext\n1\ta, b\n2\tc;d\n", ["a, b", "c;d"]),
    "pipes": ("items.txt", b"id|text\n1|a, b\n2|c\n", ["a, b", "c"]),
    "a line that names the delimiter": ("items.csv", b"sep=;\r\nid;text\r\n1;a\r\n2;b\r\n", ["a", "b"]),
    "lines inside a cell": ("items.csv", b'id,text\n1,"a\nb, c\n\nd"\n2,"say ""x"""\n', ["a\nb, c\n\nd", 'say "x"']),
    "emoji and marks": (
        "items.csv",
        "id,text\n1,👩‍👩‍👧 ok\n2,\u202eabc\u202c\n".encode(),
        ["👩‍👩‍👧 ok", "\u202eabc\u202c"],
    ),
    "gzip named csv": ("items.csv", gzip.compress(GOOD_CSV, mtime=0), ["a good line", "another good line"]),
    "other names": ("reviews.csv", b"UID,Review Text\n1,a\n2,b\n", ["a", "b"]),
    "one column": ("items.csv", b'remark\n"a, b"\nc\n', ["a, b", "c"]),
    "a JSON array": ("items.json", b'[{"text": "a"}, {"text": "b"}]\n', ["a", "b"]),
    "a pretty JSON array": (
        "items.json",
        b'\xef\xbb\xbf[\n  {\n    "text": "a, [b] \\" }",\n    "n": [1, {}]\n  },\n  {\n "text": "c"}\n]\n',
        ['a, [b] " }', "c"],
    ),
    "columns without a name": ("items.csv", b"id,text,,\n1,a,,\n2,b\n", ["a", "b"]),
    "cells after the last column": ("items.csv", b"id,text\n1,a,,\n2,b, \n", ["a", "b"]),
    "one text a line": ("items.txt", b'Well, "no".\n"We waited; long.\n', ['Well, "no".', '"We waited; long.']),
    "lone quotes between tabs": ("items.tsv", b'id\ttext\n1\t"a\n2\tb"\n', ['"a', 'b"']),
    "quotes between tabs": ("items.tsv", b'id\ttext\n1\t"a\tb"\n2\t"say ""x""\nor y"\n', ["a\tb", 'say "x"\nor y']),
    "blank lines": ("items.csv", b"\n\nid,text\n\n1,a\n   \n2,b\n\n", ["a", "b"]),
}
