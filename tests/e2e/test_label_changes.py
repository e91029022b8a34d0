"""A change of labels lived through in a browser, by keyboard: from the rows over the preview to taking it back."""

import pytest
from playwright.sync_api import Page, expect

from annotate import labels, projects
from annotate.models import Gold, Project
from annotate.models.project import Arm
from tests.e2e.test_pages import DARK, accessibility, keyboard, overflow
from tests.factories import make_project, owner_of
from tests.rows import make_items, make_model, make_silver

NAMES = ("card_arrival", "card_lost", "card_stolen", "refund")


@pytest.fixture
def project(transactional_db) -> Project:
    """Twenty items with machine labels, five gold labels of each name, a model in use."""
    project = make_project(NAMES)
    items = make_items(project, n=20)
    make_silver(project, items)
    make_model(project)
    found = projects.labels_of(projects.current_schema(project))
    for place, item in enumerate(items):
        Gold.objects.create(
            project=project, item=item, label=found[place // 5], rule="imported", origin=Arm.IMPORTED, is_blind=False
        )
    return project


@pytest.fixture
def page(project, page_for) -> Page:
    page = page_for(owner_of(project), reduced_motion="reduce")
    page.goto(f"/p/{project.slug}/settings/labels")
    return page


def press(page: Page, name: str, place: int = 0) -> None:
    """Press the button of this name by keyboard, wherever it is."""
    page.get_by_role("button", name=name).nth(place).press("Enter")


def write(page: Page, row: int, field: str, text: str) -> None:
    box = page.locator(f"#id_label-{row}-{field}")
    box.press("ControlOrMeta+a")
    page.keyboard.type(text)


def names(project: Project) -> list[str]:
    return [label.name for label in projects.labels_of(projects.current_schema(project))]


def read(project: Project) -> list[str | None]:
    """What the gold of the first item of each label reads as now."""
    history = labels.history(projects.current_schema(project))
    found = (history.gold_label(row.label_id) for row in project.gold.order_by("item__ordinal")[::5])
    return [label.name if label else None for label in found]


def test_it_is_added_merged_split_renamed_seen_confirmed_and_taken_back(project, page, browsing, axe):
    browsing.expect("422")  # a definition was edited without saying how
    press(page, "Add a label")
    expect(page.locator("#id_label-4-name")).to_be_focused()
    page.keyboard.type("fraud")
    page.get_by_label("Only those of the labels that are ticked here").press("Space")
    page.get_by_label("card_stolen", exact=True).press("Space")
    press(page, "Split refund")
    expect(page.locator("#id_label-4-name")).to_be_focused()
    page.keyboard.type("refund_late")
    page.get_by_label("Machine labels that said refund read as this part").nth(1).press("Space")
    press(page, "Move fraud up")
    expect(page.get_by_role("button", name="Move fraud up; it is label 5 of 6")).to_be_focused()
    write(page, 3, "name", "refund_wrong")
    write(page, 0, "name", "delivery")
    page.locator("summary", has_text="merge or retire card_lost").press("Enter")
    page.locator("#label-1-becomes").focus()
    page.keyboard.type("card_s")
    write(page, 0, "definition", "when a card comes")
    page.locator("#id_label-0-name").press("Enter")  # the first button of the form: what would change
    expect(page.get_by_role("alert")).to_have_text("What it means was edited: say which of both it is.")
    assert not [*accessibility(page, axe), *overflow(page)]
    page.get_by_label("Only the wording changed").first.press("Space")
    press(page, "See what would change")

    expect(page.get_by_role("heading", level=1)).to_have_text("What would change")
    row = page.get_by_role("row")
    expect(row.filter(has_text="is renamed to delivery")).to_contain_text("5 stay valid")
    expect(row.filter(has_text="is merged into card_stolen")).to_contain_text("5 stay valid")
    expect(page.get_by_role("row", name="card_stolen stays")).to_contain_text("5 become void")
    expect(row.filter(has_text="is split into refund_wrong, refund_late")).to_contain_text("5 become void")
    expect(page.get_by_text("10 gold labels become void")).to_be_visible()
    assert not [*accessibility(page, axe), *overflow(page), *keyboard(page)]
    page.evaluate(DARK)
    assert not accessibility(page, axe, "color-contrast")
    assert project.schemas.count() == 1

    press(page, "Back to the labels")
    expect(page.locator("#id_label-0-name")).to_have_value("delivery")
    press(page, "See what would change")
    press(page, "Change the labels")
    expect(page.get_by_text("The labels are changed: version 2.")).to_be_visible()
    expect(
        page.get_by_text("refund was split into refund_wrong, refund_late; machine labels read as refund_late.")
    ).to_be_visible()
    assert names(project) == ["delivery", "card_stolen", "refund_wrong", "fraud", "refund_late"]
    assert read(project) == ["delivery", "card_stolen", None, None]
    assert not [*accessibility(page, axe), *overflow(page), *keyboard(page)]

    press(page, "Take this change back")
    expect(page.get_by_text("The change is taken back: version 1 is in force.")).to_be_visible()
    assert (names(project), read(project)) == (list(NAMES), list(NAMES))


def test_without_javascript_it_is_the_same(project, page_for):
    page = page_for(owner_of(project), java_script_enabled=False)
    page.goto(f"/p/{project.slug}/settings/labels")
    press(page, "Move refund up")
    expect(page.locator("#id_label-2-name")).to_have_value("refund")
    press(page, "Add a label")
    page.locator("#id_label-4-name").fill("fraud")
    press(page, "See what would change")
    expect(page.get_by_text("20 gold labels become void")).to_be_visible()
    press(page, "Change the labels")
    expect(page.get_by_text("The labels are changed: version 2.")).to_be_visible()
    assert names(project) == ["card_arrival", "card_lost", "refund", "card_stolen", "fraud"]
