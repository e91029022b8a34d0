"""Markdown that people write: what is too costly is refused before it is parsed, and no text is rendered twice."""

import pytest

from annotate import markdown
from annotate.errors import InvalidInput
from annotate.models import GuidelineVersion


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 99_000, "Signs of Markdown in them .*: 99,000; at most 8,000"),
        ("![" * 4_001, "Signs of Markdown"),
        ("-=" * 20_000, "Signs of Markdown"),
        ("|" + "a|" * 900 + "\n|" + "-|" * 900 + "\n" + "|\n" * 100, "tables .* more than 4,000 cells"),
        ("x" * 100_001, "more than 100000 characters"),
    ],
)
def test_what_is_too_costly_is_refused_and_shown_as_it_was_written(text, sentence, monkeypatch):
    with pytest.raises(InvalidInput, match=sentence):
        markdown.check(text)
    monkeypatch.delattr(markdown, "MarkdownIt")  # from a time before it was refused: it is not parsed
    assert "<pre>" in GuidelineVersion(markdown=text).html()


def test_forty_pages_of_usual_text_are_taken():
    page = (
        "# A page\n\n"
        + "A sentence of eighty characters, with *one* word that matters in it, and `code`.\n" * 28
        + "- a point\n" * 5
    )
    text = page * 40
    assert 80_000 < len(text) <= markdown.MOST_CHARACTERS
    markdown.check(text)


def test_a_text_is_rendered_once(monkeypatch):
    text = "A *text* that no other test has."
    first = GuidelineVersion(markdown=text).html()
    monkeypatch.delattr(markdown, "MarkdownIt")
    assert GuidelineVersion(markdown=text).html() == first == "<p>A <em>text</em> that no other test has.</p>\n"
