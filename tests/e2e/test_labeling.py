"""The annotating screen in a real browser: nothing is lost, nothing is doubled, whatever the keyboard does."""

import re

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import expect

from annotate import members, projects
from annotate.labeling import leases
from annotate.models import Annotation, Lease
from annotate.models.project import Arm, SuggestionPolicy
from tests.e2e.in_page import next_frame, settled, within
from tests.factories import make_member, make_project, owner_of
from tests.waiting import wait_until
from tests.web.labeling.rows import close, make_round
from tests.web.labeling.test_work import predict

READY = "#labeling[data-ready]:not([data-ready=''])"


@pytest.fixture
def project(transactional_db):
    project = make_project()
    make_round(project, [f"item {n}" for n in range(60)])
    return project


@pytest.fixture
def ann(project):
    return make_member(project, "Ann")


@pytest.fixture
def label(page_for, ann, project):
    """Ann's page with the first item painted."""
    page = page_for(ann)
    open_screen(page, project)
    return page


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


class TestNothingIsLost:
    def test_offline_and_back(self, label, browsing):
        browsing.expect("ERR_INTERNET_DISCONNECTED|Failed to load")
        holds(label, 3)
        label.context.set_offline(True)
        pressed = {}
        for _ in range(2):
            pressed[item(label)] = "yes"
            press(label, "Digit1")
        pressed[item(label)] = "yes"
        label.keyboard.press("Digit1")
        expect(label.locator("#unsaved")).to_contain_text("3 answers not saved yet", timeout=2_000)
        label.context.set_offline(False)
        saved(label)
        assert stored() == pressed
        expect(label.locator("#unsaved")).to_be_hidden()
        ready(label)

    def test_a_reload_keeps_what_was_not_sent(self, label, project, browsing):
        browsing.expect("Failed to load|request failed|ERR_FAILED")
        first = item(label)
        label.route("**/label/submit", lambda route: route.abort())
        press(label, "Digit2")
        label.unroute_all()
        label.on("dialog", lambda dialog: dialog.accept())
        open_screen(label, project)
        saved(label)
        assert stored() == {first: "no"}
        assert item(label) != first

    def test_an_answer_whose_receipt_was_lost_is_stored_once(self, label, browsing):
        browsing.expect("Failed to load|request failed|ERR_FAILED")
        dropped = []

        def deliver_and_drop(route):
            if dropped:
                route.continue_()
                return
            dropped.append(route.fetch().status)
            route.abort()

        label.route("**/label/submit", deliver_and_drop)
        press(label, "Digit2")
        saved(label)
        assert dropped == [200]
        assert Annotation.objects.count() == 1

    def test_signing_in_again_sends_what_waited(self, label, ann, project, browsing):
        browsing.expect("401")
        first = item(label)
        Session.objects.all().delete()
        press(label, "Digit2")
        expect(label.locator("#unsaved")).to_contain_text("signed out", timeout=2_000)
        expect(label.locator("#unsaved a")).to_have_attribute("href", re.compile(r"/sign-in\?next=/p/.*/label/"))
        sign_in(label, ann)
        label.on("dialog", lambda dialog: dialog.accept())
        open_screen(label, project)
        saved(label)
        assert stored() == {first: "no"}

    def test_signing_in_in_another_window_is_seen_at_once(self, label, ann, browsing):
        browsing.expect("401")
        holds(label, 3)
        Session.objects.all().delete()
        for _ in range(2):
            press(label, "Digit2")
        label.keyboard.press("Digit2")
        expect(label.locator("#unsaved")).to_contain_text("signed out", timeout=2_000)
        assert label.get_by_role("link", name="Sign in").count() == 1
        label.wait_for_timeout(6_000)  # by now it asks rarely
        sign_in(label, ann)
        label.evaluate("window.dispatchEvent(new Event('focus'))")
        expect(label.locator("#unsaved")).to_be_hidden(timeout=2_000)
        assert list(stored().values()) == ["no"] * 3

    def test_somebody_elses_session_never_gets_it(self, label, project, browsing):
        browsing.expect("401|409")
        Session.objects.all().delete()
        press(label, "Digit2")
        sign_in(label, make_member(project, "Ben"))
        label.evaluate("window.dispatchEvent(new Event('online'))")
        expect(label.locator("#unsaved")).to_contain_text("Somebody else", timeout=5_000)
        label.on("dialog", lambda dialog: dialog.accept())
        open_screen(label, project)
        label.wait_for_timeout(500)
        assert not Annotation.objects.exists()

    def test_a_late_answer_is_listed(self, label):
        Lease.objects.update(ended_at=timezone.now(), outcome="expired")
        press(label, "Digit1")
        expect(label.locator("#refused")).to_contain_text("no longer held for you: your answer is kept, but not")
        expect(label.locator("#refused")).to_contain_text("yes")
        label.locator("#refused button").click()
        expect(label.locator("#refused")).to_be_hidden()

    def test_a_refused_answer_is_listed_with_its_reason(self, label, project, browsing):
        browsing.expect("409")
        press(label, "Digit1")
        saved(label)
        press(label, "u")
        project.rounds.update(state="closed", closed_at=timezone.now())
        label.keyboard.press("Digit2")
        expect(label.locator("#refused")).to_contain_text("closed")

    def test_after_the_round_nothing_is_offered_to_change(self, label, project):
        press(label, "Digit1")
        saved(label)
        close(project.rounds.get(), owner_of(project))
        label.keyboard.press("u")
        expect(label.locator("#notice")).to_contain_text("The answers of a closed round stand")
        expect(label.locator("#viewing")).to_be_hidden()
        expect(label.locator("#last")).to_be_hidden()

    def test_who_was_removed_answers_no_more(self, label, ann, project, browsing):
        browsing.expect("404")
        press(label, "Digit1")
        saved(label)
        members.remove(project=project, person=ann.public_id, by=owner_of(project))
        label.keyboard.press("Digit2")
        expect(label.locator("#empty")).to_have_text("You are no longer in this project.")
        expect(label.locator("#unsaved")).to_contain_text("What was not sent stays in this browser")
        expect(label.locator("#last")).to_be_hidden()
        for key in ("Digit1", "u", "w"):
            label.keyboard.press(key)
        expect(label.locator("#viewing")).to_be_hidden()
        assert label.evaluate("Object.keys(localStorage).filter((key) => key.includes('.answer.')).length") == 1
        assert Annotation.objects.count() == 1

    def test_who_was_demoted_answers_no_more(self, label, ann, project, browsing):
        browsing.expect("403")
        press(label, "Digit1")
        saved(label)
        owner = owner_of(project)
        members.set_member(project=project, person=ann.public_id, role="viewer", is_trusted=False, by=owner)
        label.keyboard.press("Digit2")
        expect(label.locator("#empty")).to_contain_text("You no longer answer questions in this project.")
        expect(label.locator("#unsaved")).to_contain_text("What was not sent stays in this browser")
        expect(label.locator("#refused")).to_be_hidden()
        for key in ("Digit1", "u", "w"):
            label.keyboard.press(key)
        expect(label.locator("#viewing")).to_be_hidden()
        assert label.evaluate("Object.keys(localStorage).filter((key) => key.includes('.answer.')).length") == 1
        assert Annotation.objects.count() == 1

    def test_a_draft_comes_back(self, label, project):
        label.keyboard.press("Shift+Digit3")
        label.keyboard.press("c")
        label.keyboard.type("half a thought")
        with label.expect_response("**/label/draft"):
            pass
        open_screen(label, project)
        expect(label.locator("textarea[name=comment]")).to_have_value("half a thought")
        expect(label.locator("#labels .choice[aria-pressed=true]")).to_have_text(re.compile("maybe"))


