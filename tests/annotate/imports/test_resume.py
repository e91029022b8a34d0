"""An import that stopped half-way: gone on with to the same rows, given up whole, or killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from annotate import items
from annotate.errors import Conflict
from annotate.imports import ingest
from annotate.models import (
    Draw,
    Gold,
    Item,
    ItemPayload,
    Prediction,
    RejectedRow,
    Run,
)
from annotate.models.base import database_now
from annotate.runs import lifecycle
from tests import databases
from tests.annotate.imports.taking_in import Stop, ordinals, pool_of, stop_after, take_in, take_in_rows
from tests.factories import make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


def everything(project) -> list[tuple]:
    """All that an import stores, but for random and running numbers."""
    rows = Item.objects.filter(project=project).order_by("ordinal")
    stored = [
        (
            item.ordinal,
            item.external_id,
            item.content_hash,
            item.content.payload,
            item.content.metadata,
            sorted(item.gold.values_list("label__name", flat=True)),
            sorted(item.draws.values_list("arm", flat=True)),
            sorted(item.predictions.values_list("status", "label_index")),
        )
        for item in rows
    ]
    lines = RejectedRow.objects.filter(source__project=project).order_by("line")
    return [*stored, *lines.values_list("kind", "line", "reason", "external_id", "excerpt")]


def import_elsewhere(project):
    """An import that another machine performs now."""
    now = database_now()
    lease = {"host": "elsewhere", "lease_until": now + timedelta(minutes=1), "heartbeat_at": now}
    Run.objects.create(project=project, kind="import", state=Run.State.RUNNING, **lease)


class TestResume:
    ROWS = [
        *rows_of(6, y="yes", s="no"),
        {"id": "bad"},
        *rows_of(2),
        *rows_of(9, "more", y="no", s="what"),
        {"id": "item-0", "text": "other"},
    ]
    OPTIONS = {"gold_field": "y", "silver_field": "s"}

    @pytest.mark.parametrize("inside", [False, True])
    @pytest.mark.parametrize("n_chunks", range(5))
    def test_it_goes_on_where_it_stopped(self, project, tmp_path, monkeypatch, small_chunks, n_chunks, inside):
        path = write_jsonl(tmp_path / "items.jsonl", self.ROWS)
        undisturbed = make_project()
        take_in(undisturbed, path, **self.OPTIONS)
        with monkeypatch.context() as patch:
            stop_after(patch, n_chunks, inside=inside)
            with pytest.raises(Stop):
                take_in(project, path, **self.OPTIONS)
        stopped = project.imports.get()
        assert stopped.cursor == 4 * n_chunks
        assert pool_of(project) == []
        source = take_in(project, path, **self.OPTIONS)
        assert source.pk == stopped.pk
        assert everything(project) == everything(undisturbed)
        assert project.imports.values_list("n_items", "n_duplicates", "n_rejected").get() == (15, 2, 2)

    def test_it_goes_on_after_a_crash_at_the_very_end(self, project, tmp_path, monkeypatch):
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(5))
        with monkeypatch.context() as patch:
            patch.setattr(ingest, "record", lambda *args, **kwargs: (_ for _ in ()).throw(Stop()))
            with pytest.raises(Stop):
                take_in(project, path)
        assert pool_of(project) == []
        assert take_in(project, path).n_items == 5

    def test_it_takes_over_from_a_process_that_is_gone(self, project, tmp_path, monkeypatch, small_chunks):
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(10))
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            patch.setattr(lifecycle.Attempt, "finish", lambda *args, **kwargs: None)  # as a killed process does
            with pytest.raises(Stop):
                take_in(project, path)
        Run.objects.update(pid=2**22 + 1)
        take_in(project, path)
        run = Run.objects.get()
        assert (run.attempt, run.state) == (2, "succeeded")

    def test_it_refuses_another_file_and_says_what_to_do(self, project, tmp_path, monkeypatch, small_chunks):
        self.leave_unfinished(project, tmp_path, monkeypatch)
        with pytest.raises(Conflict, match=r"unfinished import of first.jsonl \(4 lines done.*--abandon"):
            take_in_rows(project, tmp_path, rows_of(3), "second.jsonl")

    def test_it_refuses_the_same_file_with_other_columns(self, project, tmp_path, monkeypatch, small_chunks):
        self.leave_unfinished(project, tmp_path, monkeypatch)
        with pytest.raises(Conflict, match="with the columns gold: none"):
            take_in(project, tmp_path / "first.jsonl", gold_field="y")

    def test_it_keeps_the_labels_it_began_with(self, project, tmp_path, monkeypatch, small_chunks):
        from annotate import projects

        path = write_jsonl(tmp_path / "first.jsonl", [{"text": f"{i}", "s": "yes"} for i in range(8)])
        with monkeypatch.context() as patch:
            stop_after(patch, 0)
            with pytest.raises(Stop):
                take_in(project, path, silver_field="s")
        project.prompts.all().delete()
        names = [projects.NewLabel(name) for name in ("no", "yes")]
        projects.add_schema(project=project, labels=names, by=owner_of(project))
        take_in(project, path, silver_field="s")
        assert set(Prediction.objects.values_list("prompt__schema__version", "label_index")) == {(1, 0)}

    def test_it_refuses_while_another_import_is_alive(self, project, tmp_path):
        import_elsewhere(project)
        with pytest.raises(Conflict, match="is running"):
            take_in_rows(project, tmp_path, rows_of(3))

    def leave_unfinished(self, project, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                take_in_rows(project, tmp_path, rows_of(10), "first.jsonl")


class TestAbandon:
    def abandon(self, project) -> int:
        return ingest.abandon_import(project=project, by=owner_of(project))

    def test_it_deletes_the_hidden_items_and_gives_their_ordinals_back(
        self, project, tmp_path, monkeypatch, small_chunks
    ):
        take_in_rows(project, tmp_path, rows_of(5))
        with monkeypatch.context() as patch:
            stop_after(patch, 2)
            with pytest.raises(Stop):
                take_in_rows(
                    project, tmp_path, rows_of(20, "more", y="yes", s="no"), "b", gold_field="y", silver_field="s"
                )
        assert self.abandon(project) == 8
        project.refresh_from_db()
        assert (ordinals(project), project.next_ordinal) == ([0, 1, 2, 3, 4], 5)
        assert ItemPayload.objects.count() == 5
        assert not Gold.objects.exists() and not Draw.objects.exists() and not Prediction.objects.exists()
        assert not project.prompts.exists()
        assert project.imports.get().state == "complete"
        take_in_rows(project, tmp_path, rows_of(3, "other"), "c")
        assert ordinals(project) == list(range(8))

    def test_it_leaves_withdrawn_items_withdrawn(self, project, tmp_path, monkeypatch, small_chunks):
        take_in_rows(project, tmp_path, rows_of(5))
        items.withdraw(project=project, external_ids=["item-0"], by=owner_of(project))
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                take_in_rows(project, tmp_path, rows_of(5), "b")
        self.abandon(project)
        assert len(pool_of(project)) == 4

    def test_it_starts_at_zero_again_after_a_first_import(self, project, tmp_path, monkeypatch, small_chunks):
        stop_after(monkeypatch, 1)
        with pytest.raises(Stop):
            take_in_rows(project, tmp_path, rows_of(20))
        self.abandon(project)
        project.refresh_from_db()
        assert project.next_ordinal == 0

    def test_it_needs_an_unfinished_import(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(1))
        with pytest.raises(Conflict, match="has no unfinished import"):
            self.abandon(project)

    def test_it_does_not_touch_an_import_that_is_alive(self, project):
        import_elsewhere(project)
        with pytest.raises(Conflict, match="is running"):
            self.abandon(project)


SCRIPT = """
import django, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "labelapp.settings"
django.setup()
from tests.factories import make_project, make_user
make_project(name="Killed", by=make_user("Olga"))
"""


@pytest.mark.portable  # on SQLite, wherever the tests run
class TestKill:
    """A real process, a real kill -9."""

    N = 40_000

    def test_it_loses_and_doubles_nothing(self, tmp_path):
        root, env = Path(__file__).parents[3], {**os.environ, "VAR_DIR": str(tmp_path)}
        env.pop("DATABASE_URL", None)
        databases.copy_to(tmp_path / "goldloop.sqlite3")
        subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, env=env, check=True)
        path = tmp_path / "items.jsonl"
        path.write_bytes(b"".join(b'{"id": %d, "text": "text number %d"}\n' % (i, i) for i in range(self.N)))
        command = [sys.executable, "manage.py", "import_items", "killed", str(path)]
        database = sqlite3.connect(tmp_path / "goldloop.sqlite3", timeout=20)
        process = subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not self.cursor(database) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        cursor = self.cursor(database)
        assert 0 < cursor < self.N
        assert self.one(database, "SELECT count(*) FROM annotate_item") == cursor
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
        assert f"{self.N:,} new items" in done.stdout
        query = "SELECT count(*), count(DISTINCT content_hash), max(ordinal) + 1 FROM annotate_item"
        assert database.execute(query).fetchone() == (self.N, self.N, self.N)
        assert self.one(database, "SELECT attempt FROM annotate_run") == 2
        assert self.one(database, "SELECT count(*) FROM annotate_rejectedrow") == 0

    def cursor(self, database) -> int:
        return self.one(database, "SELECT coalesce(max(cursor), 0) FROM annotate_import")

    @staticmethod
    def one(database, query: str) -> int:
        return database.execute(query).fetchone()[0]
