"""CSV that a spreadsheet cannot run."""

import csv as stdlib
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.formats import csv


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        " =1",
        "\u00a0=1",
        "\u3000=1",
        "\ufeff=1",
        "\u200b=1",
        "\u202e=1",
        "\u202a \u2066+1",
        "\u2069@x",
        " \t x",
        "\n=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        " \uff1d1",
    ],
)
def test_it_puts_an_apostrophe_before_what_could_run(cell):
    assert csv.harmless(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["a=1", "", " a", "#1", '"=1"', "'=1", -1, -0.5, 3, None, "(=1)"])
def test_it_leaves_other_cells_alone(cell):
    assert csv.harmless(cell) == cell


def test_it_keeps_numbers_numbers():
    assert csv.lines([[-1, 0.25, None, "x"]]) == b"-1,0.25,,x\r\n"


# Building the table of characters takes seconds on a busy machine; that is no finding.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"))


@steady
@given(st.lists(st.lists(texts, min_size=3, max_size=3), max_size=5))
def test_it_is_read_back_as_it_was_but_for_the_apostrophes(rows):
    read = list(stdlib.reader(io.StringIO(csv.lines(rows).decode(), newline="")))
    assert read == [[csv.harmless(cell) for cell in row] for row in rows]


@steady
@given(texts)
def test_it_never_leaves_a_formula(cell):
    assert not str(csv.harmless(cell)).lstrip().startswith(tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"))
