"""CSV for spreadsheets: nothing in it runs as a formula, and the texts come back."""

import csv as stdlib
import html
import io
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from annotate.formats import csv, spreadsheet
from annotate.formats.spreadsheet import escape, unescape
from models_ml.texts import has_text
from tests.formats.nasty import SIGNS, nasty_text

# Building the table of characters takes seconds on a busy machine; that is no finding.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
FORMULAS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
SEPARATORS = ",;\t"


def stripped(text: str) -> str:
    """The text without what spreadsheets trim, or do not show, at its beginning."""
    start = next((at for at, sign in enumerate(text) if has_text(sign)), len(text))
    return text[start:]


class TestEscape:
    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("-1", "'-1"),
            ("=1+1", "'=1+1"),
            ("+49 30", "'+49 30"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            (" =1", "' =1"),
            ("\u200b\ufeff=1", "'\u200b\ufeff=1"),
            ("\uff1d1", "'\uff1d1"),
            ("\ufe631", "'\ufe631"),
            ("\n=1", "'\n'=1"),
            ("a;=1", "a;'=1"),
            ("a, -1", "a,' -1"),
            ("a\t=1", "a\t'=1"),
            ("a\r\n=1", "a\r'\n'=1"),
            ("'=1", "''=1"),
            ("''=1", "'''=1"),
            ('a\n"=1', "a\n'\"=1"),
        ],
    )
    def test_it_puts_an_apostrophe_where_a_formula_could_begin(self, text, written):
        assert (escape(text), unescape(written)) == (written, text)

    @pytest.mark.parametrize("text", ["", "a=1", "a - b", "it's", "'", "'a", "a, b; c", "a\r\nb", "#1", "1-1", "(=1)"])
    def test_it_leaves_other_texts_alone(self, text):
        assert escape(text) == unescape(text) == text

    def test_it_knows_every_character_that_shows_nothing(self):
        known = re.compile(f"[{spreadsheet.INVISIBLE}\t\r\n]")
        assert [sign for sign in map(chr, range(0x110000)) if not has_text(sign) and not known.match(sign)] == []

    @steady
    @given(nasty_text)
    def test_reading_takes_away_just_what_writing_put_in(self, text):
        assert unescape(escape(text)) == text

    @steady
    @given(nasty_text, st.sampled_from(SEPARATORS))
    def test_however_it_is_split_no_part_begins_a_formula(self, text, separator):
        for part in re.split(f"[{separator}\r\n]", escape(text)):
            assert not part.startswith(FORMULAS) and not stripped(part).startswith(FORMULAS)

    @pytest.mark.parametrize(
        "text", ["\n" * 200_000, "\t" * 200_000, "'\n" * 100_000, "\n" * 200_000 + "=", ", " * 100_000]
    )
    def test_it_stays_quick_for_every_text(self, text):
        start = time.process_time()
        assert unescape(escape(text)) == text
        assert time.process_time() - start < 5


class TestFormat1:
    @pytest.mark.parametrize("text", ["-x", "'-x"])
    def test_it_takes_one_apostrophe_away_and_cannot_tell_which_it_was(self, text):
        assert spreadsheet.without_first_apostrophe("'-x") == "-x"

    @pytest.mark.parametrize("text", ["it's", "'a", "a'=1", "'", ""])
    def test_it_leaves_other_texts_alone(self, text):
        assert spreadsheet.without_first_apostrophe(text) == text


class TestLines:
    def test_it_puts_every_cell_in_quotes(self):
        assert spreadsheet.lines([["a", None, "", 1, -0.5, '"']]) == b'"a","","","1","-0.5",""""\r\n'

    @steady
    @given(st.lists(nasty_text, min_size=1, max_size=4))
    def test_it_comes_back_through_any_reader_of_csv(self, cells):
        content = spreadsheet.lines([cells]).decode()
        [row] = stdlib.reader(io.StringIO(content, newline=""))
        assert [unescape(cell) for cell in row] == cells

    @steady
    @given(st.lists(nasty_text, min_size=2, max_size=4), st.sampled_from(SEPARATORS), st.booleans())
    @example(["a", 'x;"=1+1;'], ";", False)  # a quote that such a reader takes away
    @example(["a", 'x\n"=1+1'], ",", True)
    def test_no_reader_finds_a_formula_whatever_it_separates_by(self, cells, separator, ends_cells_at_lines):
        content = spreadsheet.lines([cells]).decode()
        parts = re.split("[\r\n]+", content) if ends_cells_at_lines else [content]
        for part in parts:
            for row in stdlib.reader(io.StringIO(part, newline=""), delimiter=separator):
                assert [cell for cell in row if stripped(cell).startswith(FORMULAS)] == []


# ---- a spreadsheet

_TEXTS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "-1", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "\u00a0=1+1", "\u200b=1+1",
    "\ufeff=1+1", "\uff1d1+1", "a;=1+1;b", "a,=1+1,b", "a\t=1+1\tb", "a\n=1+1\nb", "a\r\n=1+1\r\nb", "a;\n=1+1;",
    "'=1+1", "a\n\";=1+1;b", 'a\n"=1+1;b', 'a;"=1+1;b', 'a\t""=1+1\tb', "a\n= 4+6;", '=HYPERLINK("http://x.org","y")',
    "=cmd|' /C calc'!A0", "a;+1+1;", "a\t-1+1\t", "a\n@SUM(A1)\n", "it's - fine", '"quoted" = text',
]  # fmt: skip


@pytest.fixture
def soffice():
    found = shutil.which("soffice")
    if not found:
        sentence = "There is no LibreOffice (on Debian: libreoffice-calc-nogui)."
        if os.environ.get("REQUIRE_OFFICE") == "1":
            pytest.fail(f"{sentence} REQUIRE_OFFICE=1 asks for it.")
        pytest.skip(sentence)
    return found


def opened(soffice: str, path: Path, separator: str) -> str:
    """The file as LibreOffice Calc reads it, in XML. Quote is 34, UTF-8 is 76, and it begins at line 1."""
    out = path.parent / f"by-{ord(separator)}"
    command = [
        soffice, f"-env:UserInstallation={(path.parent / 'profile').as_uri()}", "--headless", "--convert-to", "fods",
        "--outdir", str(out), f"--infilter=CSV:{ord(separator)},34,76,1", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return (out / f"{path.stem}.fods").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_a_spreadsheet_no_cell_is_a_formula(soffice, tmp_path):
    pieces = [a + b + c for a in SIGNS for b in SIGNS[:14] for c in ("=1+1", "+1", "-1+1")]
    rows = [[str(number), text] for number, text in enumerate([*_TEXTS, *pieces])]
    as_it_is, escaped = tmp_path / "as_it_is.csv", tmp_path / "escaped.csv"
    as_it_is.write_bytes(csv.lines([["id", "text"], *rows]))
    escaped.write_bytes(spreadsheet.MARK + spreadsheet.lines([["id", "text", spreadsheet.COLUMN], *rows]))
    for separator in SEPARATORS:
        assert "table:formula" in opened(soffice, as_it_is, separator), "this would find a formula"
        content = opened(soffice, escaped, separator)
        assert re.findall('table:formula="[^"]*"', content) == []
        assert html.unescape(content).count("'=1+1") > len(_TEXTS)
