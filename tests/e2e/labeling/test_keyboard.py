"""Labeling by keyboard in a real browser: an answer a press, also among many labels, and every one can be undone."""

import re

import pytest
from playwright.sync_api import expect

from annotate.models import Annotation
from tests.e2e.in_page import next_frame
from tests.e2e.labeling.screen import item, open_screen, press, ready, saved, stored
from tests.factories import make_project, owner_of
from tests.web.labeling.rows import make_round


class TestKeyboard:
    def test_it_labels_thirty_items_with_keys_alone(self, label):
        pressed = {}
        for n in range(30):
            pressed[item(label)] = ("yes", "no", "maybe")[n % 3]
            press(label, f"Digit{n % 3 + 1}" if n % 2 else f"Numpad{n % 3 + 1}")
        saved(label)
        assert stored() == pressed
        assert Annotation.objects.count() == 30
        expect(label.locator("#progress")).to_contain_text("30 today · 30 left")

    def test_it_chooses_with_shift_and_sends_with_enter(self, label):
        label.keyboard.press("Shift+Digit2")
        expect(label.locator("#labels .choice[aria-pressed=true]")).to_have_text(re.compile("no"))
        assert not Annotation.objects.exists()
        press(label, "Enter")
        saved(label)
        assert list(stored().values()) == ["no"]

    def test_it_skips_with_a_reason_and_flags_and_comments(self, label):
        label.keyboard.press("f")
        label.keyboard.press("c")
        label.keyboard.type("odd 1 u s")  # typing is typing
        label.keyboard.press("Escape")
        label.keyboard.press("s")
        press(label, "Digit2")
        saved(label)
        row = Annotation.objects.get()
        assert (row.skip_reason, row.is_flagged, row.comment) == ("bad_data", True, "odd 1 u s")

    def test_esc_leaves_the_reasons(self, label):
        label.keyboard.press("s")
        label.keyboard.press("Escape")
        press(label, "Digit1")
        saved(label)
        assert list(stored().values()) == ["yes"]

    def test_a_held_key_answers_once(self, label):
        first = item(label)
        label.keyboard.down("Digit1")
        for _ in range(10):
            label.keyboard.down("Digit1")  # an auto-repeat
        expect(label.locator("#item .item-text").first).not_to_have_text(first)
        ready(label)
        for _ in range(10):  # on the next item, too
            label.keyboard.down("Digit1")
            next_frame(label)
        label.keyboard.up("Digit1")
        saved(label)
        assert Annotation.objects.count() == 1

    def test_a_second_press_before_the_next_item_is_seen_does_nothing(self, label):
        label.evaluate(
            """() => { for (const _ of [1, 2, 3]) document.body.dispatchEvent(
            new KeyboardEvent("keydown", {code: "Digit1", key: "1", bubbles: true, cancelable: true})) }"""
        )
        ready(label)
        saved(label)
        assert Annotation.objects.count() == 1

    @pytest.mark.parametrize("keys", ["Control+Digit1", "Alt+Digit1", "Meta+Digit1"])
    def test_shortcuts_of_the_browser_are_left_alone(self, label, keys):
        label.keyboard.press(keys)
        next_frame(label)
        assert label.locator("#last").is_hidden()

    def test_nothing_is_answered_while_a_character_is_composed(self, label):
        label.evaluate(
            """() => document.body.dispatchEvent(new KeyboardEvent("keydown",
            {code: "Digit1", key: "1", isComposing: true, bubbles: true}))"""
        )
        next_frame(label)
        assert label.locator("#last").is_hidden()

    def test_a_dialog_keeps_the_keys(self, label):
        label.keyboard.press("?")
        expect(label.locator("#keys")).to_be_visible()
        label.keyboard.press("Digit1")
        label.keyboard.press("Escape")
        expect(label.locator("#keys")).to_be_hidden()
        label.keyboard.press("g")
        expect(label.locator("#guidelines")).to_be_visible()
        assert label.locator("#last").is_hidden()

    def test_a_double_click_answers_one_item(self, label):
        label.locator("#labels .choice").first.dblclick()
        ready(label)
        saved(label)
        assert Annotation.objects.count() == 1

    def test_a_button_works_with_tab_and_enter(self, label):
        label.locator("#labels .choice").nth(1).focus()
        press(label, "Enter")
        saved(label)
        assert list(stored().values()) == ["no"]
        assert label.evaluate("document.activeElement.id") == "item"


