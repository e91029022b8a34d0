"""Workers killed at named points, by `kill -9` of whoever works or of the worker itself: every run ends, all is clean.

Each run is killed at two points in a row, and its rows are compared with those of a twin that nobody disturbed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.management import call_command
from django.db import connection

from annotate import rounds, tasks
from annotate.imports import ingest, uploads
from annotate.models import Import, Project, Run
from annotate.runs import lifecycle
from tests.factories import answer_round, make_project, owner_of, write_jsonl
from tests.waiting import wait_until
from tests.workers import CELERY, EMBEDDED, environment_for, working

DEMO = Path(project_settings.BASE_DIR) / "annotate" / "demo" / "banking77.jsonl"
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("events_can_be_flushed"),
    pytest.mark.timeout(600),
]
_LABELS = ("card", "transfer", "exchange")


@dataclass(frozen=True)
class Case:
    """What is killed where; a point strikes once, whichever attempt comes to it."""

    kind: str
    points: tuple[str, ...]
    whom: str = "self"

    def __str__(self) -> str:
        return "-".join((self.kind, *self.points, self.whom))


CASES = [
    Case("import", ("run.taken_up:1", "run.write:2")),  # before anything, and inside the second chunk's transaction
    Case("import", ("run.write:3", "run.finish:1"), whom="parent"),  # and when all is visible but not said to be done
    Case("prelabel", ("vectors.chunk:1", "run.write:2")),
    Case("prelabel", ("run.write:1", "run.finish:1"), whom="parent"),
    Case("train", ("train.fitted:1", "files.written:1")),
    Case("train", ("files.renamed:2", "train.stored:1"), whom="parent"),
    Case("export", ("export.chunk:1", "files.written:2"), whom="parent"),
    Case("export", ("export.manifest:1",)),
]


_EVERY_TIME = {(0, "embedded"), (7, "celery")}  # each worker once; test_bill kills one that pays


def runs_of() -> Iterator[Any]:
    """Each case with each worker, on the database that it is deployed with."""
    for place, case in enumerate(CASES):
        for worker, words, database in (("embedded", EMBEDDED, "sqlite"), ("celery", CELERY, "postgresql")):
            marks = [pytest.mark.only_on(database)]
            marks += [] if (place, worker) in _EVERY_TIME else [pytest.mark.slow]
            yield pytest.param(case, words, marks=marks, id=f"{worker}-{case}")


@pytest.fixture
def environment(request, tmp_path, settings, worker_words) -> dict[str, str]:
    settings.VAR_DIR = tmp_path
    own = connection.settings_dict
    database = f"sqlite:///{own['NAME']}"
    if connection.vendor == "postgresql":
        database = f"postgres://{own['USER']}@{own['HOST']}:{own['PORT']}/{own['NAME']}"
    more = {"REDIS_URL": request.getfixturevalue("redis_server").url} if worker_words is CELERY else {}
    return environment_for(database, str(tmp_path), FILES_DIR=str(settings.FILES_DIR), **more)


@pytest.mark.parametrize("case, worker_words", [*runs_of()])
def test_a_run_that_is_killed_twice_ends_with_the_rows_of_its_undisturbed_twin(
    case, worker_words, environment, tmp_path
):
    disturbed, twin = prepared(case.kind, tmp_path), prepared(case.kind, tmp_path)
    marks = tmp_path / "marks"
    marks.mkdir()
    chaos = {"CHAOS_POINTS": ",".join(case.points), "CHAOS_MARKS": str(marks), "CHAOS_WHOM": case.whom}
    run = asked(case.kind, disturbed)
    with working(worker_words, {**environment, **chaos}) as worker:
        wait_until(lambda: worker.keep() or has_ended(run), seconds=150)
    assert run.state == Run.State.SUCCEEDED, [line.text for line in lifecycle.log(run)]
    assert {mark.name for mark in marks.iterdir()} == set(case.points)
    perform(case.kind, twin)
    assert rows_of(case.kind, disturbed) == rows_of(case.kind, twin)
    for project in (disturbed, twin):
        call_command("verify", project.slug)


def prepared(kind: str, folder: Path) -> Project:
    """A project in which the run can begin; two of them differ in nothing but random ids."""
    project = make_project(labels=_LABELS)
    if kind == "import":
        return project
    n_items = 600 if kind == "prelabel" else 150
    rows = [json.loads(line) for line in DEMO.read_text(encoding="utf-8").splitlines()[:n_items]]
    silver = {} if kind == "prelabel" else {"silver_field": "machine"}
    content = [{"id": row["id"], "text": row["text"], "machine": _LABELS[i % 3]} for i, row in enumerate(rows)]
    path = write_jsonl(folder / f"{project.slug}.jsonl", content)
    ingest.import_items(project=project, path=path, by=owner_of(project), **silver)
    if kind in ("train", "export"):
        rounds.draw_round(project=project, batch=40, by=owner_of(project))
        answer_round(project, "card")
        rounds.close_round(project=project, by=owner_of(project))
    return project


def parameters(kind: str, project: Project) -> dict[str, Any]:
    if kind != "import":
        return {}
    text = "id;text\r\n" + "".join(f'{i};"item {i}\nhas two lines; it has"\r\n' for i in range(9_000)) + "9001;\r\n"
    sent = uploads.receive(project=project, by=owner_of(project), file_name="a.csv", chunks=iter([text.encode()]))
    return {"upload": sent.public_id}


def asked(kind: str, project: Project) -> Run:
    return tasks.enqueue(kind=kind, project=project, by=owner_of(project), parameters=parameters(kind, project))


def perform(kind: str, project: Project) -> None:
    """In this process, as a worker that nothing happens to."""
    run = asked(kind, project)
    claimed = lifecycle.claim(run.public_id)
    assert claimed is not None
    with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        tasks.perform(attempt)


def has_ended(run: Run) -> bool:
    run.refresh_from_db()
    return run.finished_at is not None


def rows_of(kind: str, project: Project) -> Any:
    """What the run made, without ids and times."""
    items = list(project.items.order_by("ordinal").values_list("external_id", "ordinal", "prn", "fold", "content_hash"))
    if kind == "import":
        source = Import.objects.get(project=project)
        rejected = source.rejected_rows.order_by("line").values_list("line", "kind", "reason")
        return items, list(rejected), source.state, source.n_items
    if kind == "prelabel":
        (prompt,) = project.prompts.all()
        answers = prompt.predictions.order_by("item__ordinal")
        said = answers.values_list("item__external_id", "status", "label_index", "probabilities")
        return items, [tuple(bytes(one) if isinstance(one, memoryview) else one for one in row) for row in said]
    if kind == "train":
        (model,) = project.model_versions.all()
        return items, model.artefact_sha256, model.snapshot_sha256, model.metrics
    (run,) = project.runs.filter(kind="export")
    return items, exported(run.result)


def exported(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    folder = Path(result["folder"])
    (name,) = (file["name"] for file in result["files"] if file["name"].endswith(".jsonl"))
    rows = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    visible = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert visible == {*(file["name"] for file in result["files"]), result["manifest"]}
    # Ids and people's ids are random; all else is the same.
    return [{key: value for key, value in row.items() if key not in ("id", "annotators", "labeled_at")} for row in rows]
