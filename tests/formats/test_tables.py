"""Reading tables without trusting any of them: whatever a CSV writer wrote comes back, whatever is broken is named."""

import csv as stdlib
import gzip
import io
import re
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.errors import InvalidInput
from annotate.formats import detection, streams, tables
from annotate.formats.dialect import Dialect
from annotate.formats.reader import reader_of
from annotate.formats.tables import Broken, Table

# Building the table of characters takes seconds on a busy machine; that is no finding.
steady = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=200
)


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read_all(path: Path, dialect: Dialect, **options):
    table = Table(dialect)
    with streams.opened(path) as file:
        facts = table.inspect(file, "x.csv")
        return table, facts, list(table.lines(file, **options))


def rows_of(tmp_path, content: bytes, **dialect) -> list[tuple[int, list[str] | str]]:
    """(line, cells or reason) of every row."""
    _, _, found = read_all(put(tmp_path / "x.csv", content), Dialect("csv", **dialect))
    return [(line, raw.reason if isinstance(raw, Broken) else raw) for line, raw, _ in found]


class TestRows:
    def test_it_numbers_rows_by_the_line_on_which_they_begin(self, tmp_path):
        assert rows_of(tmp_path, b'id,text\r\n1,"a\r\nb"\r\n\r\n2,c') == [(2, ["1", "a\r\nb"]), (5, ["2", "c"])]

    def test_it_gives_only_rows_after_those_that_are_done(self, tmp_path):
        path = put(tmp_path / "x.csv", b'id,text\n1,"a\nb"\n2,c\n')
        assert [line for line, _, _ in read_all(path, Dialect("csv"), skip=2)[2]] == [4]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_it_counts_lines_as_it_numbers_them(self, tmp_path, end, encoding):
        content = f'id,text{end}1,"ä{end}{end}b"{end}2,c'.encode(encoding)
        _, facts, found = read_all(put(tmp_path / "x", content), Dialect("csv", encoding.removesuffix("-sig")))
        assert facts.n_lines == 5 and [line for line, _, _ in found] == [2, 5]

    def test_it_counts_a_line_end_that_two_blocks_share_once(self):
        counter = tables.LineCounter("utf-8")
        for block in (b"a\r", b"\nb\r", b"c\r", b"\n"):
            counter.add(block)
        assert counter.n_lines == 3

    def test_it_goes_on_below_a_quote_that_is_never_closed(self, tmp_path):
        assert rows_of(tmp_path, b'id,text\n1,"a\n2,b\n3,c\n') == [
            (2, "opens a double quote that is never closed"),
            (3, ["2", "b"]),
            (4, ["3", "c"]),
        ]

    def test_it_does_not_take_the_end_of_a_broken_cell_for_a_row(self, tmp_path):
        content = b'text,label\n"one\ntwo "quoted" two\nthree",yes\nfour,no\n'
        assert rows_of(tmp_path, content) == [
            (2, "opens a double quote that seems to close in the middle of a cell on line 3"),
            (3, ['two "quoted" two']),  # ragged
            (4, "follows a broken double quote and holds one itself, so its cells cannot be told apart"),
            (5, ["four", "no"]),
        ]

    def test_it_takes_quotes_inside_plain_cells_as_they_are(self, tmp_path):
        assert rows_of(tmp_path, b'id,text\n1,5" pipe\n2,a "b" c\n') == [(2, ["1", '5" pipe']), (3, ["2", 'a "b" c'])]

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_it_finds_the_row_after_one_that_is_too_long(self, tmp_path, end):
        for extra in (-3, -2, -1, 0, 1, 2, 3_000_000):
            long = b"1," + b"x" * (tables.MAX_RECORD + extra)
            found = rows_of(tmp_path, end.join([b"id,text", long, b"2,b", b"3,c"]))
            assert found[-2:] == [(3, ["2", "b"]), (4, ["3", "c"])], extra
            assert ("longer than" in found[0][1]) == (extra > -2)

    def test_it_names_what_cannot_be_decoded(self, tmp_path):
        assert rows_of(tmp_path, b"id,text\n1,caf\xe9\n")[0][1] == "is not UTF-8: it holds the byte 0xE9"
        assert "Windows-1252" in rows_of(tmp_path, b"id,text\n1,\x81\n", encoding="cp1252")[0][1]
        half = "id,text\n1,x\n2,a".encode("utf-16") + b"\x00\xd8\n\x00"
        assert "half a character" in rows_of(tmp_path, half, encoding="utf-16")[1][1]
        cut = "id,text\n1,x\n2,a".encode("utf-16") + b"\n"
        assert "cannot be read as UTF-16" in rows_of(tmp_path, cut, encoding="utf-16")[-1][1]

    def test_it_stays_quick_when_every_line_breaks_a_quote(self, tmp_path):
        path = put(tmp_path / "x.csv", b"a,b\n" + b'a","b\n' * 250_000)
        start = time.process_time()
        found = read_all(path, Dialect("csv"))[2]
        assert time.process_time() - start < 15
        assert "everything up to line" in found[-1][1].reason

    @pytest.mark.slow  # tracing memory makes it five times slower
    def test_it_stays_small_when_every_line_breaks_a_quote(self, tmp_path):
        path = put(tmp_path / "x.csv", b"a,b\n" + b'a","b\n' * 250_000)
        tracemalloc.start()
        try:
            read_all(path, Dialect("csv"))
            assert tracemalloc.get_traced_memory()[1] < 50_000_000
        finally:
            tracemalloc.stop()

    def test_it_does_not_hold_a_long_line_in_memory(self, tmp_path):
        content = gzip.compress(b"id,text\n1," + b"x" * 100_000_000 + b"\n2,b\n", 1, mtime=0)
        tracemalloc.start()
        try:
            assert rows_of(tmp_path, content)[1] == (3, ["2", "b"])
            assert tracemalloc.get_traced_memory()[1] < 25_000_000
        finally:
            tracemalloc.stop()