class TestUndo:
    def test_it_changes_the_last_answer(self, label):
        first = item(label)
        press(label, "Digit1")
        second = item(label)
        press(label, "u")
        assert item(label) == first
        press(label, "Digit2")
        assert item(label) == second
        saved(label)
        assert stored() == {first: "no"}
        assert Annotation.objects.count() == 2

    def test_it_goes_ten_deep_after_a_reload(self, label, project):
        seen = []
        for _ in range(11):
            seen.append(item(label))
            press(label, "Digit1")
        saved(label)
        open_screen(label, project)
        for n in range(10):
            press(label, "Backspace")
            assert item(label) == seen[-1 - n]
        label.keyboard.press("ArrowLeft")
        next_frame(label)
        assert item(label) == seen[1]
        press(label, "Digit3")
        saved(label)
        assert stored()[seen[1]] == "maybe"

    def test_a_skip_becomes_a_label_and_a_label_a_skip(self, label):
        first = item(label)
        label.keyboard.press("s")
        press(label, "Digit1")
        press(label, "u")
        press(label, "Digit1")
        press(label, "u")
        label.keyboard.press("s")
        press(label, "Digit4")
        saved(label)
        assert stored() == {first: "technical"}

    def test_arrows_lead_back_to_what_i_was_doing(self, label):
        press(label, "Digit1")
        now = item(label)
        label.keyboard.press("Shift+Digit3")
        press(label, "ArrowLeft")
        press(label, "ArrowRight")
        assert item(label) == now
        expect(label.locator("#labels .choice[aria-pressed=true]")).to_have_text(re.compile("maybe"))

    def test_an_answer_that_waits_is_changed_in_order(self, label, browsing):
        browsing.expect("ERR_INTERNET_DISCONNECTED|Failed to load")
        first = item(label)
        label.context.set_offline(True)
        press(label, "Digit1")
        press(label, "u")
        press(label, "Digit3")
        label.context.set_offline(False)
        saved(label)
        assert stored() == {first: "maybe"}


class TestManyLabels:
    @pytest.fixture
    def many(self, page_for, transactional_db):
        project = make_project(tuple(f"label {n:02} {'card' if n % 7 == 3 else 'cash'}" for n in range(77)))
        make_round(project, [f"item {n}" for n in range(20)])
        page = page_for(owner_of(project))
        open_screen(page, project)
        return page

    def test_the_filter_keeps_the_order_and_enter_sends_the_first(self, many):
        many.keyboard.press("/")
        many.keyboard.type("card")
        visible = many.locator("#labels .choice:visible .choice-name").all_inner_texts()
        assert visible == sorted(visible)
        assert len(visible) == 11
        press(many, "Enter")
        saved(many)
        assert list(stored().values()) == ["label 03 card"]
        assert many.locator("#labels .choice:visible").count() == 77

    def test_arrows_walk_through_what_fits(self, many):
        many.keyboard.press("/")
        many.keyboard.type("card")
        many.keyboard.press("ArrowDown")
        many.keyboard.press("ArrowDown")
        press(many, "Enter")
        saved(many)
        assert list(stored().values()) == ["label 10 card"]

    def test_where_nothing_fits_it_says_so(self, many):
        many.keyboard.press("/")
        many.keyboard.type("cheque")
        expect(many.locator("#filter-count")).to_have_text("No label fits")
        assert many.locator("#filter-count").bounding_box()["height"] > 10

    def test_the_first_ten_have_keys(self, many):
        press(many, "Digit0")
        saved(many)
        assert list(stored().values()) == ["label 09 cash"]
