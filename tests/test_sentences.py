"""What people are told when something cannot be done goes through gettext, wherever in annotate/ it is raised."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate import errors

ROOT = Path(__file__).resolve().parent.parent / "annotate"
_ENGLISH = ("management", "migrations", "simulation.py")  # commands speak English
_ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)} | {"AddressRefused"}


def raw_sentences(source: str) -> Iterator[str]:
    """Texts given to an error as they are, with letters in them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in _ERRORS and node.args:
            text = node.args[0]
            written = ast.unparse(text) if isinstance(text, ast.JoinedStr | ast.Constant) else ""
            fixed = [part for part in ast.walk(text) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if written and any(letter.isalpha() for part in fixed for letter in part.value):
                yield written


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOT.rglob("*.py")) if not set(_ENGLISH) & set(path.relative_to(ROOT).parts)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_errors_can_be_translated(path):
    assert list(raw_sentences(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("code", ['raise Conflict("No.")', 'x = InvalidInput(f"{name} is gone")'])
def test_the_guard_finds_what_cannot(code):
    assert list(raw_sentences(code))


@pytest.mark.parametrize(
    "code", ['raise Conflict(_("No."))', "Conflict(sentence % names)", 'raise KeyError("x")', 'Conflict(f"{a}: {b}")']
)
def test_the_guard_lets_others_pass(code):
    assert not list(raw_sentences(code))
