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