class TestSharing:
    def test_two_tabs_show_different_items(self, label, project):
        other = label.context.new_page()
        open_screen(other, project)
        assert item(other) != item(label)
        pressed = {}
        for page in (label, other, label, other, other, label):
            page.bring_to_front()
            ready(page)
            pressed[item(page)] = "yes"
            press(page, "Digit1")
        saved(label)
        assert stored() == pressed
        assert Annotation.objects.filter(is_counted=False).count() == 0

    def test_a_question_taken_over_unseen_disappears(self, label, project):
        holds(label, 3)
        ahead = Lease.objects.filter(shown_at__isnull=True, ended_at__isnull=True).order_by("pk")
        taken = ahead[0].entry.item.content.payload["text"]
        ahead.filter(pk=ahead[0].pk).update(ended_at=timezone.now(), outcome="taken_over")
        with label.expect_response("**/label/next") as response:
            press(label, "Digit1")
        response.value.finished()
        next_frame(label)
        seen = []
        for _ in range(3):
            seen.append(item(label))
            press(label, "Digit1")
        saved(label)
        # Taken over in the very moment it came up, it may be on the screen; then it is kept and said to be late.
        assert taken not in seen[1:]

    def test_an_empty_queue_says_why(self, page_for, ann, project):
        project.rounds.get().queue.update(state="answered")
        page = page_for(ann)
        page.goto(f"/p/{project.slug}/label/")
        expect(page.locator("#empty")).to_contain_text("This round is done")

    def test_the_end_of_a_round_is_reached(self, page_for, browsing):
        project = make_project()
        make_round(project, ["one", "two"])
        page = page_for(owner_of(project))
        open_screen(page, project)
        for _ in range(2):
            ready(page)
            answer(page, "Digit1")
        expect(page.locator("#empty")).to_contain_text("This round is done")
        expect(page.locator("#empty a").first).to_have_text("Close the round")
        assert len(stored()) == 2


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


