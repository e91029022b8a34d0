"""Who gets machines' labels of many items: recorded before the first byte; what they answer after that is marked."""

import json

import pytest
from django.test import Client
from django.urls import reverse

from annotate import files, rounds, tasks, verification
from annotate.accounts import tokens
from annotate.dataset import downloads
from annotate.dataset.export import export
from annotate.errors import NotRecorded
from annotate.imports import ingest, uploads
from annotate.learning import delivery, estimation
from annotate.models import Annotation, Download
from annotate.models.base import database_now
from annotate.models.project import Arm, Role
from annotate.runs import lifecycle
from tests.annotate.asking import answer, change, problems, question
from tests.factories import make_member, owner_of
from tests.rows import make_export, make_run, make_silver

pytestmark = pytest.mark.django_db
MARKED = "who had the file is marked"


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def exported(asked, settings, tmp_path):
    """A project with an open round, and an export of version 1 with one data file and a manifest."""
    settings.FILES_DIR, settings.VAR_DIR = tmp_path / "files", tmp_path  # exports lie beside the other files

    def make():
        project = asked()
        folder = files.path_of(f"exports/{project.slug}")
        folder.mkdir(parents=True)
        (folder / "data.csv").write_text("label\nyes\n")
        (folder / "it.manifest.json").write_text("{}")
        sums = {name: files.checksum(folder / name) for name in ("data.csv", "it.manifest.json")}
        fields = {"folder": f"exports/{project.slug}", "manifest": "it.manifest.json"}
        fields |= {"manifest_sha256": sums["it.manifest.json"], "run": make_run(project, kind="export")}
        data = [{"name": "data.csv", "bytes": 10, "sha256": sums["data.csv"]}]
        return make_export(project.delivered_versions.get(), files=data, **fields)

    return make


class TestAPage:
    def download(self, client, export, name="data.csv"):
        return client.get(reverse("exports-download", args=[export.project.slug, export.run.public_id, name]))

    def test_a_file_is_recorded_once_and_a_manifest_is_not(self, exported):
        made = exported()
        olga = owner_of(made.project)
        client = signed_in(olga)
        assert self.download(client, made, "it.manifest.json").status_code == 200
        assert not Download.objects.exists()
        for _ in range(2):
            response = self.download(client, made)
            assert Download.objects.filter(user=olga, last_ordinal=made.project.next_ordinal - 1).count() == 1
            assert b"".join(response.streaming_content) == b"label\nyes\n"

    def test_what_cannot_be_recorded_is_not_sent(self, exported, unwritable):
        made = exported()
        client = signed_in(owner_of(made.project))
        unwritable(Download)
        response = self.download(client, made)
        assert response.status_code == 503
        assert b"yes" not in response.content

    def test_who_may_answer_is_warned_before(self, exported):
        made = exported()
        url = reverse("exports-list", args=[made.project.slug])
        assert "later blind answers by you" in signed_in(owner_of(made.project)).get(url).content.decode()
        viewer = make_member(made.project, role=Role.VIEWER)
        assert "later blind answers by you" not in signed_in(viewer).get(url).content.decode()


class TestMarks:
    def test_later_answers_to_items_of_the_file_are_marked(self, exported):
        made = exported()
        project, olga, ann = made.project, owner_of(made.project), make_member(made.project)
        before, after, others = question(project, Arm.AUDIT), question(project, Arm.RANDOM), None
        answer(before, olga)
        downloads.of_file(made, "data.csv", by=olga)
        assert answer(after, olga).had_file
        others = answer(question(project, Arm.RANDOM), ann)
        assert not others.had_file
        assert [row.had_file for row in Annotation.objects.filter(item=before.item)] == [False]
        assert change(before, olga, "no").had_file
        assert problems(project) == {}

    def test_an_item_that_came_later_was_in_no_file(self, exported):
        made = exported()
        entry, olga = question(made.project), owner_of(made.project)
        made.delivered_version.last_ordinal = entry.item.ordinal - 1
        downloads.of_file(made, "data.csv", by=olga)
        assert not answer(entry, olga).had_file

    def test_their_share_stands_beside_each_figure(self, asked):
        project = asked(batch=20)
        olga, ann = owner_of(project), make_member(project)
        make_silver(project, project.items.all())
        frozen = delivery.current(project=project, by=olga).row
        downloads.of_command(frozen, by=ann)
        first = True
        while entry := question(project, Arm.AUDIT):
            answer(entry, ann if first else olga)
            first = False
        rounds.close_round(project=project, by=olga, force=True)
        rows = {row.estimand: row for row in estimation.estimate(project=project, by=olga) if row.label is None}
        llm = rows["llm"]
        assert (llm.n_had_file, llm.share_had_file) == (1, 1 / llm.n_answered)
        url = reverse("overview-show", args=[project.slug])
        assert f"1 of {llm.n_answered} answers" in signed_in(olga).get(url).content.decode()
        assert problems(project) == {}


