"""Sending a file with a real browser and a real server, with scripts and without."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Browsing, prepared

ROWS = b"uid;Review\n1;a good line\n2;another good line\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Any]]]:
    with prepared(tmp_path_factory.mktemp("site"), "uploads") as found:
        yield found


@pytest.mark.parametrize(("project", "has_scripts"), [("one", True), ("another", False)])
def test_a_file_is_sent_looked_at_and_imported(site, browsing: Browsing, project, has_scripts):
    server, made = site
    page = browsing.open(server.url, made["sessions"]["olga"], java_script_enabled=has_scripts)
    page.goto(f"/p/{project}/import/")
    page.get_by_label("A file with items").set_input_files(
        {"name": "réviews.csv", "mimeType": "text/csv", "buffer": ROWS * 20_000 if has_scripts else ROWS}
    )
    page.get_by_role("button", name="Send and look at it").click()
    assert page.get_by_role("heading", level=1).inner_text() == "réviews.csv"
    assert page.get_by_label("Delimiter").input_value() == "semicolon"
    page.locator("select[name=column_id]").select_option("")
    page.get_by_role("button", name="Show again").click()
    page.get_by_role("button", name="Import").click()
    page.wait_for_url(f"**/p/{project}/import/")
    assert page.locator("section[id^=run-]").get_by_role("link", name="Import").is_visible()


LABELED = b"text\tlabel\n" + b"\n".join(b"text %d\t%s" % (n, (b"yes", b"no")[n % 2]) for n in range(3_000)) + b"\n"


def test_a_question_answered_shows_the_preview_again_and_the_whole_file_is_counted(site, browsing: Browsing):
    server, made = site
    page = browsing.open(server.url, made["sessions"]["olga"])
    page.goto("/p/one/import/")
    page.get_by_label("A file with items").set_input_files(
        {"name": "labels.tsv", "mimeType": "text/tab-separated-values", "buffer": LABELED}
    )
    page.get_by_role("button", name="Send and look at it").click()
    waiting = page.get_by_text("Before it can be imported: say above what the labels are.")
    waiting.wait_for()
    page.get_by_role("radio", name="Gold: given by people I trust").check()
    page.get_by_role("button", name="Read and import all 3,000 rows").wait_for()
    assert not waiting.is_visible() and "meaning_0=gold" in page.url
    page.get_by_label("Double quotes").select_option("off")
    page.wait_for_url("**quoting=off**")
    assert page.get_by_role("radio", name="Gold: given by people I trust").is_checked()
    page.get_by_role("button", name="Count the whole file first").click()
    page.get_by_text("Rows: 3,000. Of them 3,000 would be new items").wait_for(timeout=60_000)
    assert page.get_by_role("radio", name="Gold: given by people I trust").is_checked()
