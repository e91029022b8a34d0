"""An empty site becomes a dataset, by browser alone: real server, worker and encoder, an LLM server with a bill.

What an admin lives through, in its order: a connection is registered, tested and lent; a project is made; a file as
spreadsheets write it is looked at and imported; a pre-label stops at its cap and goes on; two people answer at once,
a third decides where they differ; and what is downloaded at the end says what the tables say.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.site import Site
from tests import databases
from tests.e2e.conftest import Browsing, chromium_path
from tests.e2e.prepare import PASSWORD
from tests.e2e.sheet import LABELS, spreadsheet
from tests.e2e.story import N_ASKED, Story, check_dataset
from tests.e2e.test_whole_loop import RUN_MS, at_the_end, begin, close_train_export, label_one
from tests.stub_llm import stub_llm

pytestmark = pytest.mark.timeout(900)  # it waits for a worker five times
SLUG = "card-questions"
KEY = "sk-story-0123456789"
PRICE_IN, PRICE_OUT = 2_500_000, 10_000_000  # micro-units per million tokens
CAP, RAISED = "0.03", "0.5"  # all items cost about twice the first, reservations included; the second is plenty
GUIDELINES = "# How to decide\n\nChoose what the customer **wants to know**, not what else is mentioned.\n"
N_AUDIT = 8
DIFFER = (2, 9, 17)  # which of his questions Ben answers otherwise


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A database with tables and one person in it, who owns the site; nothing else."""
    site = Site(tmp_path_factory.mktemp("site"))
    if chromium_path() is None:  # the test is left out: no need to work for it
        yield site
        return
    databases.copy_to(site.database)
    words = ("create_user", "olga@example.org", "--name", "Olga", "--site-owner")
    site.environment["PASSWORD"] = PASSWORD
    site.manage(*words)
    del site.environment["PASSWORD"]
    with site.served():
        yield site


@pytest.fixture
def story(site: Site, browsing: Browsing, tmp_path: Path) -> Iterator[Story]:
    sheet = spreadsheet()
    prices = {"input_price": PRICE_IN, "output_price": PRICE_OUT}
    with stub_llm(accuracy=0.8, truth=sheet.texts, key=KEY, **prices) as stub:
        yield Story(site, browsing, stub, sheet, tmp_path)


def test_from_an_empty_site_to_a_dataset(story: Story) -> None:
    olga = sign_in(story)
    register_connection(olga, story)
    make_project(olga)
    import_sheet(olga, story)
    set_rules(olga)
    lend_and_choose(olga)
    prelabel_to_the_cap(olga, story)
    raise_and_resume(olga, story)
    invite(olga, story)
    draw(olga)
    differ = answer(join(story, "ann", "ben"), story)
    decide(join(story, "ravi")["ravi"], story, differ)  # later: a reviewer, too, arrives where questions are given out
    rows = close_train_export(olga, SLUG, story.folder)
    check_dataset(rows, story, differ)
    check_quarantine(olga, story)
    assert "everything that was checked holds" in story.site.manage("verify", SLUG, *exported_manifest(story))


def sign_in(story: Story) -> Page:
    page = story.browsing.open(story.url)
    page.goto("/")
    page.get_by_label("E-mail").fill("olga@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("You belong to no project yet.")).to_be_visible()
    return page


def register_connection(page: Page, story: Story) -> None:
    """At an address of this machine, which has to be allowed; then tested."""
    open_connections(page)
    page.get_by_role("link", name="Register a connection").click()
    page.get_by_label("Name", exact=True).fill("Our own server")
    page.get_by_label("Base URL").fill(story.stub.base_url)
    page.get_by_label("May lie at a private address").check()
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_label("Model", exact=True).fill("stub-1")
    page.get_by_label("Price of a million input tokens").fill("2.5")
    page.get_by_label("Price of a million output tokens").fill("10")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_text("Our own server is registered.")).to_be_visible()
    page.get_by_role("button", name="Test the connection").click()
    expect(page.get_by_text("The model answers in", exact=False)).to_be_visible()
    assert KEY not in page.content()
    assert story.stub.authorizations == {f"Bearer {KEY}"}
    story.stub.reset()  # the site paid for that, not the project


def open_connections(page: Page) -> None:
    page.locator("header").get_by_text("Olga", exact=True).click()
    page.get_by_role("link", name="LLM connections").click()
    expect(page.get_by_role("heading", name="LLM connections")).to_be_visible()


def make_project(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name", exact=True).press_sequentially("Card questions")
    expect(page.get_by_label("Short name")).to_have_value(SLUG)
    page.get_by_label("Labels").fill("\n".join(LABELS))
    page.get_by_label("Guidelines, in Markdown").fill(GUIDELINES)
    page.get_by_label("Audit sample").fill(str(N_AUDIT))
    page.get_by_role("button", name="Make the project").click()
    expect(page.get_by_text("The project is made.")).to_be_visible()
    for number, meaning in enumerate(LABELS.values(), start=1):
        page.get_by_role("group", name=f"Label {number}").get_by_label("What it means").fill(meaning)
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_text("saved as version 2")).to_be_visible()


