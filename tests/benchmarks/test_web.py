"""The web benchmark on a real server, and the checks behind its figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.web_project import check, most_at_once
from tests.factories import make_member, make_project, rows_of, write_jsonl

ROOT = Path(__file__).parents[2]


def bench(*words):
    env = {
        name: value for name, value in os.environ.items() if name not in ("VAR_DIR", "TEST_DATABASE", "DATABASE_URL")
    }
    command = [sys.executable, "-m", "benchmarks.web", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env, timeout=300)


@pytest.mark.slow
@pytest.mark.timeout(360)
class TestRace:
    def test_eight_people_on_twenty_items_answer_each_once(self):
        done = bench("--race", "--users", 8, "--items", 20, "--seconds", 60)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        times = {f"{name}_p{q}_ms" for name in ("next", "submit") for q in (50, 95, 99)}
        assert times | {"db", "items", "users", "labels_per_s"} <= set(found)
        assert all(found[name] > 0 for name in times)
        wrong = {name: found[name] for name in ("errors", "duplicates", "over_assigned", "lost", "verify")}
        assert wrong == {"errors": 0, "duplicates": 0, "over_assigned": 0, "lost": 0, "verify": "ok"}, done.stderr


class TestHoldersAtOnce:
    @pytest.mark.parametrize(
        "holds, most",
        [
            ([], 0),
            ([(1, 2, "released"), (2, 3, "answered")], 1),
            ([(1, 2, "answered"), (3, 4, "answered")], 2),  # an answer keeps its slot
            ([(1, 3, "expired"), (2, 4, "answered")], 2),
            ([(1, None, None), (2, None, None)], 2),
        ],
    )
    def test_it_counts_answers_for_ever_and_leases_while_held(self, holds, most):
        assert most_at_once(holds) == most


@pytest.mark.django_db
class TestCheck:
    @pytest.fixture
    def entry(self, tmp_path):
        from annotate.imports import ingest
        from annotate.models import Item, Round
        from tests.factories import owner_of

        project = make_project()
        ingest.import_items(
            project=project, path=write_jsonl(tmp_path / "items.jsonl", rows_of(1)), by=owner_of(project)
        )
        opened = Round.objects.create(project=project, index=1, batch=1, shares={}, strategy="random", seed=1)
        return opened.queue.create(item=Item.objects.get(), position=1, overlap=1, is_blind=True)

    def answer(self, entry, key):
        """Past the domain, which would refuse the second."""
        from annotate.models import Annotation, Label, Lease
        from annotate.models.base import database_now

        person, now = make_member(entry.round.project), database_now()
        Lease.objects.create(
            entry=entry, annotator=person, granted_at=now, expires_at=now, ended_at=now, outcome="answered"
        )
        Annotation.objects.create(
            project=entry.round.project, item=entry.item, entry=entry, annotator=person, label=Label.objects.first(),
            revision=1, is_blind=True, idempotency_key=key,
        )  # fmt: skip

    def found(self, tmp_path, *acknowledged):
        keys = tmp_path / "keys.txt"
        keys.write_text("\n".join(acknowledged))
        return check(keys)

    def test_it_is_silent_where_all_is_well(self, entry, tmp_path):
        self.answer(entry, "one")
        assert self.found(tmp_path, "one") == {"duplicates": 0, "over_assigned": 0, "lost": 0}

    def test_it_finds_a_second_answer_and_a_second_holder(self, entry, tmp_path):
        self.answer(entry, "one")
        self.answer(entry, "two")
        assert self.found(tmp_path) == {"duplicates": 1, "over_assigned": 1, "lost": 0}

    def test_it_finds_an_acknowledged_answer_that_is_gone(self, entry, tmp_path):
        self.answer(entry, "one")
        assert self.found(tmp_path, "one", "two")["lost"] == 1


def test_postgres_without_its_address_is_refused_in_words():
    done = bench("--db", "postgres", "--race")
    assert done.returncode == 1
    assert "needs DATABASE_URL" in done.stderr and "Traceback" not in done.stderr
