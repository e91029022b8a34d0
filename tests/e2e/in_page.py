"""Waiting within a page, with a limit: `page.evaluate` itself waits for a promise as long as the page likes."""

from typing import Any

from playwright.sync_api import Page

SECONDS = 15

_RACE = """(argument) => {{
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error("still waiting after {seconds} s")), {seconds} * 1000));
  return Promise.race([({function})(argument), late]);
}}"""
# Asked again and again instead of `finished`, which rejects for a transition that is cancelled and never comes for one
# that does not end. Animations may be endless by design; only transitions have to arrive.
_IS_STILL = """() => !document.getAnimations().some((one) =>
  one instanceof CSSTransition && one.playState === "running")"""


def within(page: Page, function: str, argument: Any = None, seconds: float = SECONDS) -> Any:
    """What the promise of this JavaScript function brings; playwright's Error where it takes longer."""
    return page.evaluate(_RACE.format(function=function, seconds=seconds), argument)


def next_frame(page: Page) -> None:
    """What the page had still to do with what it has heard is done and painted."""
    within(page, "() => new Promise((go) => requestAnimationFrame(() => setTimeout(go)))")


def settled(page: Page, seconds: float = SECONDS) -> None:
    """Every transition on the page has ended or was cancelled; playwright's TimeoutError where one goes on."""
    page.wait_for_function(_IS_STILL, timeout=seconds * 1000)