def import_sheet(page: Page, story: Story) -> None:
    """Looked at before anything of it is stored, then taken as it was shown."""
    path = story.folder / "export of May.csv"
    path.write_bytes(story.sheet.content)
    n_new, line = len(story.sheet.texts), str(story.sheet.bad_line)
    open_tab(page, "Overview")
    page.get_by_role("link", name="Import items").click()
    page.get_by_label("A file with items").set_input_files(path)
    page.get_by_role("button", name="Send and look at it").click()
    expect(page.get_by_role("heading", name=path.name)).to_be_visible()
    what, outcome = (page.get_by_role("region", name=name) for name in ("What this file is", "What an import would"))
    for part, words in (
        (what, ("Semicolon", "UTF-8", f"{n_new + 2} rows")),
        (outcome, (f"{n_new} new items", "1 duplicate", "1 row that cannot be used")),
        (page.get_by_role("region", name="Rows that would be set aside").first, (line, "has 2 cells", "row-torn")),
        (page.get_by_role("region", name="The first new items").first, ("row-000", "channel", "mail; forwarded")),
    ):
        for one in words:
            expect(part).to_contain_text(one)
    assert story.number("SELECT count(*) FROM annotate_item") == 0
    page.get_by_role("button", name=f"Import {n_new + 2} rows").click()
    said = f"{n_new} new items; brought back: 0, duplicates: 1, rows set aside: 1."
    expect(page.locator("main")).to_contain_text(said, timeout=RUN_MS)


def set_rules(page: Page) -> None:
    open_tab(page, "Settings")
    page.get_by_label("What makes an answer gold").select_option("What several people agree on")
    page.get_by_label("People per question").fill("2")
    page.get_by_label("How many must agree").fill("2")
    page.get_by_role("button", name="Save the settings").click()
    expect(page.get_by_text("The settings are saved.")).to_be_visible()


def lend_and_choose(page: Page) -> None:
    """The owner of the site lends it, the owner of the project chooses it: here the same person, on two pages."""
    open_connections(page)
    page.get_by_role("link", name="Our own server").click()
    page.get_by_label("Card questions").check()
    page.get_by_role("button", name="Save who may ask it").click()
    expect(page.get_by_text("Our own server is lent to 1 project.")).to_be_visible()
    page.goto(f"/p/{SLUG}/")
    open_tab(page, "Pre-label")
    page.get_by_role("radio", name="Our own server").check()
    page.get_by_role("button", name="Ask this one").click()
    expect(page.get_by_text("From now on Our own server is asked.")).to_be_visible()
    expect(page.get_by_role("button", name="Pre-label", exact=True)).to_be_disabled()  # no cap, no money


def prelabel_to_the_cap(page: Page, story: Story) -> None:
    set_cap(page, CAP)
    open_tab(page, "Pre-label")
    expect(page.get_by_text("the run will pause at the cap")).to_be_visible()
    page.get_by_role("button", name="Pre-label", exact=True).click()
    run = page.get_by_role("region", name="Pre-labeling")
    expect(run).to_contain_text(f"The cap of {CAP} USD for machines is reached", timeout=RUN_MS)
    expect(run).to_contain_text("paused")
    n_answered, n_all = story.number("SELECT count(*) FROM annotate_prediction"), len(story.sheet.texts)
    assert n_all // 4 < n_answered < 3 * n_all // 4
    expect(page.get_by_text(f"{n_all - n_answered} of {n_all} items have no answer yet.")).to_be_visible()
    assert story.stub.bill().micros == spent(story) <= float(CAP) * 1_000_000


def raise_and_resume(page: Page, story: Story) -> None:
    set_cap(page, RAISED)
    open_tab(page, "Pre-label")
    expect(page.get_by_role("region", name="Pre-labeling")).to_contain_text("paused")  # until somebody resumes it
    page.get_by_role("button", name="Resume").click()
    n_all = len(story.sheet.texts)
    expect(page.locator("main")).to_contain_text(f"{n_all} items have a machine's answer", timeout=RUN_MS)
    bill = story.stub.bill()
    assert bill.micros == spent(story) <= float(RAISED) * 1_000_000
    assert len(bill.charged_items) == n_all and set(bill.charged_items.values()) == {1}  # nothing was paid twice
    open_tab(page, "Pre-label")
    expect(page.get_by_text(f"Prompt version 1: {n_all} items with a valid answer, 0 without.")).to_be_visible()


