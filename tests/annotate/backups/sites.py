"""Sites to be backed up, and archives made by hand."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from django.db import connection, connections

from annotate.backups import archive
from annotate.backups.archive import Manifest
from annotate.dataset import export
from annotate.errors import GoldloopError
from annotate.imports import ingest, uploads
from annotate.labeling import answers, leases
from annotate.learning import delivery
from annotate.models import Label, Project, User
from annotate.models.project import Role
from annotate.money import budgets
from annotate.silver import connections as servers
from benchmarks.web_project import open_round
from tests.factories import LABELS, make_connection, make_member, make_project, owner_of, rows_of, write_jsonl


def make_site(folder: Path, n: int = 80) -> Project:
    """A project with silver, an export, an upload, an LLM server, prices, and an open round of all its items."""
    project = make_project(human_price_micros=7)
    owner = owner_of(project)
    rows = [{**row, "machine": LABELS[place % 3]} for place, row in enumerate(rows_of(n))]
    ingest.import_items(project=project, path=write_jsonl(folder / "in.jsonl", rows), by=owner, silver_field="machine")
    sent = b"id,text\n" + b"".join(b"%d,text %d\n" % (place, place) for place in range(20))
    uploads.receive(project=project, by=owner, file_name="later.csv", chunks=[sent])
    User.objects.filter(pk=owner.pk).update(is_site_owner=True)
    owner.refresh_from_db()
    server = make_connection(owner)
    servers.lend(connection=server, project=project, by=owner)
    budgets.set_cap(project=project, kind="human", cap_micros=10**9, by=owner)
    export.export(delivered=delivery.current(project=project, by=owner).row, by=owner)
    open_round(project, owner, n)
    return project


class People:
    """Twenty people who label at once, in threads, until they are told to stop."""

    def __init__(self, project: Project, n: int = 20) -> None:
        self.project, self.acknowledged, self.stops = project, list[str](), False
        self.label = Label.objects.filter(schema__project=project).first()
        self._people = [make_member(project, f"Ann{number}", Role.ANNOTATOR) for number in range(n)]

    def __enter__(self):
        self._pool = ThreadPoolExecutor(len(self._people))
        self._working = [self._pool.submit(self._work, person) for person in self._people]
        return self

    def __exit__(self, *_):
        self.stops = True
        for one in self._working:
            one.result()
        self._pool.shutdown()

    def _work(self, person: User) -> None:
        try:
            while not self.stops:
                some = leases.lease_next(project=self.project, annotator=person)
                if not some:
                    return
                held = some[0]
                key = f"{person.pk}-{held.pk}"
                try:
                    answers.submit(
                        lease_id=held.public_id, project=self.project, by=person, key=key,
                        answer=answers.Answer(label=self.label, seconds=1.0),
                    )  # fmt: skip
                    self.acknowledged.append(key)
                except GoldloopError:  # somebody took it over
                    continue
        finally:
            connections.close_all()


def own_archive(path: Path, change=lambda manifest: manifest, contents=None, database=None) -> Path:
    """A backup made by hand of a database that has had one migration; `contents`: what is written instead."""
    copy = path.with_name("copy.sqlite3")
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(copy)) as made:
        made.execute("CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT)")
        made.execute("INSERT INTO django_migrations (app, name) VALUES ('annotate', '0001_initial')")
        made.commit()
    sources = {
        "secrets.json": b'{"secrets": {}}',
        "files/uploads/a": b"a file " * 100,
        "exports/demo/b.csv": b"another",
        "database.sqlite3": copy.read_bytes(),
    }
    described = {"salt": "AAAA", "in_force": [], "where": "inside", "is_encrypted": False, "n_encrypted": 0}
    manifest = Manifest(
        made_at="2026-01-02T03:04:05+00:00", database={"kind": "sqlite", "member": "database.sqlite3", "server": "3"},
        migrations=["annotate.0001_initial"], counts={"projects": 0}, secrets=described,
        members=archive.members_of(sources, [archive.measure(one) for one in sources.values()]),
    )  # fmt: skip
    changed = change(manifest)
    inside = zip(changed.members, sources.values(), strict=True)  # a member with another name keeps its content
    written = {member.name: (contents or {}).get(member.name, content) for member, content in inside}
    file = BytesIO()
    archive.write(file, changed, written, packs=path.suffix == ".gz", show=lambda _done, _total: None)
    path.write_bytes(file.getvalue())
    return path


def renamed(manifest: Manifest, before: str, after: str) -> Manifest:
    """The manifest with another name for one member."""
    members = [replace(one, name=after) if one.name == before else one for one in manifest.members]
    return replace(manifest, members=members)


def is_on(vendor: str) -> bool:
    return connection.vendor == vendor
