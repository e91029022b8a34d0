"""A site that is put back elsewhere from a backup that was taken while twenty people labeled."""

import os
import sqlite3
from contextlib import closing

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from annotate import files, restored
from annotate.backups import restoring, secrets, taking
from annotate.errors import Conflict, FileDamaged, InvalidInput
from annotate.models import Connection, Export, Upload
from annotate.money import budgets, ledger
from annotate.silver import connections
from tests import services
from tests.annotate.backups.sites import People, make_site, own_archive
from tests.factories import LLM_KEY, make_connection, make_project, make_user, owner_of
from tests.processes import run_manage
from tests.rows import make_run
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("events_can_be_flushed")]


@pytest.fixture
def folder(tmp_path, settings):
    settings.VAR_DIR = tmp_path / "site"
    settings.FILES_DIR = tmp_path / "site" / "files"
    settings.VAR_DIR.mkdir()
    (settings.VAR_DIR / "secret_key").write_text("as settings make it when the site first starts")
    return tmp_path


@pytest.fixture
def elsewhere(tmp_path):
    """The variables of another machine, with an empty database of the kind that the tests run on."""
    place = tmp_path / "elsewhere"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    given = {**kept, "VAR_DIR": str(place), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if connection.vendor == "sqlite":
        yield {**given, "DATABASE_URL": f"sqlite:///{place}/restored.sqlite3"}
        return
    url = services.create_database(os.environ["DATABASE_URL"])
    yield {**given, "DATABASE_URL": url}
    services.drop_database(url)


def rows(site, sql):
    """What the restored database holds, read without this product."""
    url = site["DATABASE_URL"]
    opened = sqlite3.connect(url[len("sqlite:///") :]) if url.startswith("sqlite") else psycopg.connect(url)
    with closing(opened) as database:
        return database.cursor().execute(sql).fetchall()


def in_the_middle_of_everything(project):
    """A session, a run that pays with a call in flight, a paid run that waits, and a command's run."""
    session = SessionStore()
    session.create()
    connections.choose(project=project, connection=Connection.objects.get(), by=owner_of(project))
    run = make_run(project, "prelabel", "running", host="another", pid=1)
    budget = budgets.set_cap(project=project, kind="machine", cap_micros=1_000, by=owner_of(project))
    ledger.reserve(budget, [ledger.Ask(100)], run=run)
    make_run(project, "train", "running", host="another", pid=1)
    make_run(project, "export", "running", host="another", pid=1, performer="command")


def test_it_is_whole_and_quiet_elsewhere(folder, elsewhere):
    """I-11. The restore itself ends with `verify`, which reads every key, file, export and sum."""
    project = make_site(folder)
    in_the_middle_of_everything(project)
    with People(project) as people:
        wait_until(lambda: len(people.acknowledged) >= 15)
        before = list(people.acknowledged)
        call_command("backup", str(folder / "a.tar"), verbosity=0)
    assert len(people.acknowledged) > len(before)  # they labeled meanwhile

    done = run_manage("restore", str(folder / "a.tar"), environment=elsewhere)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything that was checked holds" in done.stdout
    stored = {key for (key,) in rows(elsewhere, "SELECT idempotency_key FROM annotate_annotation")}
    assert set(before) <= stored
    assert rows(elsewhere, "SELECT count(*) FROM annotate_lease WHERE ended_at IS NULL") == [(0,)]
    assert rows(elsewhere, "SELECT count(*) FROM django_session") == [(0,)]
    assert rows(elsewhere, "SELECT kind, state FROM annotate_run WHERE kind <> 'import' ORDER BY kind") == [
        ("export", "errored"), ("prelabel", "paused"), ("train", "queued"),
    ]  # fmt: skip
    assert rows(elsewhere, "SELECT reason FROM annotate_ledgerentry WHERE state = 'written_off'") == [
        ("In flight when the backup was taken.",)
    ]
    assert rows(elsewhere, "SELECT kind FROM annotate_event ORDER BY id DESC LIMIT 1") == [(restored.RESTORED,)]

    place = folder / "elsewhere"
    ((encrypted,),) = rows(elsewhere, "SELECT key_encrypted FROM annotate_connection")
    assert Fernet((place / "encryption_key").read_text()).decrypt(bytes(encrypted)).decode() == LLM_KEY
    assert (place / "secret_key").read_text() == (folder / "site" / "secret_key").read_text()
    assert (place / "encryption_key").stat().st_mode & 0o777 == 0o600
    for name in [Upload.objects.get().file, *(f"{one.folder}/{one.manifest}" for one in Export.objects.all())]:
        there = place / name if name.startswith("exports/") else place / "files" / name
        assert there.read_bytes() == files.path_of(name).read_bytes()
    assert not (place / "restore.unfinished").exists()

    again = run_manage("restore", str(folder / "a.tar"), environment=elsewhere)
    assert again.returncode == 1
    assert "is not empty" in again.stderr


@pytest.mark.portable
class TestRefusal:
    """All of these before anything is written."""

    @pytest.fixture
    def own(self, folder, settings):
        """A backup of this kind of database, and an empty place for files."""
        make_connection(make_user("Olga", is_site_owner=True))
        taking.take(folder / "a.tar", secrets_to=folder / "secrets")
        (settings.VAR_DIR / "encryption_key").unlink()
        return folder / "a.tar"

    def refused(self, match, error=Conflict, **options):
        with pytest.raises(error, match=match):
            restoring.restore(**options)
        assert not restored.unfinished_mark().exists()

    def test_a_database_with_tables(self, own, folder):
        self.refused("has tables already", path=own, secrets_file=folder / "secrets")

    def test_another_kind_of_database(self, folder):
        other = {"sqlite": "PostgreSQL", "postgresql": "SQLite"}[connection.vendor]
        if other == "SQLite":
            self.refused("is of a site on SQLite", path=own_archive(folder / "x.tar"))
        else:
            manifest = taking.take(folder / "a.tar")
            assert manifest.database["kind"] == "sqlite"
            connection.vendor = "postgresql"
            try:
                self.refused("is of a site on SQLite, and DATABASE_URL names one on PostgreSQL", path=folder / "a.tar")
            finally:
                connection.vendor = "sqlite"

    def test_a_folder_with_files(self, own, settings):
        (settings.FILES_DIR / "mine").write_text("mine")
        self.refused("files is not empty", path=own, without_secrets=True)

    def test_another_encryption_key(self, own, folder, settings):
        (settings.VAR_DIR / "encryption_key").write_text("another")
        self.refused("holds another key", path=own, secrets_file=folder / "secrets")

    def test_a_restore_that_did_not_finish(self, own):
        restored.unfinished_mark().touch()
        with pytest.raises(Conflict, match="did not finish"):
            restoring.restore(own, without_secrets=True)
        with pytest.raises(CommandError, match="did not finish"):
            call_command("worker", once=True)

    def test_secrets_that_are_not_there(self, own, monkeypatch):
        self.empty(monkeypatch)
        self.refused("needs its secrets", InvalidInput, path=own)

    def test_secrets_of_another_backup(self, own, folder, monkeypatch):
        self.empty(monkeypatch)
        other = secrets.sealed({"FIELD_ENCRYPTION_KEYS": secrets_key(), "SECRET_KEY": "x"}, None)
        (folder / "other").write_bytes(other)
        self.refused("belong to another backup", InvalidInput, path=own, secrets_file=folder / "other")

    def test_a_wrong_passphrase(self, folder, monkeypatch):
        monkeypatch.setitem(secrets._SCRYPT, "n", 2)
        make_connection(make_user("Olga", is_site_owner=True))
        taking.take(folder / "b.tar", passphrase="correct horse battery")
        self.refused("does not open", InvalidInput, path=folder / "b.tar", passphrase="wrong horse battery")
        self.refused("give the passphrase", InvalidInput, path=folder / "b.tar")

    def test_a_wrong_key_in_the_environment(self, folder, settings, monkeypatch):
        settings.FIELD_ENCRYPTION_KEYS = [secrets_key()]
        make_connection(make_user("Olga", is_site_owner=True))
        taking.take(folder / "b.tar")
        settings.FIELD_ENCRYPTION_KEYS = [secrets_key()]
        self.empty(monkeypatch)
        self.refused("FIELD_ENCRYPTION_KEYS lacks a key", InvalidInput, path=folder / "b.tar")

    def empty(self, monkeypatch):
        monkeypatch.setattr(taking.DATABASES[connection.vendor], "is_empty", lambda: True)


def secrets_key():
    return Fernet.generate_key().decode()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the same code")
class TestFailure:
    @pytest.fixture
    def empty_site(self, folder, settings, monkeypatch):
        """An empty site on a file that is not there yet."""
        place = folder / "new"
        settings.VAR_DIR, settings.FILES_DIR = place, place / "files"
        monkeypatch.setattr("annotate.backups.sqlite._path", lambda: place / "new.sqlite3")
        return place

    def test_a_full_disk_leaves_nothing(self, folder, empty_site, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("annotate.backups.sqlite._write", full)
        monkeypatch.setattr("annotate.backups.sqlite.migrations_in", lambda _: ["annotate.0001_initial"])
        with pytest.raises(Conflict, match="no room"):
            restoring.restore(own_archive(folder / "a.tar"))
        left = [path for path in empty_site.rglob("*") if path.is_file() and path.name != files.HOLD]
        assert left == []

    def test_a_restore_that_was_killed_is_not_served(self, folder, empty_site, monkeypatch):
        monkeypatch.setattr("annotate.backups.restoring.call_command", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restoring.restore(own_archive(folder / "a.tar"))
        assert "did not finish" in restored.unfinished_sentence()


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the same code")
class TestVerify:
    """The mark stays until `verify` has passed: killed before, or with something wrong, the site is not served."""

    @pytest.fixture
    def archive(self, folder, settings, monkeypatch):
        """A backup, an empty place for it, and a project for `verify`."""
        place = folder / "new"
        settings.VAR_DIR, settings.FILES_DIR = place, place / "files"
        monkeypatch.setattr("annotate.backups.sqlite._path", lambda: place / "new.sqlite3")
        monkeypatch.setattr("annotate.backups.restoring.call_command", lambda *_, **__: None)
        make_project()
        return str(own_archive(folder / "a.tar"))

    def verify(self, monkeypatch, does):
        monkeypatch.setattr("annotate.management.commands.verify.Command.run", lambda *_: does())

    def stopped(self):
        raise KeyboardInterrupt

    def wrong(self):
        raise CommandError("a file is missing")

    def test_it_may_be_served_when_it_has_passed(self, archive, monkeypatch):
        seen = []
        self.verify(monkeypatch, lambda: seen.append(restored.unfinished_sentence()))
        call_command("restore", archive)
        assert "`verify` has not passed" in seen[0]
        assert restored.unfinished_sentence() == ""

    def test_stopped_it_can_be_verified_again(self, archive, monkeypatch):
        self.verify(monkeypatch, self.stopped)
        with pytest.raises(CommandError):
            call_command("restore", archive)
        for command in (
            ("serve", "--check", "--port", str(services.free_port())),
            ("worker",),
            ("restore", archive),
            ("restore", "--confirm"),
        ):
            with pytest.raises(CommandError, match="restore --verify"):
                call_command(*command)
        self.verify(monkeypatch, lambda: None)
        call_command("restore", "--verify")
        assert restored.unfinished_sentence() == ""

    def test_what_it_finds_is_said_with_how_to_go_on(self, archive, monkeypatch):
        self.verify(monkeypatch, self.wrong)
        with pytest.raises(CommandError, match=r"a file is missing\n.*in spite of what it finds"):
            call_command("restore", archive)
        with pytest.raises(CommandError, match="a file is missing"):
            call_command("restore", "--verify")
        assert restored.is_written()

    def test_only_a_restored_site_is_verified_again(self, archive):
        with pytest.raises(CommandError, match="No restored site waits"):
            call_command("restore", "--verify")
        restored.mark_unfinished()
        with pytest.raises(CommandError, match="did not finish"):
            call_command("restore", "--verify")
        assert restored.unfinished_mark().exists()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="there is no client")
def test_an_older_pg_restore_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "pg_restore").write_text('#!/bin/sh\necho "pg_restore (PostgreSQL) 12.1"\n')
    (tmp_path / "pg_restore").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Conflict, match="pg_restore is of version 12, and PostgreSQL 15 needs"):
        taking.DATABASES["postgresql"].obstacle({"server": 15, "client": 15})


@pytest.mark.parametrize("described", [{}, {"server": None, "client": 15}, {"server": 15, "client": "x"}])
def test_a_dump_of_an_unknown_version_is_refused(described):
    with pytest.raises(FileDamaged, match="manifest cannot be read"):
        taking.DATABASES["postgresql"].obstacle(described)


def test_lost_secrets_can_be_done_without(folder):
    assert secrets.missing({"salt": "AAAA", "in_force": []}, {}) == []
