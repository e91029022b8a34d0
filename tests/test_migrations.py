"""A database as the previous version left it, with its files, is migrated and back: whatever it says stands."""

import hashlib
import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from unittest import mock

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

BEFORE, AFTER = "0010_fewer_indexes", "0018_pool_revisions_so_far"
BY_HAND = {"by_hand": True}
# Migrations that have landed never change: the slow suite tests these, each run that of the newest.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("events_can_be_flushed"),
]


def migrate(name):
    """The models as they are then."""
    executor = MigrationExecutor(connection)
    executor.migrate([("annotate", name)])
    return MigrationExecutor(connection).loader.project_state([("annotate", name)]).apps


@pytest.fixture
def apps(settings, tmp_path):
    """The models of the previous version; afterwards the database is as other tests need it."""
    settings.VAR_DIR = tmp_path
    yield migrate(BEFORE)
    executor = MigrationExecutor(connection)
    executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] == "annotate"])


def moment(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-30T{clock}").replace(tzinfo=UTC)


def now_is(clock: str) -> AbstractContextManager[object]:
    """What `auto_now_add` takes for now."""
    return mock.patch("django.utils.timezone.now", return_value=moment(clock))


class Past:
    """One project of the previous version, whose rows are made one by one."""

    def __init__(self, apps, slug):
        self._get = lambda name: apps.get_model("annotate", name)
        self.owner = self._get("User").objects.create(email=f"olga@{slug}.example")
        self.project = self._get("Project").objects.create(
            slug=slug, name=slug, key=b"k", key_commitment="c", seed=1, next_ordinal=0
        )
        self.schema = self._get("LabelSchema").objects.create(project=self.project, version=1)

    def event(self, clock, kind, **data):
        with now_is(clock):
            return self._get("Event").objects.create(project=self.project, actor=self.owner, kind=kind, data=data)

    def run(self, kind, created, started, finished, *, parameters=BY_HAND, result=None, state="succeeded"):
        times = {
            "started_at": started and moment(started),
            "finished_at": finished and moment(finished),
            "lease_until": moment(created) if state == "running" else None,
            "heartbeat_at": moment(created) if state == "running" else None,
        }
        values = {"kind": kind, "parameters": parameters, "result": result or {}, "state": state, **times}
        with now_is(created):
            return self._get("Run").objects.create(project=self.project, started_by=self.owner, **values)

    def source(self, created, finished, **fields):
        values = {"file_name": "a.jsonl", "file_sha256": "", "state": "complete", "finished_at": moment(finished)}
        with now_is(created):
            return self._get("Import").objects.create(project=self.project, **{**values, **fields})

    def round(self, index, opened, closed=None):
        values = {"batch": 1, "shares": {}, "strategy": "margin", "seed": 1, "state": "closed" if closed else "open"}
        with now_is(opened):
            return self._get("Round").objects.create(
                project=self.project, index=index, closed_at=closed and moment(closed), **values
            )

    def model(self, version, created):
        files = dict.fromkeys(("snapshot_file", "snapshot_sha256", "artefact_file", "artefact_sha256"), "")
        values = {"schema": self.schema, "encoder": "e", "config": {}, "seed": 1, "metrics": {}, **files}
        with now_is(created):
            return self._get("ModelVersion").objects.create(project=self.project, version=version, **values)

    def delivered(self, version):
        values = {"schema": self.schema, "chooser": "llm", "delivery": {}, "last_ordinal": 0, "n_pool": 0, "n_in_a": 0}
        return self._get("DeliveredVersion").objects.create(
            project=self.project, version=version, file="", file_sha256="", fingerprint=str(version), **values
        )


def exported(folder, slug, version):
    """Files as an export writes them: (checksum of the manifest, what it says of the data)."""
    folder.mkdir(parents=True, exist_ok=True)
    content = b'{"id":1}\n'
    (folder / f"{slug}-v{version}.jsonl").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    file = {"name": f"{slug}-v{version}.jsonl", "format": "jsonl", "n_bytes": len(content), "sha256": sha256}
    manifest = json.dumps({"files": [file]}).encode()
    (folder / f"{slug}-v{version}.manifest.json").write_bytes(manifest)
    kept = {"name": file["name"], "bytes": len(content), "sha256": sha256}
    return hashlib.sha256(manifest).hexdigest(), kept


CREATED = {  # runs of the demo
    "import": ["11:24:46.925682"],
    "draw": ["11:25:05.932536", "11:25:11.903342", "11:25:18.399071"],
    "train": ["11:25:08.899717", "11:25:14.870117"],
}


@pytest.fixture
def demo(apps, tmp_path):
    """As `manage.py demo` left it: all runs performed by the command, with the times of one that was watched."""
    past = Past(apps, "demo")
    past.run("import", "11:24:46.925682", "11:24:46.925", "11:24:47.051")
    past.source("11:24:46.944563", "11:24:47.043")
    past.moved = past.event("11:24:47.045082", "import.completed", n_items=1500)
    past.run("prelabel", "11:24:47.062569", "11:24:47.062", "11:25:05.905", result={"prompt": 1, "n_items": 1500})
    past.run("draw", "11:25:05.932536", "11:25:05.932", "11:25:06.099")
    past.round(1, "11:25:06.065041", "11:25:08.869")
    past.run("train", "11:25:08.899717", "11:25:08.899", "11:25:11.303")
    past.model(1, "11:25:11.292266")
    past.run("estimate", "11:25:11.313138", "11:25:11.312", "11:25:11.871")
    past.run("draw", "11:25:11.903342", "11:25:11.898", "11:25:11.987")
    past.round(2, "11:25:11.948471", "11:25:14.846")
    past.run("train", "11:25:14.870117", "11:25:14.869", "11:25:17.559")
    past.model(2, "11:25:17.545556")
    for version in (1, 2, 3):
        past.delivered(version)
    sha256, past.file = exported(tmp_path / "exports" / "demo", "demo", 3)
    past.event("11:25:18.387334", "export.completed", version=3, n_rows=1500, manifest_sha256=sha256)
    past.run("draw", "11:25:18.399071", "11:25:18.394", "11:25:18.455")
    past.round(3, "11:25:18.438855")
    return past


@pytest.fixture
def site(apps, tmp_path):
    """As pages and workers left it, with a command or two in between, and two runs under way."""
    past = Past(apps, "site")
    past.run("import", "09:00:00", "09:00:05", "09:00:09.5", parameters={"upload": "u"}, result={"n_items": 3})
    past.source("09:00:06", "09:00:09.499")
    past.run("draw", "09:10:00", "09:10:01", "09:10:09", parameters={"batch": 5}, result={"round": 1})
    past.round(1, "09:10:08", "09:30:00")
    past.run("close", "09:29:00", "09:29:59", "09:30:00.5", parameters={"force": False}, result={"round": 1})
    past.round(2, "09:40:00", "09:50:00")  # both by commands ...
    past.run("close", "09:45:00", "09:51:00", "09:51:01", parameters={"force": False}, state="failed")
    past.source("09:55:00", "09:56:00", file_name="corrections", options={"kind": "corrections"})
    past.run("train", "10:00:00", "10:00:01", None, parameters={}, state="running")
    past.model(1, "10:00:30")  # ... and this one by a worker that was killed before it could say so
    past.delivered(1)
    folder = tmp_path / "exports" / "site"
    sha256, past.file = exported(folder, "site", 1)
    result = {"version": 1, "folder": str(folder), "manifest": "site-v1.manifest.json", "files": [past.file]}
    wanted = {"formats": ["jsonl"]}
    past.run("export", "10:10:00", "10:10:01", "10:10:09.002", parameters=wanted, result=result)
    past.event("10:10:09.0025", "export.completed", version=1, n_rows=3, manifest_sha256=sha256)
    past.event("10:20:00", "export.completed", version=1, n_rows=3, manifest_sha256="of a file elsewhere")
    past.moved = past.event("10:30:00", "items.withdrawn", n_items=1, items=["x"])
    past.event("10:40:00", "item.brought_back", item="x")
    return past


def rows(apps, past, model, *fields):
    """Values of the project's rows, in the order in which they were made; one value stands for itself."""
    found = apps.get_model("annotate", model).objects.filter(project=past.project.pk).order_by("pk")
    return list(found.values_list(*fields, flat=len(fields) == 1))


def made_by(apps, past, model):
    """Kind and time of the run that made each row of the model."""
    return rows(apps, past, model, "run__kind", "run__created_at")


def assert_append_only(apps):
    events = apps.get_model("annotate", "Event").objects
    assert events.exists()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        events.update(kind="something else")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        events.all()._raw_delete("default")


EXPORT = ("delivered_version__version", "run__kind", "folder", "manifest", "n_rows", "files", "created_by__email")


def test_all_that_the_demo_left_stands(demo):
    new = migrate(AFTER)
    assert set(rows(new, demo, "Run", "performer")) == {"command"}
    assert rows(new, demo, "Run", "parameters") == [{}] * 8
    for model, kind in (("Import", "import"), ("Round", "draw"), ("ModelVersion", "train")):
        assert made_by(new, demo, model) == [(kind, moment(clock)) for clock in CREATED[kind]]
    assert rows(new, demo, "Round", "closing_run") == [None] * 3  # the command closes without a run
    files = [{**demo.file, "format": "jsonl"}]
    assert rows(new, demo, "Export", *EXPORT) == [
        (3, None, "exports/demo", "demo-v3.manifest.json", 1500, files, "olga@demo.example")
    ]
    assert rows(new, demo, "Export", "created_at") == [moment("11:25:18.387334")]
    assert revision(new, demo) == demo.moved.pk


def test_all_that_pages_and_workers_left_stands(site):
    new = migrate(AFTER)
    assert set(rows(new, site, "Run", "performer")) == {"worker"}
    assert rows(new, site, "Run", "parameters")[:2] == [{"upload": "u"}, {"batch": 5}]
    assert rows(new, site, "Import", "run__kind") == ["import", None]  # corrections have none
    assert rows(new, site, "Round", "run__kind") == ["draw", None]  # a command drew the second one
    assert rows(new, site, "Round", "closing_run__kind")[0] == "close"
    assert rows(new, site, "ModelVersion", "run__state") == ["running"]  # its next attempt finds what it made
    assert rows(new, site, "Export", *EXPORT[:6]) == [
        (1, "export", "exports/site", "site-v1.manifest.json", 3, [{**site.file, "format": "jsonl"}]),
        (1, None, "", "", 3, []),  # a command wrote it somewhere else
    ]
    assert rows(new, site, "Export", "manifest_sha256")[1] == "of a file elsewhere"
    assert revision(new, site) == site.moved.pk


def test_an_export_whose_files_were_changed_since_is_a_row_without_them(demo, tmp_path):
    (tmp_path / "exports" / "demo" / "demo-v3.manifest.json").write_text("{}")
    assert rows(migrate(AFTER), demo, "Export", *EXPORT) == [(3, None, "", "", 1500, [], "olga@demo.example")]


def test_it_goes_back_and_comes_again(site, demo):
    old_facts = [
        ("Run", "kind", "state", "parameters", "result"),
        ("Round", "index", "state"),
        ("Event", "kind", "data", "at"),
    ]
    new_facts = [("Run", "performer", "parameters"), ("Round", "run", "closing_run"), ("Export", *EXPORT)]

    def facts(apps, names):
        return [rows(apps, past, *name) for past in (demo, site) for name in names]

    before, after = facts(migrate(BEFORE), old_facts), facts(new := migrate(AFTER), new_facts)
    assert_append_only(new)
    assert facts(old := migrate(BEFORE), old_facts) == before
    assert_append_only(old)
    assert facts(migrate(AFTER), new_facts) == after


def revision(apps, past):
    """What delivered versions are known by: the number of the last event that moved items, as before."""
    return apps.get_model("annotate", "Project").objects.get(pk=past.project.pk).pool_revision
