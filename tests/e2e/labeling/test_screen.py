"""The annotating screen in a real browser: what it shows and says, to everybody, without a script too."""

import pytest
from playwright.sync_api import expect

from annotate import projects
from annotate.labeling import leases
from annotate.models import Lease
from annotate.models.project import Arm, SuggestionPolicy
from tests.e2e.in_page import settled, within
from tests.e2e.labeling.screen import holds, item, open_screen, press, saved, stored
from tests.factories import make_project, owner_of
from tests.waiting import wait_until
from tests.web.labeling.rows import close, make_round
from tests.web.labeling.test_work import predict


class TestAfterwards:
    def test_why_and_reveal_open_when_the_round_closes(self, browsing, page_for, transactional_db):
        browsing.expect("403")  # asked for too early
        project = make_project()
        make_round(project, ["one", "two", "three"] * 4, suggestion=SuggestionPolicy.REVEALED, arm=Arm.ACTIVE)
        predict(project)
        olga = owner_of(project)
        page = page_for(olga)
        open_screen(page, project)
        assert page.locator("#item").get_by_text("suggests").count() == 0
        press(page, "Digit1")
        saved(page)
        expect(page.locator("#last button")).to_have_text("ChangeU")
        for key in ("w", "r"):
            page.keyboard.press(key)
            expect(page.locator("#notice")).to_contain_text("opens when the round closes")
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("Escape")
            expect(page.locator("#notice")).to_be_hidden()
        close(project.rounds.get(), olga)
        page.goto(f"/p/{project.slug}/label/history")
        page.get_by_role("button", name="Why this item?").click()
        expect(page.locator(".past-list")).to_contain_text("least sure")
        page.get_by_role("button", name="What the machine says").click()
        expect(page.locator(".past-list")).to_contain_text("maybe")

    def test_a_notice_goes_with_its_item(self, browsing, label):
        browsing.expect("403")  # asked for too early
        press(label, "Digit1")
        saved(label)
        label.keyboard.press("r")
        expect(label.locator("#notice")).to_contain_text("opens when the round closes")
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
    @pytest.mark.parametrize(
        "width, scheme",
        [
            (320, "dark"),
            (1280, "light"),
            pytest.param(320, "light", marks=pytest.mark.slow),
            pytest.param(1280, "dark", marks=pytest.mark.slow),
        ],
    )
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


def test_shown_is_marked(label):
    holds(label, 3)
    wait_until(lambda: Lease.objects.filter(shown_at__isnull=False).count() == 1)
    assert leases.PLENTY  # buffers shrink near the end; three are held here
    assert Lease.objects.count() == 3