def set_cap(page: Page, cap: str) -> None:
    open_tab(page, "Budget")
    machines = page.get_by_role("region", name="Machines")
    machines.get_by_label("Cap in USD").fill(cap)
    machines.get_by_role("button", name="Set the cap").click()
    expect(page.get_by_text(f"Machines: the cap is {float(cap):.2f} USD now.")).to_be_visible()


def spent(story: Story) -> int:
    """What the ledger says in the end of every attempt; nothing is left open."""
    assert not story.number("SELECT count(*) FROM annotate_ledgerentry WHERE state = 'reserved'")
    return story.number("SELECT sum(final_micros) FROM annotate_ledgerentry")


def open_tab(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_role("navigation", name="Project").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def invite(page: Page, story: Story) -> None:
    open_tab(page, "People")
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("ravi", "reviewer")):
        page.get_by_label("Role", exact=True).select_option(role)
        page.get_by_role("button", name="Make a link").click()
        expect(page.get_by_role("heading", name="The link is made")).to_be_visible()
        story.links[name] = page.get_by_label("Invitation link").input_value()
    assert len(set(story.links.values())) == 3


def draw(page: Page) -> None:
    open_tab(page, "Overview")
    page.get_by_label("Questions", exact=True).fill(str(N_ASKED))
    page.get_by_role("button", name="Draw a round").click()
    expect(page.locator("main")).to_contain_text(f"Round 1 has {N_ASKED} questions.", timeout=RUN_MS)


def join(story: Story, *names: str) -> dict[str, Page]:
    """Each in a browser of their own; they send their forms before any of them has an answer."""
    pages = {name: story.browsing.open(story.url) for name in names}
    for name, page in pages.items():
        page.goto(story.links[name])
        page.get_by_label("Your name").fill(name.capitalize())
        page.get_by_label("E-mail address").fill(f"{name}@example.org")
        page.get_by_label("Choose a password").fill(PASSWORD)
    for page in pages.values():
        page.get_by_role("button", name="Make an account and join").click(no_wait_after=True)
    for page in pages.values():
        expect(page.get_by_role("navigation", name="Project")).to_be_visible()
    return pages


def answer(people: dict[str, Page], story: Story) -> set[str]:
    """Both at once and by keyboard; returns the texts on which they differ."""
    right = story.sheet.texts
    names = list(LABELS)
    wrong = {text: names[(names.index(name) + 1) % len(names)] for text, name in right.items()}
    for name in ("ann", "ben"):
        begin(people[name], SLUG)
    differ = set()
    for number in range(N_ASKED):
        label_one(people["ann"], right)
        if number in DIFFER:
            differ.add(people["ben"].locator("#item .item-text").inner_text())
        label_one(people["ben"], wrong if number in DIFFER else right)
    for name in ("ann", "ben"):
        at_the_end(people[name])
    assert len(differ) == len(DIFFER)
    return differ


def decide(page: Page, story: Story, differ: set[str]) -> None:
    """The reviewer, by keyboard: a digit, the reason, Enter, and the next is there."""
    open_tab(page, re.compile("Review"))
    expect(page.get_by_text(f"{len(differ)} questions wait for a decision.")).to_be_visible()
    page.get_by_role("link", name="Begin with the first").press("Enter")
    for _ in differ:
        item = page.get_by_role("article", name="Item")
        expect(page.get_by_role("button", name="Keys")).to_be_visible()  # there with the script that hears keys
        label = story.sheet.texts[item_text(item)]
        page.keyboard.press(f"Digit{list(LABELS).index(label) + 1}")
        expect(page.get_by_label("Why")).to_be_focused()
        before = page.url
        page.keyboard.type(f"It is what they ask: {label}.")
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url, before=before: url != before)
        expect(page.get_by_text(f"Decided: {label}.")).to_be_visible()
    expect(page.get_by_text("No question waits for your decision.")).to_be_visible()


def item_text(item: Locator) -> str:
    return item.locator(".item-text").inner_text()


def check_quarantine(page: Page, story: Story) -> None:
    """The row that could not be used can be read and taken home, with its line and why."""
    open_tab(page, "Import")
    with page.expect_download() as download:
        page.get_by_role("link", name="As CSV").click()
    path = story.folder / download.value.suggested_filename
    download.value.save_as(path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    assert [row["kind"] for row in rows] == ["rejected", "duplicate"]
    assert int(rows[0]["line"]) == story.sheet.bad_line
    assert "has 2 cells where the header has 3" in rows[0]["reason"]
    assert rows[0]["excerpt"].startswith("row-torn")
    page.get_by_role("link", name="Why").click()
    for words in (str(story.sheet.bad_line), rows[0]["reason"], "row-torn"):
        expect(page.get_by_role("region", name="Quarantined rows")).to_contain_text(words)


def exported_manifest(story: Story) -> tuple[str, ...]:
    [manifest] = story.site.folder.rglob(f"{SLUG}-v*.manifest.json")
    return ("--export", str(manifest))