class TestDialects:
    def test_quotes_can_be_characters(self, tmp_path):
        content = b'text,n\n"a,1\n"b"" c",2\n'
        assert rows_of(tmp_path, content, quoting=False) == [(2, ['"a', "1"]), (3, ['"b"" c"', "2"])]

    def test_a_line_can_be_a_cell(self, tmp_path):
        content = b'a, b; c\n\n"d\n'
        found = rows_of(tmp_path, content, delimiter="\n", quoting=False, header_line=0)
        assert found == [(1, ["a, b; c"]), (3, ['"d'])]

    def test_columns_without_names_are_numbered(self, tmp_path):
        table, _, found = read_all(
            put(tmp_path / "x", b"sep=;\na;b\nc;d\n"), Dialect("csv", delimiter=";", header_line=0)
        )
        assert table.columns == ["column 1", "column 2"] and len(found) == 2
        assert table.parse(found[0][1]) == {"column 1": "a", "column 2": "b"}

    @pytest.mark.parametrize("encoding", ["koi8-r", "koi8-u", "mac_cyrillic"])
    def test_more_encodings(self, tmp_path, encoding):
        content = "text,n\nсуп,1\n".encode(encoding)
        assert rows_of(tmp_path, content, encoding=encoding) == [(2, ["суп", "1"])]

    def test_it_warns_where_rows_may_have_been_joined(self, tmp_path):
        for content, n in (
            (b'text,n\n"a,1\nb",2\n"c,3\nd",4\n', 2), (b'text,n\n"a\nb",2\n', 0), (b"text,n\na,1\n", 0),
        ):  # fmt: skip
            table = read_all(put(tmp_path / "x", content), Dialect("csv"))[0]
            assert [f"{n} row" in sentence for sentence in table.warnings] == [True] * bool(n)

    def test_empty_columns_without_a_name_are_left_out(self, tmp_path):
        path = put(tmp_path / "x", b"a,,b,\n1,,2,\n3,,4\n" + b"5,,6,\n" * 30 + b"7,x,8,\n9,,0,, \n9,,0,,x\n")
        table, _, found = read_all(path, Dialect("csv"))
        assert table.columns == ["a", "b"] and table.parse(found[1][1]) == {"a": "3", "b": "4"}
        assert table.parse(found[-2][1]) == {"a": "9", "b": "0"}
        for raw, reason in ((found[-3][1], "has something in column 2"), (found[-1][1], "has 5 cells")):
            with pytest.raises(InvalidInput, match=reason):
                table.parse(raw)


