"""What one person sends costs nobody else the site: previews are bounded, quotas hold, a person counts one file."""

import gzip
import io
import json
from importlib import import_module
from threading import Barrier, Thread

import pytest
from django.apps import apps
from django.db import connection

from annotate import projects, tasks
from annotate.errors import Busy, Conflict, InvalidInput, QuotaReached, RunBusy
from annotate.formats import tables
from annotate.imports import file_preview, preview, quotas, uploads
from annotate.models import Run, Upload, UploadReservation
from annotate.models.project import Role
from annotate.runs import lifecycle
from annotate.turns import Turns
from models_ml import label_matching
from tests.factories import make_project, owner_of
from tests.formats.test_beginnings import Source
from tests.web.imports.sending import perform

pytestmark = pytest.mark.django_db
# More than the beginning that is read while somebody waits.
LONG = b"id,text\n" + b"".join(b"%d,%s %d\n" % (n, b"a word " * 100, n) for n in range(1_700))


def sent(project, content: bytes, name: str = "items.csv") -> Upload:
    return uploads.receive(project=project, by=owner_of(project), file_name=name, chunks=[content])


class TestPreview:
    def test_it_needs_no_project_and_no_file_on_disk(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            seen = file_preview.of_file(io.BytesIO(b"id,text\n1,a\n"), "x.csv")
        assert (seen.names, seen.mapping["text"], seen.n_rows, seen.is_whole) == (["id", "text"], "text", 1, True)

    def test_of_a_small_bomb_only_a_megabyte_is_unpacked(self):
        stored = gzip.compress(b'{"text": "a"}\n' * 2_000_000)
        assert len(stored) < 100_000
        seen = file_preview.of_file(io.BytesIO(stored), "x.gz")
        assert seen.n_bytes_read <= file_preview.MOST_BYTES and not seen.is_whole

    def test_of_a_large_file_only_a_megabyte_is_read(self):
        file = Source(LONG * 4)
        file_preview.of_file(file, "x.csv")
        assert file.n_read <= file_preview.MOST_BYTES + 10

    def test_it_says_from_how_many_rows_it_speaks(self, project):
        seen = preview.of_upload(upload=sent(project, LONG), by=owner_of(project))
        assert "from the first 1,000 rows" in seen.bound and not seen.is_whole
        assert abs(seen.n_rows - 1_700) < 100
        assert preview.of_upload(upload=sent(project, b"text\na\n"), by=owner_of(project)).bound == ""

    def test_a_row_that_the_end_of_the_beginning_cuts_off_is_none(self, project):
        rows = [json.dumps({"text": f"{n} {'x' * 700}"}).encode() + b"\n" for n in range(900)]
        for content in (b"".join(rows) * 2, b"text,b\n" + b'"%s",1\n' % (b"x\n" * 9_000) * 90):
            seen = preview.of_upload(upload=sent(project, content), by=owner_of(project))
            assert (seen.n_rejected, seen.is_whole) == (0, False)

    def test_a_run_of_combining_marks_is_no_name_and_is_not_composed(self, project, monkeypatch):
        composed = list[int]()
        real = label_matching.normalize
        monkeypatch.setattr(
            label_matching, "normalize", lambda form, text: composed.append(len(text)) or real(form, text)
        )
        rows = [{"text": f"{n}", "label": "a" + "\u0301\u0327" * 6_000} for n in range(4)]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        preview.of_upload(upload=sent(project, content, "x.jsonl"), by=owner_of(project), ask=["label"])
        assert max(composed) <= label_matching.MAX_NAME * 4

    def test_names_of_nested_fields_are_not_longer_than_the_row_by_the_square(self):
        row = {"k" * 50_000: {f"a{n}": 1 for n in range(2_000)}, "text": "a"}
        seen = file_preview.of_file(io.BytesIO(json.dumps(row).encode() + b"\n"), "x.jsonl")
        assert sum(map(len, seen.names)) < 1_000

    def test_broken_quotes_are_read_again_only_so_often(self, monkeypatch):
        lines = list[tables._Lines]()
        real = tables._Lines.__init__
        monkeypatch.setattr(tables._Lines, "__init__", lambda self, *given: lines.append(self) or real(self, *given))
        file_preview.of_file(
            io.BytesIO(b"text\n" + b'"a\n' * 30 + b'b""\n' * 90_000), "x.csv", dialect={"quoting": True}
        )
        assert max(one._n_reread for one in lines) <= 3 * file_preview.MOST_BYTES


class TestTheWholeFile:
    @pytest.mark.parametrize("kind", ["count", "import"])
    def test_a_run_looks_at_it_and_not_the_request(self, project, kind):
        upload = sent(project, LONG + "x,é\n".encode("cp1252"))
        wanted = {"upload": upload.public_id, "dialect": {}, "columns": {}}
        run = tasks.enqueue(kind=kind, project=project, by=owner_of(project), parameters=wanted)
        assert (run.parameters["dialect"], run.findings) == ({}, {})
        done = perform(run)
        assert (done.state, done.findings["dialect"]["encoding"]) == ("succeeded", "cp1252")
        assert done.findings["columns"]["text"] == "text" and done.result["n_items"] == 1_701

    def test_a_later_attempt_goes_by_what_the_first_one_found(self, project):
        upload = sent(project, LONG)
        wanted = {"upload": upload.public_id, "dialect": {}, "columns": {}}
        run = tasks.enqueue(kind="count", project=project, by=owner_of(project), parameters=wanted)
        found = perform(run).findings
        other = {**found, "columns": {**found["columns"], "text": "id", "id": None}}
        again = tasks.enqueue(kind="count", project=project, by=owner_of(project), parameters=wanted)
        Run.objects.filter(pk=again.pk).update(findings=other)
        assert perform(again).findings == other

    def test_what_the_beginning_tells_is_refused_at_once(self, project):
        upload = sent(project, LONG)
        wanted = {"upload": upload.public_id, "dialect": {}, "columns": {"text": "nowhere"}}
        with pytest.raises(InvalidInput, match="nowhere"):
            tasks.enqueue(kind="count", project=project, by=owner_of(project), parameters=wanted)


class TestOneCountOfAPerson:
    def count(self, project, by):
        wanted = {"upload": sent(project, b"text\na\n").public_id, "dialect": {}, "columns": {}}
        return tasks.enqueue(kind="count", project=project, by=by, parameters=wanted)

    @pytest.fixture
    def both(self, project):
        other, by = make_project(), owner_of(project)
        projects.add_member(project=other, user=by, role=Role.ADMIN, is_trusted=True, by=owner_of(other))
        return project, other, by

    def test_a_second_one_is_refused_with_the_way_out(self, both):
        first, other, by = both
        run = self.count(first, by)
        with pytest.raises(RunBusy) as refusal:
            self.count(other, by)
        assert all(word in str(refusal.value) for word in ("items.csv", str(first), run.public_id, "cancel"))
        assert self.count(other, owner_of(other)).state == "queued"  # by another person
        tasks.cancel(run=run, by=by)
        tasks.cancel(run=other.runs.get(kind="count", state="queued"), by=by)
        assert self.count(other, by).state == "queued"

    def test_a_paused_one_goes_on_only_when_no_other_is_at_work(self, both):
        first, other, by = both
        run = lifecycle.pause(run=self.count(first, by), by=by)
        self.count(other, by)
        with pytest.raises(Conflict, match="One file is counted at a time"):
            lifecycle.resume(run=run, by=by)

    def test_of_several_of_one_person_the_migration_leaves_the_oldest(self, both):
        first, other, by = both
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX run_one_count_of_a_person")  # taken back with all else of this test
        runs = [self.count(one, by) for one in (first, other)]
        import_module("annotate.migrations.0024_counts_so_far").cancel_further_counts(apps, None)
        assert [Run.objects.get(pk=run.pk).state for run in runs] == ["queued", "cancelled"]


class TestQuota:
    def test_it_counts_files_also_when_they_are_thrown_away(self, project, settings):
        settings.UPLOAD_DAILY_FILES = 2
        uploads.discard(upload=sent(project, b"a\n"), by=owner_of(project))
        sent(project, b"b\n")
        with pytest.raises(QuotaReached, match=r"Files: 2 of 2\..* \(UTC\)") as refusal:
            sent(project, b"c\n")
        assert 0 < refusal.value.seconds <= 86_400
        assert not UploadReservation.objects.exists()
        sent(make_project(), b"c\n")

    def test_it_counts_bytes_before_any_is_stored(self, project, settings):
        settings.UPLOAD_DAILY_BYTES, settings.UPLOAD_MAX_BYTES = 1_000, 600
        sent(project, b"a" * 500)
        with pytest.raises(QuotaReached), quotas.reserved(project=project, by=owner_of(project), n_bytes=501):
            pass
        with quotas.reserved(project=project, by=owner_of(project), n_bytes=400):
            assert quotas.usage(project).n_bytes == 900
            with pytest.raises(QuotaReached), quotas.reserved(project=project, by=owner_of(project), n_bytes=101):
                pass
        assert quotas.usage(project).n_bytes == 500

    def test_a_body_has_no_more_than_the_room_that_was_reserved(self, project):
        by = owner_of(project)
        with pytest.raises(InvalidInput), quotas.reserved(project=project, by=by, n_bytes=3) as room:
            uploads.receive(project=project, by=by, file_name="x", chunks=[b"aaaa"], room=room)
        assert not Upload.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestAtOnce:
    def test_several_files_do_not_pass_the_quota_together(self, project, settings):
        settings.UPLOAD_DAILY_FILES = 3
        refusals, together = list[QuotaReached](), Barrier(6)

        def send() -> None:
            together.wait()
            try:
                sent(project, b"a\n")
            except QuotaReached as error:
                refusals.append(error)
            finally:
                connection.close()

        threads = [Thread(target=send) for _ in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert (Upload.objects.count(), len(refusals), UploadReservation.objects.count()) == (3, 3, 0)


class TestTurns:
    def test_nobody_has_more_places_than_are_given_and_the_line_is_short(self):
        turns = Turns(n_waiting=1, n_each=1, seconds=0)
        with turns.taken("olga"):
            for who in ("olga", "ann"):  # a second place; a turn that does not come in time
                with pytest.raises(Busy), turns.taken(who):
                    pass
        with turns.taken("ann"):
            pass
