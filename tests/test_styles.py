"""Templates and the stylesheet fit together, and nothing in a page needs more than the CSP gives."""

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted((Path(settings.BASE_DIR) / "templates").rglob("*.html"))
STYLESHEET = Path(settings.BASE_DIR) / "static" / "goldloop.css"
_MARKERS = {"group", "peer"}  # Tailwind reads them on neighbours; they have no rule of their own
_SANITISED = "{{ guidelines.html|safe }}"  # Markdown that nh3 has cleaned (annotate/models/schema.py)
_VARIABLE = "\x00"  # stands for {{ … }}

_TAG = re.compile(r"{%.*?%}|{#.*?#}", re.S)
_COMMENT = re.compile(r"{%\s*comment\b.*?%}.*?{%\s*endcomment\s*%}|<!--.*?-->", re.S)
_CLASS = re.compile(r"""\bclass=(?:"([^"]*)"|'([^']*)')""", re.S)
_RULE = re.compile(r"\.((?:\\[0-9a-fA-F]{1,6}\s?|\\.|[\w-])+)")
_INLINE = {
    "a style attribute": re.compile(r"<[a-zA-Z][^<>]*?\sstyle\s*=", re.S),
    "a style element": re.compile(r"<style\b", re.I),
    "a script in the page": re.compile(r"<script\b(?![^>]*\bsrc=)", re.I),
    "an event attribute": re.compile(r"<[a-zA-Z][^<>]*?\son[a-z]+\s*=", re.S),
    "an hx-on attribute": re.compile(r"\shx-on\b"),
    "a javascript: address": re.compile(r"javascript:", re.I),
    "text that is not escaped": re.compile(r"\|\s*safe\b|{%\s*autoescape\s+off"),
}


def classes_of(css: str) -> set[str]:
    """Every class that a rule names, without CSS's escapes."""

    def plain(name: str) -> str:
        name = re.sub(r"\\([0-9a-fA-F]{1,6})\s?", lambda found: chr(int(found[1], 16)), name)
        return re.sub(r"\\(.)", r"\1", name)

    return {plain(name) for name in _RULE.findall(css)}


def classes_in(template: str) -> set[str]:
    """Every class that a template may write; a part that a variable fills is _VARIABLE."""
    text = re.sub(r"{{.*?}}", _VARIABLE, _COMMENT.sub(" ", template), flags=re.S)
    # A condition inside a class list separates its branches; quotes inside tags would end the attribute early.
    found = _CLASS.findall(_TAG.sub(" ", text))
    return {name for one, other in found for name in (one or other).split()} - {_VARIABLE}


def missing(names: set[str], known: set[str]) -> set[str]:
    def exists(name: str) -> bool:
        if _VARIABLE not in name:
            return name in known or name in _MARKERS or name.startswith(("group/", "peer/"))
        pattern = re.compile(".+".join(map(re.escape, name.split(_VARIABLE))))
        return any(pattern.fullmatch(one) for one in known)

    return {name.replace(_VARIABLE, "{{…}}") for name in names if not exists(name)}


@pytest.fixture(scope="module")
def known() -> set[str]:
    return classes_of(STYLESHEET.read_text(encoding="utf-8"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
class TestTemplates:
    def test_every_class_is_in_the_stylesheet(self, template, known):
        """What is missing: run `make css`, or the class is a slip of the pen."""
        assert missing(classes_in(template.read_text(encoding="utf-8")), known) == set()

    def test_it_holds_no_script_style_or_raw_text(self, template):
        text = _COMMENT.sub(" ", template.read_text(encoding="utf-8")).replace(_SANITISED, "")
        text = re.sub(r"{{.*?}}|{%(?!\s*autoescape).*?%}", lambda found: found[0].replace(">", " "), text, flags=re.S)
        assert [what for what, pattern in _INLINE.items() if pattern.search(text)] == []


class TestTheGuardItself:
    def test_it_reads_escaped_and_nested_names(self):
        css = r".sm\:px-4{a:b}.h-1\.5{a:b}.\32xl\:p-1{a:b}@media x{.btn:hover>.w-1\/2{a:b}}"
        assert {"sm:px-4", "h-1.5", "2xl:p-1", "btn", "w-1/2"} <= classes_of(css)

    def test_it_reads_conditions_and_variables(self):
        template = '<p class="a {% if x == "y" %}b{% else %}c{% endif %} label-{{ n }}"></p>{# <p class="d"> #}'
        assert classes_in(template) == {"a", "b", "c", f"label-{_VARIABLE}"}

    def test_it_misses_nothing(self):
        assert missing({"btn", "bttn", f"label-{_VARIABLE}", f"lable-{_VARIABLE}"}, {"btn", "label-1"}) == {
            "bttn",
            "lable-{{…}}",
        }

    @pytest.mark.parametrize(
        "bad",
        [
            '<p style="color:red">',
            "<style>p{}</style>",
            "<script>1</script>",
            '<a\n  onclick="f()">',
            '<p hx-on:click="f()">',
            '<a href="javascript:f()">',
            "{{ text|safe }}",
        ],
    )
    def test_it_finds_what_the_csp_would_refuse(self, bad):
        assert [what for what, pattern in _INLINE.items() if pattern.search(bad)]


_NAMED = re.compile(r"""{%\s*(?:include|extends)\s+"([^"#]+)""")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_what_a_template_includes_exists(template):
    """Some are reached only by what few projects have, a second page for instance."""
    root = Path(settings.BASE_DIR) / "templates"
    named = _NAMED.findall(_COMMENT.sub(" ", template.read_text(encoding="utf-8")))
    assert [name for name in named if not (root / name).is_file()] == []
