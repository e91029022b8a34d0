"""The labels change while somebody labels in a real browser: keys mean what is seen, and nothing is lost."""

import pytest
from playwright.sync_api import expect

from annotate.models import Annotation, Draft
from tests.annotate.asking import change_labels
from tests.e2e.labeling.screen import holds, item, press, ready, saved, stored

SENTENCE = "The labels were changed. The keys now choose among those that you see"
CHANGED = "#labeling[data-schema='2']"


def renewed(page):
    page.wait_for_selector(CHANGED)
    ready(page)


def test_the_next_key_means_the_new_label(label, project):
    holds(label, 3)
    change_labels(project, ("maybe", "yes", "no"))
    pressed = {item(label): "yes"}
    label.keyboard.press("Digit1")
    renewed(label)
    expect(label.locator("#notice")).to_contain_text(SENTENCE)
    pressed[item(label)] = "maybe"
    press(label, "Digit1")
    saved(label)
    assert len(pressed) == 2
    assert stored() == pressed
    expect(label.locator("#notice")).to_be_hidden()
    expect(label.locator("#labels .choice").first).to_contain_text("maybe")


def test_a_void_answer_is_listed_and_its_item_comes_again(label, project):
    holds(label, 3)
    first = item(label)
    change_labels(project, ("yes", "no"))
    label.keyboard.press("Digit3")
    renewed(label)
    expect(label.locator("#refused")).to_contain_text("maybe")
    expect(label.locator("#refused")).to_contain_text("The labels were changed meanwhile: your answer is kept")
    seen = []
    while first not in seen and len(seen) < 5:
        seen.append(item(label))
        press(label, "Digit1")
    saved(label)
    assert first in seen
    assert stored() == dict.fromkeys(seen, "yes")
    assert Annotation.objects.filter(item__content__payload__text=first).count() == 2


def test_what_was_written_is_kept(label, project):
    holds(label, 3)
    label.keyboard.press("c")
    label.keyboard.type("not sure")
    label.keyboard.press("Escape")
    change_labels(project, ("maybe", "yes", "no"))
    label.evaluate("window.dispatchEvent(new Event('online'))")  # asks for more, and hears of it
    renewed(label)
    expect(label.locator("textarea")).to_have_value("not sure")
    assert Draft.objects.get().comment == "not sure"


def test_a_page_is_not_taken_away_while_somebody_writes(label, project):
    holds(label, 3)
    label.keyboard.press("c")
    change_labels(project, ("maybe", "yes", "no"))
    with label.expect_response("**/label/next"):
        label.evaluate("window.dispatchEvent(new Event('online'))")
    label.keyboard.type("hm")
    expect(label.locator("textarea")).to_have_value("hm")
    assert label.get_attribute("#labeling", "data-schema") == "1"
    label.keyboard.press("Escape")
    label.evaluate("window.dispatchEvent(new Event('online'))")
    renewed(label)
    expect(label.locator("textarea")).to_have_value("hm")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("yes", ("not yes", ["no", "maybe"])), "You answered: not yes."),
        (("yes", "no"), "You answered: maybe (no longer one of the labels)."),
    ],
)
def test_looking_back_shows_the_label_as_it_reads_now(label, project, rows, words):
    holds(label, 3)
    press(label, "Digit3")
    saved(label)
    change_labels(project, rows)
    label.evaluate("window.dispatchEvent(new Event('online'))")
    renewed(label)
    label.keyboard.press("u")
    expect(label.locator("#viewing")).to_contain_text(words)
