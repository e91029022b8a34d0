"""Items that need a look: every text as it is, harmless; nothing that sways who may still be asked."""

import csv
import io
import json
import re

import pytest
from django.urls import reverse

from annotate.models.project import Arm, Role
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_export, make_items, make_round, make_run, make_silver, make_version
from tests.web.items.rows import EVIL, get, make_annotation, make_import

pytestmark = pytest.mark.django_db


class TestSkipped:
    def test_it_counts_reasons_and_people_and_shows_the_text(self, signed_in):
        project = make_project()
        first, second = make_items(project, 2, texts=[EVIL, "plain"])
        ann = make_member(project)
        make_annotation(project, first, ann, skip_reason="unclear")
        make_annotation(project, second, ann, skip_reason="bad_data")
        body = get(signed_in(owner_of(project)), project, "items-skipped").content.decode()
        assert "&lt;script&gt;alert" in body
        assert "<script>alert" not in body
        assert "Broken or empty text" in body
        assert "Ann" in body

    def test_one_reason_can_be_chosen(self, signed_in):
        project = make_project()
        first, second = make_items(project, 2, texts=["first text", "second text"])
        make_annotation(project, first, skip_reason="unclear")
        make_annotation(project, second, skip_reason="technical")
        body = get(signed_in(owner_of(project)), project, "items-skipped", "?reason=technical").content.decode()
        assert "second text" in body
        assert "first text" not in body

    def test_an_unknown_reason_is_all_of_them(self, signed_in):
        project = make_project()
        make_annotation(project, make_items(project, 1, texts=["first text"])[0], skip_reason="unclear")
        body = get(signed_in(owner_of(project)), project, "items-skipped", "?reason=%3Cb%3E").content.decode()
        assert "first text" in body

    def test_neither_machines_nor_metadata_speak(self, signed_in):
        project = make_project(labels=("yes", "machine-said-this"))
        items = make_items(project, 1)
        prompt = make_silver(project, items)
        prompt.predictions.update(label_index=1)
        make_annotation(project, items[0], skip_reason="unclear")
        body = get(signed_in(owner_of(project)), project, "items-skipped").content.decode()
        assert "machine-said-this" not in body
        assert "metadata" not in body

    def test_a_long_text_is_cut_with_the_whole_behind(self, signed_in):
        project = make_project()
        make_annotation(project, make_items(project, 1, texts=["a" * 299 + "bc"])[0], skip_reason="unclear")
        body = get(signed_in(owner_of(project)), project, "items-skipped").content.decode()
        assert "a" * 299 + "b…" in body
        assert "a" * 299 + "bc</p></details>" in body

    def test_another_projects_skips_stay_there(self, signed_in):
        project, other = make_project(), make_project()
        make_annotation(other, make_items(other, 1, texts=["theirs alone"])[0], skip_reason="unclear")
        assert "theirs alone" not in get(signed_in(owner_of(project)), project, "items-skipped").content.decode()

    def test_its_queries_are_bounded(self, signed_in, django_assert_max_num_queries):
        project = make_project()
        for item in make_items(project, 60):
            make_annotation(project, item, skip_reason="unclear")
        client = signed_in(owner_of(project))
        with django_assert_max_num_queries(8):
            get(client, project, "items-skipped")


class TestFlagged:
    def test_it_shows_comments_without_the_answer(self, signed_in):
        project = make_project(labels=("yes", "no"))
        first, second, third = make_items(project, 3, texts=["flagged text", "noted text", "quiet text"])
        make_annotation(project, first, is_flagged=True)
        make_annotation(project, second, comment=EVIL)
        make_annotation(project, third)
        body = get(signed_in(owner_of(project)), project, "items-flagged").content.decode()
        assert "flagged text" in body
        assert "noted text" in body
        assert "quiet text" not in body
        assert "&lt;script&gt;alert" in body
        assert ">yes<" not in body

    def test_an_earlier_revision_is_not_shown(self, signed_in):
        project = make_project()
        make_annotation(project, make_items(project, 1, texts=["old text"])[0], is_flagged=True, is_current=False)
        assert "old text" not in get(signed_in(owner_of(project)), project, "items-flagged").content.decode()