class TestAfterwards:
    def test_why_and_reveal(self, page_for, transactional_db):
        project = make_project()
        make_round(project, ["one", "two", "three"] * 4, suggestion=SuggestionPolicy.REVEALED, arm=Arm.ACTIVE)
        predict(project)
        page = page_for(owner_of(project))
        open_screen(page, project)
        assert page.locator("#item").get_by_text("suggests").count() == 0
        press(page, "Digit1")
        saved(page)
        page.keyboard.press("w")
        expect(page.locator("#reasons")).to_contain_text("least sure")
        expect(page.locator("#reasons h3")).to_have_text("Why you were asked the last item: “one”")
        page.keyboard.press("r")
        expect(page.locator("#reasons h3")).to_have_text("What the machine says of the last item: “one”")
        expect(page.locator("#reasons")).to_contain_text("maybe")
        press(page, "u")
        expect(page.locator("#last")).to_be_hidden()
        press(page, "Escape")
        expect(page.locator("#last")).to_be_visible()
        expect(page.locator("#last button").first).to_have_text("ChangeU")

    def test_a_notice_goes_with_its_item(self, label):
        press(label, "Digit1")
        saved(label)
        label.keyboard.press("r")
        expect(label.locator("#notice")).to_contain_text("not shown to anybody who labels")
        press(label, "Digit1")
        expect(label.locator("#notice")).to_be_hidden()


class TestWithoutScript:
    def test_it_labels_changes_and_skips(self, page_for, ann, project):
        page = page_for(ann, java_script_enabled=False)
        page.goto(f"/p/{project.slug}/label/")
        page.get_by_role("button", name="Start").click()
        first = item(page)
        page.get_by_role("button", name="yes").click()
        assert item(page) != first
        page.locator("#last a").click()
        assert item(page) == first
        page.get_by_role("button", name="no", exact=True).click()
        page.locator("#skip summary").click()
        second = item(page)
        page.get_by_role("button", name="Not my area").click()
        assert stored() == {first: "no", second: "not_my_area"}


class TestForEverybody:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [320, 1280])
    def test_it_passes_axe_and_fits(self, page_for, ann, project, axe, width, scheme):
        projects.set_guidelines(project=project, markdown="Read it.", by=owner_of(project))
        options = {"viewport": {"width": width, "height": 700}, "color_scheme": scheme, "reduced_motion": "reduce"}
        page = page_for(ann, bypass_csp=True, **options)
        open_screen(page, project)
        press(page, "Digit1")
        saved(page)
        page.keyboard.press("s")
        settled(page)
        page.evaluate(axe)
        found = within(page, "() => axe.run()", seconds=60)["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_the_next_item_is_announced_without_its_text(self, label):
        press(label, "Digit1")
        expect(label.locator("#announcer")).to_have_text("Item, 59 left")

    def test_a_long_text_leaves_the_answers_in_reach(self, page_for, transactional_db):
        project = make_project()
        make_round(project, ["word " * 39_999] * 5)
        page = page_for(owner_of(project), viewport={"width": 360, "height": 700})
        open_screen(page, project)
        page.mouse.move(180, 200)
        page.mouse.wheel(0, 3_000)
        expect(page.locator("#labels .choice").first).to_be_in_viewport()
        press(page, "Digit1")
        assert page.evaluate("window.scrollY") == 0


def sign_in(page, user):
    from benchmarks.site import session_cookie

    page.context.add_cookies([{"name": "sessionid", "value": session_cookie(user), "url": page.url}])


def test_shown_is_marked(label):
    holds(label, 3)
    wait_until(lambda: Lease.objects.filter(shown_at__isnull=False).count() == 1)
    assert leases.PLENTY  # buffers shrink near the end; three are held here
    assert Lease.objects.count() == 3
