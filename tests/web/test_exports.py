"""Exports: started as a run, listed with their error, downloaded by recorded names only."""

import hashlib
import json

import pytest
from django.urls import reverse

from annotate.models import Export, Run, SeenLabel
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_export, make_items, make_run, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.portable]
ROWS = b'{"external_id":"a","payload":{"text":"<script>alert(1)</script>"},"label":"yes","label_source":"gold"}\n' * 7
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture(autouse=True)
def exports_in_a_temporary_folder(settings, tmp_path):
    settings.VAR_DIR = tmp_path


@pytest.fixture
def project():
    return make_project()


def exported(project, settings, content=ROWS):
    """An export of version 3 by a run, with its files where they belong."""
    folder = settings.VAR_DIR / "exports" / project.slug
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.jsonl").write_bytes(content)
    delivered = {"estimand": "delivered", "value": 0.931, "low": 0.91, "high": 0.95, "n": 62, "reason": None}
    (folder / "data.manifest.json").write_text(json.dumps({"counts": {"rows": 7}, "estimates": [delivered]}))
    sha256 = hashlib.sha256(content).hexdigest()
    return make_export(
        project.delivered_versions.first() or make_version(project, version=3),
        run=make_run(project, kind="export", started_by=owner_of(project)),
        folder=f"exports/{project.slug}",
        manifest="data.manifest.json",
        n_rows=7,
        files=[{"name": "data.jsonl", "format": "jsonl", "bytes": len(content), "sha256": sha256}],
    )


def listed(client, project, **headers):
    return client.get(reverse("exports-list", args=[project.slug]), **headers)


def download(client, project, export, name="data.jsonl"):
    return client.get(reverse("exports-list", args=[project.slug]) + f"/{export.run.public_id}/{name}")


class TestList:
    def test_it_says_version_rows_error_files_and_checksums(self, signed_in, project, settings):
        export = exported(project, settings)
        body = listed(signed_in(owner_of(project)), project).content.decode()
        for text in ("Version 3", "7 rows", "93.1 %", "91.0–95.0 %", "62 audited items", "data.jsonl"):
            assert text in body
        assert export.files[0]["sha256"] in body

    def test_the_preview_is_five_rows_of_no_sample_and_harmless(self, signed_in, project, settings):
        items = make_items(project, 9)
        sampled = items[0]
        project.items.filter(pk=sampled.pk).update(prn=0.1)
        row = json.loads(ROWS.splitlines()[0])
        rows = [json.dumps({"id": item.public_id, **row, "external_id": f"row {item.ordinal}."}) for item in items]
        exported(project, settings, "\n".join(rows).encode())
        body = listed(signed_in(owner_of(project)), project).content.decode()
        assert body.count("&lt;script&gt;alert(1)") == 5
        assert "<script>alert" not in body
        assert "row 1." in body
        assert "row 0." not in body
        assert set(SeenLabel.objects.values_list("item", flat=True)) == {item.pk for item in items[1:6]}

    def test_it_lives_without_files_on_disk(self, signed_in, project, settings):
        exported(project, settings)
        for path in (settings.VAR_DIR / "exports" / project.slug).iterdir():
            path.unlink()
        assert "Version 3" in listed(signed_in(owner_of(project)), project).content.decode()

    def test_it_offers_each_format_and_says_which_is_for_spreadsheets(self, signed_in, project):
        body = listed(signed_in(owner_of(project)), project).content.decode()
        for name, words in (
            ("jsonl", "JSON Lines"),
            ("csv", "CSV for programs"),
            ("csv-spreadsheet", "CSV for spreadsheets"),
        ):
            assert f'value="{name}"' in body and words in body
        assert "Exports of earlier versions had one CSV" in body

    def test_empty_it_says_that_one_is_possible(self, signed_in, project):
        assert "Nothing was exported from here yet" in listed(signed_in(owner_of(project)), project).content.decode()

    def test_what_a_command_exported_was_exported(self, signed_in, project):
        make_export(make_version(project, version=4), folder="elsewhere", n_rows=12)
        body = " ".join(listed(signed_in(owner_of(project)), project).content.decode().split())
        assert "Nothing was exported" not in body and "elsewhere" not in body
        assert "a command on the server exported version 4 with 12 rows." in body

    def test_a_run_under_way_is_watched(self, signed_in, project):
        run = make_run(project, kind="export", state="running")
        assert f'id="run-{run.public_id}"' in listed(signed_in(owner_of(project)), project).content.decode()

    def test_htmx_gets_the_part_alone(self, signed_in, project):
        assert "<html" not in listed(signed_in(owner_of(project)), project, **HTMX).content.decode()

    def test_viewers_read_and_start_nothing(self, signed_in, project):
        body = listed(signed_in(make_member(project, role=Role.VIEWER)), project).content.decode()
        assert reverse("runs-start", args=[project.slug]) not in body

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR])
    def test_others_may_not(self, signed_in, project, role):
        assert listed(signed_in(make_member(project, role=role)), project).status_code == 403

    def test_a_stranger_does_not_find_it(self, signed_in, project):
        assert listed(signed_in(make_user()), project).status_code == 404


