"""CSV for programs: every cell comes back as it was."""

import csv as stdlib
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.formats import csv, own_csv
from annotate.formats.own_csv import records
from annotate.formats.tables import Broken
from tests.formats.nasty import nasty_text

# Building the table of characters takes seconds on a busy machine; that is no finding.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)
tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(st.none() | nasty_text, min_size=width, max_size=width), min_size=1, max_size=5)
)


def read(content: bytes) -> list:
    return [cells for _, cells in records(io.StringIO(content.decode(), newline=""))]


@pytest.mark.parametrize("cell", ["-1", "=1+1", "+1", "@x", "\tx", "'-1", "\uff1d1", " x "])
def test_it_alters_no_cell(cell):
    assert read(csv.lines([["a", cell]])) == [["a", cell]]


def test_it_writes_null_without_and_an_empty_text_with_quotes():
    assert csv.lines([[None, "", "x", -1, 0.25]]) == b',"",x,-1,0.25\r\n'
    assert read(csv.lines([[None, "", "x"], [None, None, ""]])) == [[None, "", "x"], [None, None, ""]]


def test_it_keeps_a_single_cell_that_is_empty():
    assert read(csv.lines([[""], ["a"]])) == [[""], ["a"]]


@steady
@given(tables)
def test_whatever_it_writes_comes_back(rows):
    assert read(csv.lines(rows)) == rows


@steady
@given(tables)
def test_every_reader_of_csv_reads_the_same_cells(rows):
    content = csv.lines(rows).decode()
    plain = list(stdlib.reader(io.StringIO(content, newline="")))
    assert plain == [[cell or "" for cell in row] for row in read(content.encode())]


@steady
@given(st.text(st.sampled_from('",a \r\n'), max_size=40))
def test_it_reads_what_others_wrote_like_the_csv_module_or_not_at_all(content):
    found = read(content.encode())
    if not any(isinstance(cells, Broken) for cells in found):
        plain = list(stdlib.reader(io.StringIO(content, newline="")))
        assert [[cell or "" for cell in cells] for cells in found] == [cells for cells in plain if cells]


def test_it_numbers_records_by_the_line_on_which_they_begin():
    stream = io.StringIO('a,b\r\n"1\n2\r3",x\r\n\r\n4,\r\n', newline="")
    assert list(records(stream)) == [(1, ["a", "b"]), (2, ["1\n2\r3", "x"]), (6, ["4", None])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('a,b"c"\r\n', "text beside a double quote"),
        ('a,"b"c\r\n', "text beside a double quote"),
        ('a,"b\r\n', "never closed"),
        ("a,caf\udce9\r\n", "not UTF-8"),
    ],
)
def test_it_says_why_a_record_is_none_of_its_own(line, reason):
    [(number, broken)] = records(io.StringIO(line, newline=""))
    assert number == 1 and reason in broken.reason


def test_it_reads_on_below_a_record_that_is_too_long():
    long = "x" * 3_000_000
    stream = io.StringIO(f'a,b\n1,{long}\n2,c\n"{long}\nd', newline="")
    (_, head), (_, broken), (number, next_one), *_ = records(stream)
    assert (head, number, next_one) == (["a", "b"], 3, ["2", "c"]) and "longer than" in broken.reason


def test_a_double_quote_that_somebody_typed_costs_its_own_row_alone():
    below = [["3", "c"], ["4", "d\ne"], ["5", "f"]]
    stream = io.StringIO('a,b\r\n2,5" wide\r\n3,c\r\n4,"d\ne"\r\n5,f\r\n', newline="")
    (_, head), (number, broken), *others = records(stream)
    assert (head, number, [cells for _, cells in others]) == (["a", "b"], 2, below)
    assert [line for line, _ in others] == [3, 4, 6] and isinstance(broken, Broken)


def test_it_reads_again_only_so_much(monkeypatch):
    monkeypatch.setattr(own_csv, "_REREAD", 1)
    stream = io.StringIO('"\n"x\n1,"y\n2\n3\n', newline="")
    (_, first), (_, second), (_, third), (_, fourth) = records(stream)
    assert (first.text, second.text, third, fourth) == ('"\n"x\n', '"x\n1,"y\n', ["2"], ["3"])
    assert "everything up to line 3" in second.reason and "everything" not in first.reason


def test_it_takes_no_nul_character():
    _, (number, broken), (_, below) = records(io.StringIO("a,b\r\n1,x\0y\r\n2,z\r\n", newline=""))
    assert (number, broken.reason, below) == (2, "holds a NUL character", ["2", "z"])