class TestACommand:
    def test_what_it_writes_is_recorded_as_by_whoever_ran_it(self, asked, tmp_path):
        project = asked()
        make_silver(project, project.items.all())
        olga = owner_of(project)
        export(delivered=delivery.current(project=project, by=olga).row, by=olga, directory=tmp_path / "own")
        assert list(Download.objects.values_list("user", "kind")) == [(olga.pk, "command")]

    def test_without_a_record_it_writes_nothing(self, asked, tmp_path, unwritable):
        project = asked()
        olga = owner_of(project)
        version = delivery.current(project=project, by=olga).row
        unwritable(Download)
        with pytest.raises(NotRecorded):
            export(delivered=version, by=olga, directory=tmp_path / "own")
        assert not list((tmp_path / "own").iterdir())


class TestVerify:
    """Each check has been seen to fail."""

    def test_it_sees_a_mark_that_is_gone_or_was_never_earned(self, exported):
        made = exported()
        olga = owner_of(made.project)
        downloads.of_file(made, "data.csv", by=olga)
        row = answer(question(made.project), olga)
        assert problems(made.project) == {}
        Annotation.objects.filter(pk=row.pk).update(had_file=False)
        Download.objects.update(at=database_now().replace(year=2020))
        assert "is not marked" in verification.first_problem(verification.CHECKS[MARKED], made.project)
        Annotation.objects.filter(pk=row.pk).update(had_file=True)
        Download.objects.all().delete()
        assert "got no file" in verification.first_problem(verification.CHECKS[MARKED], made.project)


class TestLinesThatMadeNoItem:
    """A file with machines' labels whose texts are there already: its lines come back with the labels."""

    @pytest.fixture
    def imported(self, asked, tmp_path):
        def make(**labels):
            project = asked()
            entry = question(project, Arm.AUDIT)
            row = {"text": entry.item.content.payload["text"], "machine": "yes", "gpt_label": "yes"}
            path = tmp_path / "again.jsonl"
            path.write_text(json.dumps(row if labels else {"text": row["text"]}) + "\n")
            return ingest.import_items(project=project, path=path, by=owner_of(project), **labels), entry

        return make

    def urls(self, source):
        return (
            reverse("imports-quarantine", args=[source.project.slug, source.public_id]),
            reverse("api-import-quarantine", args=[source.project.slug, source.public_id]),
        )

    def test_they_are_recorded_before_they_are_sent(self, imported):
        source, entry = imported(silver_field="machine")
        olga = owner_of(source.project)
        listed = signed_in(olga).get(reverse("imports-list", args=[source.project.slug]))
        assert "later blind answers by you" in listed.content.decode()
        bearer = {"Authorization": f"Bearer {tokens.create(by=olga, name='x', scope='read')[1]}"}
        for url in self.urls(source):
            Download.objects.all().delete()
            response = signed_in(olga).get(url, headers=bearer)
            assert Download.objects.filter(user=olga, last_ordinal__gte=entry.item.ordinal).count() == 1
            assert b"gpt_label" in b"".join(response.streaming_content)
        assert answer(entry, olga).had_file
        assert problems(source.project) == {}

    def test_what_cannot_be_recorded_is_not_sent(self, imported, unwritable):
        source, _ = imported(silver_field="machine")
        unwritable(Download)
        response = signed_in(owner_of(source.project)).get(self.urls(source)[0])
        assert (response.status_code, b"gpt_label" in response.content) == (503, False)

    def test_lines_of_a_file_without_labels_are_no_labels(self, imported):
        source, _ = imported()
        assert signed_in(owner_of(source.project)).get(self.urls(source)[0]).status_code == 200
        assert not Download.objects.exists()


class TestAnImport:
    def test_who_sent_and_who_imported_machines_labels_had_them(self, asked, settings, tmp_path):
        settings.FILES_DIR = tmp_path / "files"
        project = asked()
        entry, olga, adam = question(project, Arm.AUDIT), owner_of(project), make_member(project, role=Role.ADMIN)
        row = json.dumps({"text": entry.item.content.payload["text"], "machine": "yes"}).encode()
        sent = uploads.receive(project=project, by=adam, file_name="a.jsonl", chunks=[row])
        for columns, n in (({"text": "text"}, 0), ({"text": "text", "silver": "machine"}, 2)):
            wanted = {"upload": sent.public_id, "columns": columns}
            tasks.enqueue(kind="import", project=project, by=olga, parameters=wanted)
            run = lifecycle.claim_next()
            with lifecycle.taken_up(public_id=run.public_id, attempt=run.attempt) as attempt:
                tasks.perform(attempt)
            assert Download.objects.count() == n
        assert answer(entry, adam).had_file
        assert problems(project) == {}
