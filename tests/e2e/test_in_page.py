"""Waiting within a page comes to an end, whatever the page does; and no file of the tests waits there without one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, TimeoutError

from tests.e2e.in_page import settled, within

ROOT = Path(__file__).resolve().parents[2]
# JavaScript that ends when the page pleases: promises, and what makes them.
WAITS = re.compile(
    r"\.finished\b|\bnew Promise\b|\bPromise\.all|\basync *(\(|function\b)|\bawait |\baxe\.run\b|\bfetch\("
)


@pytest.fixture
def page(browsing):
    return browsing.open("http://127.0.0.1:9999")  # never asked: the page stays blank


class TestWithin:
    def test_it_brings_what_the_promise_brings(self, page):
        assert within(page, "(n) => Promise.resolve(n + 1)", 1) == 2

    def test_it_ends_where_the_promise_does_not(self, page):
        with pytest.raises(Error, match=r"still waiting after 0\.1 s"):
            within(page, "() => new Promise(() => {})", seconds=0.1)


class TestSettled:
    def move(self, page, seconds):
        """Begin a transition that takes so long."""
        page.set_content(f"<p style='transition: opacity {seconds}s linear'>x</p>")
        page.evaluate("""() => {
          const style = document.querySelector("p").style;
          getComputedStyle(document.querySelector("p")).opacity;
          style.opacity = 0;
        }""")
        assert page.evaluate("document.getAnimations().length") == 1

    def test_it_waits_until_a_transition_has_ended(self, page):
        self.move(page, 0.3)
        settled(page)
        assert page.evaluate("getComputedStyle(document.querySelector('p')).opacity") == "0"

    def test_a_cancelled_transition_is_none(self, page):
        self.move(page, 60)
        page.evaluate("document.querySelector('p').style.transition = 'none'")
        settled(page)

    def test_it_ends_where_a_transition_does_not(self, page):
        self.move(page, 60)
        with pytest.raises(TimeoutError):
            settled(page, seconds=0.2)


def unlimited_waits(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and words of strings with such JavaScript, but for those that `within` is called with."""
    limited = {
        id(part)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "within"
        for part in ast.walk(call)
    }
    for part in ast.walk(tree):
        if not isinstance(part, ast.Constant) or not isinstance(part.value, str) or id(part) in limited:
            continue
        if found := WAITS.search(part.value):
            yield part.lineno, found.group()


@pytest.mark.parametrize("script", ["() => one.finished", "new Promise(() => {})", "async () => 1", "axe.run()"])
def test_a_wait_without_an_end_is_found(script):
    assert list(unlimited_waits(ast.parse(f"page.evaluate('{script}')")))
    assert not list(unlimited_waits(ast.parse(f"within(page, '{script}')")))


def test_no_test_waits_in_a_page_without_an_end():
    known = {Path(__file__), Path(__file__).with_name("in_page.py")}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {words}"
        for folder in ("tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path not in known
        for line, words in unlimited_waits(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not wrong, "\n".join(wrong)