class TestDownload:
    def test_it_sends_the_file_as_it_is(self, signed_in, project, settings):
        response = download(signed_in(owner_of(project)), project, exported(project, settings))
        assert b"".join(response.streaming_content) == ROWS
        assert response["Content-Disposition"] == 'attachment; filename="data.jsonl"'
        assert response["Content-Type"] == "application/x-ndjson"

    def test_the_manifest_can_be_had(self, signed_in, project, settings):
        export = exported(project, settings)
        response = download(signed_in(owner_of(project)), project, export, "data.manifest.json")
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")

    @pytest.mark.parametrize("name", ["secret.txt", "..", "%2e%2e%2fsecret.txt", ".", "data.jsonl%00"])
    def test_other_names_lead_nowhere(self, signed_in, project, settings, name):
        export = exported(project, settings)
        (settings.VAR_DIR / "exports" / project.slug / "secret.txt").write_text("no")
        (settings.VAR_DIR / "exports" / "secret.txt").write_text("no")
        assert download(signed_in(owner_of(project)), project, export, name).status_code == 404

    def test_a_folder_outside_the_exports_leads_nowhere(self, signed_in, project, settings, tmp_path):
        export = exported(project, settings)
        (tmp_path / "data.jsonl").write_bytes(ROWS)
        export.folder = str(tmp_path)
        export.save()
        assert download(signed_in(owner_of(project)), project, export).status_code == 404

    def test_a_file_that_is_gone_is_a_sentence(self, signed_in, project, settings):
        export = exported(project, settings)
        (settings.VAR_DIR / "exports" / project.slug / "data.jsonl").unlink()
        response = download(signed_in(owner_of(project)), project, export)
        assert response.status_code == 404
        assert "no longer on the server" in response.content.decode()

    def test_a_changed_file_is_not_sent(self, signed_in, project, settings):
        export = exported(project, settings)
        (settings.VAR_DIR / "exports" / project.slug / "data.jsonl").write_bytes(b"changed")
        assert download(signed_in(owner_of(project)), project, export).status_code == 409

    def test_another_projects_export_is_not_there(self, signed_in, project, settings):
        other = exported(make_project(), settings)
        assert download(signed_in(owner_of(project)), project, other).status_code == 404

    def test_a_run_that_broke_off_after_it_exported_has_no_files(self, signed_in, project, settings):
        export = exported(project, settings)
        Run.objects.filter(pk=export.run.pk).update(state=Run.State.ERRORED)
        assert download(signed_in(owner_of(project)), project, export).status_code == 404

    def test_what_a_command_exported_is_not_offered(self, signed_in, project, settings):
        export = exported(project, settings)
        run = export.run
        Export.objects.update(run=None)
        assert download(signed_in(owner_of(project)), project, export).status_code == 404
        assert reverse("exports-list", args=[project.slug]) + f"/{run.public_id}" not in (
            listed(signed_in(owner_of(project)), project).content.decode()
        )

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR])
    def test_others_may_not(self, signed_in, project, settings, role):
        export = exported(project, settings)
        assert download(signed_in(make_member(project, role=role)), project, export).status_code == 403

    def test_post_is_refused(self, signed_in, project, settings):
        url = reverse("exports-download", args=[project.slug, exported(project, settings).public_id, "data.jsonl"])
        assert signed_in(owner_of(project)).post(url).status_code == 405
