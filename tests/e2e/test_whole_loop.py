"""The main job as people do it: real server, real worker, real encoder, real Chromium. From a sign-in to a dataset.

Every run has the longer story of test_site_of_an_admin.py, in which two people do the same between other things.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from benchmarks.site import Site
from tests.e2e.conftest import Browsing, prepared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RUN_MS = 120_000  # a worker starts a process for each run and loads the model there
READY = "#labeling[data-ready]:not([data-ready=''])"

# What the dataset must say of every item, straight from the tables.
ROWS = """
SELECT item.external_id, json_extract(content.payload, '$.text'), gold_label.name, silver_label.name, item.fold,
  (SELECT count(*) FROM annotate_annotation said WHERE said.item_id = item.id
     AND said.is_current AND said.is_counted AND said.label_id IS NOT NULL),
  (SELECT group_concat(public_id, ' ') FROM (SELECT person.public_id FROM annotate_annotation said
     JOIN annotate_user person ON person.id = said.annotator_id WHERE said.item_id = item.id
     AND said.is_current AND said.is_counted AND said.label_id IS NOT NULL ORDER BY 1))
FROM annotate_item item
JOIN annotate_project project ON project.id = item.project_id AND project.slug = ?
JOIN annotate_itempayload content ON content.item_id = item.id
LEFT JOIN annotate_gold gold ON gold.item_id = item.id AND gold.is_current
LEFT JOIN annotate_label gold_label ON gold_label.id = gold.label_id
LEFT JOIN annotate_prediction said ON said.item_id = item.id
LEFT JOIN annotate_labelschema schema ON schema.project_id = project.id
LEFT JOIN annotate_label silver_label ON silver_label.schema_id = schema.id AND silver_label."index" = said.label_index
WHERE item.withdrawn_at IS NULL ORDER BY item.ordinal
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, Any]]]:
    with prepared(tmp_path_factory.mktemp("site"), "loop") as found:
        yield found


@pytest.fixture
def truth(site: tuple[Site, dict[str, Any]]) -> dict[str, str]:
    """The right label of each text."""
    return dict(site[1]["truth"])


def sign_in(browsing: Browsing, site: tuple[Site, dict[str, Any]], name: str) -> Page:
    """Through the form, by keyboard."""
    server, made = site
    page = browsing.open(server.url)
    page.goto("/")
    expect(page).to_have_title(re.compile("Sign in"))
    page.get_by_label("E-mail").focus()
    page.keyboard.type(f"{name}@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type(made["password"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Alone").first).to_be_visible()
    return page


def begin(page: Page, slug: str) -> None:
    page.goto(f"/p/{slug}/label/")
    page.wait_for_selector(READY)


def label_one(page: Page, truth: dict[str, str]) -> None:
    """The right answer to what is on the screen: its digit, or for later labels the filter and Enter."""
    page.wait_for_selector(READY)  # painted, and not "the next item is on its way"
    name = truth[page.locator("#item .item-text").inner_text()]
    before = page.get_attribute("#labeling", "data-ready")
    key = page.locator("#labels .choice", has_text=re.compile(f"{re.escape(name)}$")).get_attribute("data-key")
    if key:
        page.keyboard.press(f"Digit{key}")
    else:
        page.keyboard.press("/")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
    page.wait_for_function("(before) => document.querySelector('#labeling').dataset.ready !== before", arg=before)


def at_the_end(page: Page) -> None:
    """Nothing is left to answer, and all answers have arrived."""
    expect(page.locator("#empty")).to_be_visible()
    page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('goldloop.answer.'))")


def do(page: Page, slug: str, words: str, said: str) -> None:
    """Start something from the overview and wait until the worker has done it."""
    page.goto(f"/p/{slug}/")
    button = page.get_by_role("button", name=words, exact=True)
    if not button.is_visible():
        page.get_by_text("What else is possible now").click()
    button.click()
    expect(page.locator("main")).to_contain_text(re.compile(said), timeout=RUN_MS)


def close_train_export(page: Page, slug: str, folder: Path) -> list[dict[str, Any]]:
    """By the buttons of the pages; returns the rows of the downloaded dataset."""
    do(page, slug, "Close the round", "Round 1 brought .* gold labels")
    do(page, slug, "Train", "Model 1, from .* gold labels, is in use")
    page.goto(f"/p/{slug}/exports")
    page.get_by_role("button", name="Export", exact=True).click()
    link = page.get_by_role("link", name=re.compile(r"\.jsonl$"))
    expect(link).to_be_visible(timeout=RUN_MS)
    with page.expect_download() as download:
        link.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def database_rows(site: Site, slug: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(site.database) as connection:
        return connection.execute(ROWS, [slug]).fetchall()


def exported(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            row["external_id"],
            row["payload"]["text"],
            row["label"] if row["label_source"] == "gold" else None,
            row["silver_label"],
            row["fold"],
            row["n_annotations"],
            " ".join(row["annotators"]) or None,
        )
        for row in rows
    ]


def check(site: Site, slug: str, rows: list[dict[str, Any]], *, n_answers: int, n_people: int) -> None:
    """The dataset is the database, the answers are right, and every invariant holds."""
    stored = database_rows(site, slug)
    assert exported(rows) == stored
    assert len(rows) == 70
    assert sum(row["n_annotations"] for row in rows) == n_answers
    assert all(row["n_annotations"] in (0, n_people) for row in rows)
    assert "everything that was checked holds" in site.manage("verify", slug)


class TestAlone:
    def test_from_the_sign_in_to_the_dataset_by_keyboard(self, browsing, site, truth, tmp_path):
        ann = sign_in(browsing, site, "ann")
        begin(ann, "alone")
        for _ in range(30):
            label_one(ann, truth)
        at_the_end(ann)
        rows = close_train_export(sign_in(browsing, site, "olga"), "alone", tmp_path)
        check(site[0], "alone", rows, n_answers=30, n_people=1)
        gold = {row["payload"]["text"]: row["label"] for row in rows if row["label_source"] == "gold"}
        assert len(gold) == 30
        assert gold == {text: truth[text] for text in gold}


class TestTogether:
    def test_two_people_at_once_answer_every_question_once_each(self, browsing, site, truth, tmp_path):
        people = [sign_in(browsing, site, name) for name in ("ann", "ben")]
        for page in people:
            begin(page, "together")
        for _ in range(30):
            for page in people:
                label_one(page, truth)
        for page in people:
            at_the_end(page)
        rows = close_train_export(sign_in(browsing, site, "olga"), "together", tmp_path)
        check(site[0], "together", rows, n_answers=60, n_people=2)
        assert {len(row["annotators"]) for row in rows if row["n_annotations"]} == {2}