class TestCommentsOnOpenQuestions:
    """They often say which label: who may still be asked must not read them."""

    @pytest.mark.parametrize("name", ["items-skipped", "items-flagged"])
    @pytest.mark.parametrize(
        ("role", "is_shown"), [(Role.OWNER, True), (Role.ADMIN, True), (Role.VIEWER, True), (Role.REVIEWER, False)]
    )
    def test_they_are_for_who_is_not_asked(self, signed_in, name, role, is_shown):
        project = make_project()
        asked, closed = make_items(project, 2, texts=["asked text", "closed text"])
        make_round(project, [asked, closed], is_closed=True)
        make_round(project, [asked], index=2, arm=Arm.CONFLICT)
        for item in (asked, closed):
            make_annotation(project, item, skip_reason="unclear", comment=f"surely yes {item.pk}.")
        who = owner_of(project) if role == Role.OWNER else make_member(project, role=role)
        body = get(signed_in(who), project, name).content.decode()
        assert (f"surely yes {asked.pk}." in body) == is_shown
        assert ("shown once the round is closed" in body) != is_shown
        assert f"surely yes {closed.pk}." in body
        assert "asked text" in body


class TestAnExport:
    """It holds a machine label of every item: what it shows at once is nothing that its reader may be asked."""

    @pytest.mark.parametrize(("role", "is_shown"), [(Role.ADMIN, False), (Role.VIEWER, True)])
    def test_its_first_rows_leave_out_open_questions(self, signed_in, settings, tmp_path, role, is_shown):
        settings.VAR_DIR = tmp_path
        folder = tmp_path / "exports" / "one"
        folder.mkdir(parents=True)
        project = make_project()
        items = make_items(project, 7)
        make_round(project, items[:1], arm=Arm.ACTIVE)
        rows = [{"id": item.public_id, "payload": {"text": f"row {place}."}} for place, item in enumerate(items)]
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        file = {"name": "data.jsonl", "bytes": 1, "sha256": "0"}
        run = make_run(project, kind="export")
        make_export(make_version(project), run=run, folder="exports/one", files=[file])
        body = get(signed_in(make_member(project, role=role)), project, "exports-list").content.decode()
        assert ("row 0." in body) == is_shown
        assert ("row 5." in body) != is_shown
        assert len(re.findall(r"row \d\.", body)) == 5
        assert ("had the file" in body) != is_shown


class TestQuarantined:
    def test_it_shows_line_reason_and_excerpt(self, signed_in):
        project = make_project()
        make_import(project, [EVIL])
        body = get(signed_in(owner_of(project)), project, "items-quarantined").content.decode()
        assert "has no &quot;text&quot;" in body
        assert "&lt;script&gt;alert" in body

    def test_pages_go_on_after_the_last_line(self, signed_in):
        project = make_project()
        make_import(project, [f"row-{line}." for line in range(1, 61)])
        client = signed_in(owner_of(project))
        body = get(client, project, "items-quarantined").content.decode()
        assert "row-50." in body
        assert "row-51." not in body
        assert "after=50" in body
        assert "row-51." in get(client, project, "items-quarantined", "?import=1&after=50").content.decode()

    def test_duplicates_are_not_in_quarantine(self, signed_in):
        project = make_project()
        make_import(project, ["a duplicate row"], kind="duplicate")
        assert "a duplicate row" not in get(signed_in(owner_of(project)), project, "items-quarantined").content.decode()

    @pytest.mark.parametrize("number", ["2", "0", "x", "-1", "1' OR 1"])
    def test_an_import_that_is_not_the_projects_is_not_there(self, signed_in, number):
        project = make_project()
        make_import(project, ["mine"])
        make_import(make_project(), ["theirs"])
        client = signed_in(owner_of(project))
        assert client.get(reverse("items-quarantined", args=[project.slug]), {"import": number}).status_code == 404

    @pytest.mark.parametrize("after", ["x", "-5", "9" * 5000, "²"])
    def test_a_forged_line_starts_at_the_first(self, signed_in, after):
        project = make_project()
        make_import(project, ["the first row"])
        client = signed_in(owner_of(project))
        body = client.get(reverse("items-quarantined", args=[project.slug]), {"after": after}).content.decode()
        assert "the first row" in body

    def test_as_csv_nothing_can_run_as_a_formula(self, signed_in):
        project = make_project()
        make_import(project, ["=HYPERLINK(1)", "fine"])
        response = get(signed_in(owner_of(project)), project, "items-quarantined", "?import=1&format=csv")
        assert response["Content-Disposition"].startswith("attachment")
        rows = list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert [row[3] for row in rows] == ["excerpt", "'=HYPERLINK(1)", "fine"]
