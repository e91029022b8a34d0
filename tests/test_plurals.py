"""A count before a plural noun goes through ngettext: nobody reads "1 questions stay".

Found as far as a program can: a placeholder, up to three words, and a word that ends in s. What is a name, a limit
above one, or a verb is named here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_ONE_FORM = {"_", "gettext", "gettext_lazy"}
_PLURAL = r"\s+(?:[\w’'-]+\s+){0,3}?([A-Za-z]+s|people)\b"
_IN_CODE = re.compile(r"%\((\w+)\)[sd]" + _PLURAL)
_IN_TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}" + _PLURAL)
_BLOCK = re.compile(r"\{% blocktranslate\b(.*?)%\}(.*?)\{% endblocktranslate %\}", re.S)
# Words in s that follow a name or a number that is no count.
_NO_NOUNS = {
    "as", "is", "has", "was", "does", "this", "its", "belongs", "owns", "needs", "names", "invites", "costs", "looks",
    "holds", "takes", "says", "answers", "asks", "less", "always",
}  # fmt: skip
# Placeholders of names, versions and places in a list.
_NO_COUNTS = {"name", "person", "file", "version", "round", "number", "place", "email", "item", "label", "value"}
_LIMITS = {"days", "most", "limit", "many"}  # fixed, and above one; or more than a limit
_FIXED = {  # a limit above one under another name
    "You have %(n)d tokens, which is all you can have. Revoke one first.",
    "A key has 1 to %(n)d printable ASCII characters.",
    "The guidelines have more than %(n)d characters.",
    "{{ in }} for a million tokens in, {{ out }} out",
}


def counted_plurals(sentence: str, pattern: re.Pattern[str]) -> list[str]:
    """The pieces of a sentence in which a count may stand before a plural."""
    return [
        found[0]
        for found in pattern.finditer(sentence)
        if found[1] not in _NO_COUNTS | _LIMITS and found[2] not in _NO_NOUNS and sentence.strip() not in _FIXED
    ]


def in_code(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in _ONE_FORM and node.args:
            text = node.args[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield from counted_plurals(text.value, _IN_CODE)


def in_template(source: str) -> Iterator[str]:
    for options, text in _BLOCK.findall(source):
        if not re.search(r"\bcount\s+\w+\s*=", options):
            yield from counted_plurals(text, _IN_TEMPLATE)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "annotate").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_sentences_in_code_have_both_forms(path):
    assert list(in_code(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_sentences_in_templates_have_both_forms(path):
    assert list(in_template(path.read_text(encoding="utf-8"))) == []


class TestTheGuardItself:
    def test_it_finds_a_count_before_a_plural(self):
        assert list(in_code('_("Round %(round)s: %(open)s questions stay.")')) == ["%(open)s questions"]
        assert list(in_code('_("%(n)d brand new gold labels")')) == ["%(n)d brand new gold labels"]
        assert list(in_template("{% blocktranslate with n=n %}of {{ n }} items{% endblocktranslate %}")) == [
            "{{ n }} items"
        ]

    def test_it_lets_both_forms_and_names_pass(self):
        assert not list(in_code('ngettext("%(n)s label", "%(n)s labels", n); _("%(person)s owns items")'))
        both = "{% blocktranslate count n=n %}{{ n }} item{% plural %}{{ n }} items{% endblocktranslate %}"
        assert not list(in_template(both))
