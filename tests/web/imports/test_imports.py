"""Imports on their page: listed, started, watched, gone on with or given up, and what was set aside."""

import html

import pytest
from django.urls import reverse

from annotate.items import CORRECTIONS
from annotate.models import Import, Item, Run, Upload
from tests.bad_files import GOOD_CSV
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_run
from tests.web.imports.sending import interrupted, page, perform, send, sent, text_of

pytestmark = pytest.mark.django_db


class TestThePage:
    def test_it_states_the_limit_and_what_to_do(self, olga, project):
        text = text_of(olga.get(page(project)))
        assert "up to 500.0 MB" in text and "CSV or JSON Lines" in text and "Nothing was imported yet" in text

    def test_it_lists_imports_with_what_became_of_the_rows(self, olga, project):
        send(olga, project, GOOD_CSV + b"1,other\n3,a good line\n")
        olga.post(page(project, "start", Upload.objects.get().public_id))
        perform(Run.objects.get())
        source = Import.objects.get()
        text = text_of(olga.get(page(project)))
        assert "items.csv" in text and str(owner_of(project)) in text
        assert f"{reverse('items-quarantined', args=[project.slug])}?import=1" in text
        assert page(project, "quarantine", source.public_id) in text

    def test_it_leaves_out_corrections(self, olga, project):
        Import.objects.create(project=project, file_name=CORRECTIONS, file_sha256="", state="complete")
        assert CORRECTIONS not in text_of(olga.get(page(project)))

    def test_a_run_is_watched(self, olga, project):
        run = make_run(project, kind="import", state="running", step="Importing", n_done=3, n_total=10)
        text = text_of(olga.get(page(project)))
        assert f'id="run-{run.public_id}"' in text and "3 of 10" in text

    def test_files_that_wait_are_linked(self, olga, project):
        assert page(project, "preview", sent(project).public_id) in text_of(olga.get(page(project)))

    def test_htmx_gets_the_part_alone(self, olga, project):
        assert "<html" not in text_of(olga.get(page(project), HTTP_HX_REQUEST="true"))

    def test_the_next_step_of_an_empty_project_leads_here(self, olga, project):
        assert f'href="{page(project)}">Import items' in text_of(
            olga.get(reverse("overview-show", args=[project.slug]))
        )


class TestStarting:
    def form(self, client, project, upload):
        """The fields of the form that the preview shows."""
        body = client.get(page(project, "preview", upload.public_id)).content.decode()
        part = body.split(page(project, "start", upload.public_id))[1].split("</form>")[0]
        pieces = part.split('<input type="hidden" name="')[1:]
        found = ((piece.split('"')[0], piece.split('value="')[1].split('"')[0]) for piece in pieces)
        return {name: html.unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}

    def test_it_imports_with_the_choices_of_the_form(self, olga, project):
        upload = sent(project, "uid\tReview\n1\tGrüße\n2\tTschüß\n".encode("cp1252"))
        shown = self.form(olga, project, upload)
        assert (shown["delimiter"], shown["encoding"], shown["column_text"]) == ("tab", "cp1252", "Review")
        response = olga.post(page(project, "start", upload.public_id), shown)
        assert (response.status_code, response.url) == (303, page(project))
        run = perform(Run.objects.get())
        assert run.parameters["dialect"]["delimiter"] == "\t"
        assert [item.content.payload["text"] for item in Item.objects.in_pool().order_by("pk")] == ["Grüße", "Tschüß"]

    def test_two_clicks_start_one_run(self, olga, project):
        upload = sent(project)
        shown = self.form(olga, project, upload)
        for _ in range(2):
            assert olga.post(page(project, "start", upload.public_id), shown).status_code == 303
        assert Run.objects.count() == 1

    def test_a_click_on_a_page_of_before_starts_nothing_again(self, olga, project):
        upload = sent(project)
        shown = self.form(olga, project, upload)
        olga.post(page(project, "start", upload.public_id), shown)
        perform(Run.objects.get())
        olga.post(page(project, "start", upload.public_id), shown)
        assert Run.objects.count() == 1 and Item.objects.count() == 2

    def test_while_another_file_is_imported_it_says_so(self, olga, project):
        first, second = sent(project), sent(project, b"id,text\n9,other\n")
        olga.post(page(project, "start", first.public_id))
        assert olga.post(page(project, "start", second.public_id)).status_code == 409

    def test_a_file_under_way_cannot_be_thrown_away(self, olga, project):
        upload = sent(project)
        olga.post(page(project, "start", upload.public_id))
        response = olga.post(page(project, "discard", upload.public_id))
        assert response.status_code == 409 and "is being imported" in text_of(response)


class TestUnfinished:
    def test_it_can_go_on(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        text = text_of(olga.get(page(project)))
        assert "read, then it stopped" in text and "Go on" in text
        assert olga.post(page(project, "go-on")).status_code == 303
        run = perform(Run.objects.get(state="queued"))
        assert (run.state, Import.objects.get().state, Item.objects.count()) == ("succeeded", "complete", 2)

    def test_it_can_be_given_up(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        assert olga.post(page(project, "give-up")).status_code == 303
        run = perform(Run.objects.get(state="queued"))
        assert run.state == "succeeded" and not Import.objects.exists() and not Item.objects.exists()

    def test_while_a_run_is_at_it_nothing_is_offered(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        Run.objects.update(state=Run.State.PAUSED, finished_at=None)
        assert "An import is not finished" not in text_of(olga.get(page(project)))

    def test_without_one_there_is_nothing_to_tell(self, olga, project):
        for name in ("go-on", "give-up"):
            assert olga.post(page(project, name)).status_code == 409
        assert not Run.objects.exists()

    def test_one_of_the_server_goes_on_there(self, olga, project):
        Import.objects.create(project=project, file_name="x.jsonl", file_sha256="0", options={"fields": {}})
        text = text_of(olga.get(page(project)))
        assert f"manage.py import_items {project.slug}" in text and "Go on" not in text
        assert olga.post(page(project, "go-on")).status_code == 409


class TestQuarantine:
    def test_viewers_may_and_reviewers_may_not(self, project, signed_in):
        source = Import.objects.create(project=project, file_name="x", file_sha256="0", state="complete")
        url = page(project, "quarantine", source.public_id)
        statuses = [signed_in(make_member(project, role=role)).get(url).status_code for role in ("viewer", "reviewer")]
        assert statuses == [200, 403]

    def test_another_projects_import_is_not_there(self, olga, project):
        source = Import.objects.create(project=make_project(), file_name="x", file_sha256="0", state="complete")
        assert olga.get(page(project, "quarantine", source.public_id)).status_code == 404