class TestHeader:
    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"a,b,a\n1,2,3\n", "two columns 'a'"),
            (b"a,,b\n1,2,3\n", "column 2 no name"),
            (b",column 1\n1,2\n", "column 1 no name"),
            (b"a,b,\n1,2,3\n", "column 3 no name"),
            (b"a," + b"x" * 300 + b"\n1,2\n", "is no header: its cell 2 has 300 characters"),
            (b'"a,b\n1,2\n', "The header opens a double quote"),
            (b"a\xff,b\n1,2\n", "The header is not UTF-8"),
            (b"a,b\n", "no row below it"),
            (b" \n\n", "is empty"),
            (b"x" * 1_100_000 + b"\n1\n", "The header is longer than"),
        ],
    )
    def test_it_refuses_one_that_cannot_be(self, tmp_path, content, sentence):
        with pytest.raises(InvalidInput, match=sentence):
            rows_of(tmp_path, content)

    def test_the_first_column_may_hold_the_rows_numbers_without_a_name(self, tmp_path):
        assert rows_of(tmp_path, b",text\n0,a\n1,b\n") == [(2, ["0", "a"]), (3, ["1", "b"])]

    def test_it_trims_names(self, tmp_path):
        table, _, _ = read_all(put(tmp_path / "x", b" id , text\n1,2\n"), Dialect("csv"))
        assert table.columns == ["id", "text"]


# ---- whatever the csv module writes comes back

names = st.from_regex(r"[A-Za-zÄéß_][A-Za-z0-9Äéß_ -]{0,10}[a-z]", fullmatch=True)
characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from(',;|\t"\r\n')
cells = st.text(characters, max_size=30)
# Not "Ä–": its two bytes in cp1252 are a character of UTF-8, so that nobody can tell which was meant.
western = st.text(st.sampled_from("abcxyz ,;|\t\"'\r\n-=ÄÖÜéèß€–“”"), max_size=30).filter(
    lambda text: not re.search("[ÄÖÜéèß][€–“”]", text)
)


@st.composite
def written(draw):
    """A table, how it was written, and its bytes."""
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    columns = draw(st.lists(names, min_size=1, max_size=6, unique_by=str.strip))
    cell = western if encoding == "cp1252" else cells
    rows = draw(st.lists(st.lists(cell, min_size=len(columns), max_size=len(columns)), min_size=1, max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    # This Python's writer leaves a line end that is not its own outside quotes, where nobody can tell it from a row's.
    quoting = draw(st.sampled_from([stdlib.QUOTE_MINIMAL, stdlib.QUOTE_ALL])) if end == "\r\n" else stdlib.QUOTE_ALL
    text = io.StringIO(newline="")
    writer = stdlib.writer(
        text,
        delimiter=draw(st.sampled_from(",;\t|")),
        quoting=quoting,
        lineterminator=end,
    )
    writer.writerows([columns, *rows])
    content = text.getvalue().encode(encoding)
    return columns, rows, writer.dialect, gzip.compress(content, 1) if draw(st.booleans()) else content


@steady
@given(written())
def test_it_reads_back_what_was_written(tmp_path_factory, table):
    columns, rows, dialect, content = table
    path = put(tmp_path_factory.getbasetemp() / "written.csv", content)
    with streams.opened(path) as file:
        # Whether a line is a header, and whether quotes between tabs are characters, cannot be told from every table.
        choices = {"quoting": True} if dialect.delimiter == "\t" else {}
        found = detection.detect(file, "x.csv", columns=[columns[0].strip()], choices=choices).dialect
        reader = reader_of(found)
        facts = reader.inspect(file, "x.csv")
        names = reader.names(file)
        lines = list(reader.lines(file))
    assert names == [name.strip() for name in columns]
    if len(columns) > 1:
        assert found.delimiter == dialect.delimiter
    assert [list(reader.parse(raw).values()) for _, raw, _ in lines] == rows
    assert all(line <= facts.n_lines for line, _, _ in lines)
    assert [line for line, _, _ in lines] == sorted({line for line, _, _ in lines})


@steady
@given(st.binary(max_size=400), st.sampled_from([",", ";"]), st.sampled_from(["utf-8", "utf-16", "cp1252", "gb18030"]))
def test_it_survives_any_bytes(tmp_path_factory, content, delimiter, encoding):
    path = put(tmp_path_factory.getbasetemp() / "any.csv", b"a,b;c\n" + content)
    table = Table(Dialect("csv", encoding, delimiter))
    with streams.opened(path) as file:
        try:
            facts = table.inspect(file, "x.csv")
        except InvalidInput:
            return
        found = list(table.lines(file))
    for line, raw, _ in found:
        assert 1 < line <= facts.n_lines
        assert table.excerpt(raw).isprintable() and table.size(raw) >= 0
        try:
            table.parse(raw)
        except InvalidInput as error:
            assert len(str(error)) < 300
