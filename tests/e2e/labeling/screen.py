"""The annotating screen as a person uses it: one press at a time, on what is painted."""

from annotate.models import Annotation

READY = "#labeling[data-ready]:not([data-ready=''])"


def open_screen(page, project):
    page.goto(f"/p/{project.slug}/label/")
    ready(page)


def ready(page):
    page.wait_for_selector(READY)


def item(page):
    return page.locator("#item .item-text").first.inner_text()


def press(page, key):
    """One press as a person makes it: on an item that is painted; until the next one is."""
    answer(page, key)
    ready(page)


def answer(page, key):
    """One press, until its item is gone."""
    before = page.get_attribute("#labeling", "data-ready")
    page.keyboard.press(key)
    page.wait_for_function(
        "(before) => (document.querySelector('#labeling').dataset.ready ?? '') !== before", arg=before
    )


def saved(page):
    """All answers have arrived."""
    page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('goldloop.answer.'))")


def holds(page, n):
    """The item on the screen and those ahead are here."""
    page.wait_for_function(
        """(n) => navigator.locks.query().then(({ held }) =>
        held.filter((lock) => lock.name.startsWith("goldloop-lease-")).length >= n)""",
        arg=n,
    )


def stored():
    """What each item was answered with now: {text: label or reason}."""
    rows = Annotation.objects.filter(is_current=True).select_related("label", "item__content")
    return {row.item.content.payload["text"]: row.label.name if row.label else row.skip_reason for row in rows}
