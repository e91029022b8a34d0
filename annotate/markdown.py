"""Decides how Markdown that people write becomes HTML that is safe to put on a page, and which texts are too costly.

The parser needs up to 20 µs for a sign that may begin or end something, and up to 6 µs for other signs at which it
stops. So signs are counted before it reads a text, which takes a millisecond, and the HTML of a text is kept.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import nh3
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.token import Token

from annotate.errors import InvalidInput

MOST_CHARACTERS = 100_000  # some forty printed pages
MOST_SIGNS = 8_000  # forty pages of usual text have half of them; the worst text with so many takes about 0.2 s
MOST_CELLS = 4_000  # of all tables: a row that is too short is filled up with cells
_NO_SIGNS = str.maketrans("", "", "[]!*_`<>&|\\#\n")
_NO_STOPS = str.maketrans("", "", "$%+-:=@^{}~")  # where the parser stops and looks; four of them count as one sign
_BELOW_HEADER = re.compile(r"[ \t>|:-]*\|[ \t>|:-]*")  # the line of dashes that makes a table of the line above it
_KEPT = 64  # texts whose HTML each process keeps
_LOWER = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
_TABLE_AREA = '<div class="table-scroll" role="region" tabindex="0" aria-label="{}">'
_TAGS = nh3.ALLOWED_TAGS - {"img"}
_ATTRIBUTES = {**nh3.ALLOWED_ATTRIBUTES, "div": {"class", "role", "tabindex", "aria-label"}}  # for _TABLE_AREA


def check(text: str) -> None:
    """InvalidInput if the text is longer, or has more signs of Markdown, than is rendered."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(_("The guidelines have more than %(n)d characters.") % {"n": MOST_CHARACTERS})
    if (n_signs := _n_signs(text)) > MOST_SIGNS:
        sentence = _(
            "The guidelines would take too long to show. Signs of Markdown in them ([ ] ! * _ ` < > & | \\ # and line "
            "ends, and a quarter of the other punctuation): %(n)s; at most %(most)s are taken."
        )
        raise InvalidInput(sentence % {"n": f"{n_signs:,}", "most": f"{MOST_SIGNS:,}"})
    if _n_cells(text) > MOST_CELLS:
        sentence = _("The tables of the guidelines have more than %(most)s cells, the most that is taken.")
        raise InvalidInput(sentence % {"most": f"{MOST_CELLS:,}"})


def render(text: str) -> str:
    """The text as HTML that is safe to put on a page: no scripts, styles, forms or images.

    A text that `check` refuses, from a time before it did, is shown as it was written.
    """
    return _rendered(text, get_language())


@lru_cache(_KEPT)
def _rendered(text: str, language: str | None) -> str:
    """`language`: of what the page says of a table, which is kept with the rest."""
    try:
        check(text)
    except InvalidInput as error:
        return format_html("<p><em>{}</em></p><pre>{}</pre>", str(error), text[:MOST_CHARACTERS])
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = list(_as_part_of_page(markdown.parse(text)))
    rendered: str = markdown.renderer.render(tokens, markdown.options, {})
    return nh3.clean(rendered, tags=_TAGS, attributes=_ATTRIBUTES)


def _n_signs(text: str) -> int:
    n_signs, n_stops = (len(text) - len(text.translate(none)) for none in (_NO_SIGNS, _NO_STOPS))
    return n_signs + n_stops // 4


def _n_cells(text: str) -> int:
    """How many cells the tables may have: each line below a line of dashes, up to a blank one, is a row."""
    n_cells, width = 0, 0
    for line in text.splitlines():
        if not line.strip(" \t>"):
            width = 0
        elif _BELOW_HEADER.fullmatch(line):
            width = max(width, line.count("|") + 1)
        n_cells += width
    return n_cells


def _as_part_of_page(tokens: Iterable[Token]) -> Iterator[Token]:
    """The tokens with headings two levels lower, as the page has its own, and each table in an area that scrolls."""
    for token in tokens:
        token.tag = _LOWER.get(token.tag, token.tag)
        if token.type == "table_open":
            yield Token("html_block", "", 0, content=format_html(_TABLE_AREA, _("Table")))
        yield token
        if token.type == "table_close":
            yield Token("html_block", "", 0, content="</div>")
