"""Making a project and writing its guidelines, in a browser: what follows while somebody types."""

from playwright.sync_api import expect

from annotate.models import Project
from tests.factories import make_project, make_user, owner_of


class TestCreate:
    def test_the_short_name_follows_until_it_is_ones_own(self, page_for):
        page = page_for(make_user("Root", is_site_owner=True))
        page.goto("/new")
        page.get_by_label("Name", exact=True).press_sequentially("Briefe für Kunden 1")
        expect(page.get_by_label("Short name")).to_have_value("briefe-fur-kunden-1")
        page.get_by_label("Short name").fill("letters")
        page.get_by_label("Name", exact=True).press_sequentially("23")
        expect(page.get_by_label("Short name")).to_have_value("letters")

    def test_a_project_is_made_by_keyboard(self, page_for):
        page = page_for(make_user("Root", is_site_owner=True))
        page.goto("/new")
        page.get_by_label("Name", exact=True).fill("Letters")
        page.get_by_label("Labels").fill("yes\nno")
        page.get_by_role("button", name="Make the project").press("Enter")
        page.wait_for_url("**/p/letters/settings/labels")
        expect(page.locator("#id_label-0-name")).to_have_value("yes")
        assert Project.objects.get().slug == "letters"


class TestGuidelines:
    def test_the_preview_follows_and_is_harmless(self, page_for):
        project = make_project()
        page = page_for(owner_of(project))
        page.goto(f"/p/{project.slug}/settings/guidelines")
        expect(page.locator("#preview")).to_have_text("Nothing is written yet.")
        page.get_by_label("Guidelines, in Markdown").fill("# Hello\n<script>document.title = 'owned'</script>")
        expect(page.locator("#preview h3")).to_have_text("Hello")
        page.get_by_label("Guidelines, in Markdown").fill("**Bye**")
        expect(page.locator("#preview strong")).to_have_text("Bye")
        assert "owned" not in page.title()
        assert not page.locator("#preview script").count()


class TestLabels:
    def test_a_row_more_is_where_one_writes_on(self, page_for):
        project = make_project()
        page = page_for(owner_of(project))
        page.goto(f"/p/{project.slug}/settings/labels")
        page.get_by_role("button", name="Add a label").click()
        page.wait_for_load_state()
        expect(page.locator("#id_label-3-name")).to_be_focused()
        page.keyboard.type("else")
        page.get_by_role("button", name="Save as a new version").click()
        expect(page.get_by_text("saved as version 2")).to_be_visible()
