"""Taking a backup: where it may lie, what must be in it, and what waits for it."""

import os
import resource
import threading
from contextlib import contextmanager

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from annotate import files, restored
from annotate.backups import stored, taking
from annotate.backups.checking import check
from annotate.dataset import export
from annotate.errors import Conflict, FileDamaged, InvalidInput
from annotate.imports import uploads
from annotate.models import DeliveredVersion, Export, Upload
from tests.annotate.backups.sites import make_site
from tests.factories import make_project, owner_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("events_can_be_flushed")]


@pytest.fixture
def folder(tmp_path, settings):
    """Where backups go; the site's own folders are beside it."""
    settings.VAR_DIR = tmp_path / "site"
    settings.FILES_DIR = tmp_path / "site" / "files"
    settings.VAR_DIR.mkdir()
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def send(project) -> Upload:
    return uploads.receive(project=project, by=owner_of(project), file_name="a.csv", chunks=[b"id,text\n1,a\n"])


def in_folder(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def no_file_above(n_bytes):
    """What a full disk does, to this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.portable
class TestWhere:
    def test_it_overwrites_nothing(self, folder):
        (folder / "a.tar").write_text("older")
        with pytest.raises(Conflict, match="already"):
            taking.take(folder / "a.tar")
        assert (folder / "a.tar").read_text() == "older"

    @pytest.mark.parametrize("inside", ["files/a.tar", "exports/a.tar"])
    def test_it_lies_in_no_folder_that_is_part_of_it(self, folder, settings, inside):
        (settings.VAR_DIR / inside).parent.mkdir()
        with pytest.raises(InvalidInput, match="itself part of the backup"):
            taking.take(settings.VAR_DIR / inside)

    def test_there_must_be_a_folder(self, folder):
        with pytest.raises(InvalidInput, match="There is no folder"):
            taking.take(folder / "none" / "a.tar")

    @pytest.mark.parametrize("mark", [restored.mark_unfinished, restored.mark_written])
    def test_there_must_be_no_restore_that_has_not_ended(self, folder, mark):
        mark()
        with pytest.raises(Conflict, match="did not finish|has not passed"):
            taking.take(folder / "a.tar", secrets_to=folder / "secrets")
        assert in_folder(folder) == []


class TestWhole:
    def test_it_is_for_its_owner_and_holds_what_rows_name(self, folder):
        sent, gone = send(make_project()), send(make_project())
        uploads.discard(upload=gone, by=owner_of(gone.project))
        files.save(gone.file, [b"a deletion that was held back"])
        manifest = taking.take(folder / "a.tar.gz", secrets_to=folder / "secrets")
        assert (folder / "a.tar.gz").stat().st_mode & 0o777 == 0o600
        assert [one.name for one in manifest.members if "uploads" in one.name] == [f"files/{sent.file}"]
        assert check(folder / "a.tar.gz").secrets is None
        assert in_folder(folder) == ["a.tar.gz", "secrets"]

    @pytest.mark.portable
    def test_a_file_that_differs_from_its_row_is_told(self, folder):
        sent = send(make_project())
        files.path_of(sent.file).write_text("changed")
        with pytest.raises(FileDamaged, match=sent.public_id):
            taking.take(folder / "a.tar")
        assert in_folder(folder) == []
        assert taking.take(folder / "a.tar", despite_damage=True).damaged == [sent.file]

    @pytest.mark.portable
    def test_a_file_that_is_missing_is_told(self, folder):
        sent = send(make_project())
        files.remove(sent.file)
        with pytest.raises(FileDamaged, match=sent.public_id):
            taking.take(folder / "a.tar")
        assert taking.take(folder / "a.tar", despite_damage=True).damaged == [sent.file]

    def test_files_with_names_that_no_archive_may_hold_are_not_taken(self, folder, settings):
        for name in ("a\nb", "a\\b", os.fsdecode(b"a\xff"), ".a"):
            files.save(f"vectors/{name}", [b"not the site's"])
        taking.take(folder / "a.tar")
        assert [one.name for one in check(folder / "a.tar").manifest.members if "files/" in one.name] == []

    @pytest.mark.portable
    def test_exports_elsewhere_are_named_as_left_out(self, folder, tmp_path, capsys):
        project = make_site(tmp_path, 6)
        export.export(delivered=DeliveredVersion.objects.get(), by=owner_of(project), directory=tmp_path / "mine")
        call_command("backup", str(folder / "a.tar"))
        assert f"not in the archive: exports in {tmp_path / 'mine'}" in capsys.readouterr().out
        names = [member.name for member in check(folder / "a.tar").manifest.members]
        assert [name for name in names if name.startswith("exports/")] == [
            f"exports/{project.slug}/{name}"
            for name in sorted(path.name for path in files.path_of(f"exports/{project.slug}").iterdir())
        ]

    @pytest.mark.portable
    def test_each_file_that_rows_name_is_known(self):
        """A model that names a stored file with its checksum belongs into stored.named_files."""
        named = set()
        for model in apps.get_app_config("annotate").get_models():
            names = {field.name for field in model._meta.get_fields()}
            for one in (name.removesuffix("_sha256") for name in names if name.endswith("_sha256")):
                named |= {(model.__name__, name) for name in (one, f"{one}_file") if name in names}
        assert named == {
            ("Upload", "file"), ("DeliveredVersion", "file"), ("Export", "manifest"),
            ("ModelVersion", "snapshot_file"), ("ModelVersion", "artefact_file"),
        }  # fmt: skip


class TestFailure:
    @pytest.mark.parametrize("n_bytes", [20_000, None])
    def test_a_full_disk_leaves_nothing_and_is_said(self, folder, n_bytes, tmp_path):
        send(make_project())
        if n_bytes is None:  # room for the database, not for the archive of it
            taking.take(tmp_path / "measured.tar")
            n_bytes = check(tmp_path / "measured.tar").manifest.members[-1].n_bytes + 512
        with no_file_above(n_bytes), pytest.raises(Conflict, match="no room"):
            taking.take(folder / "a.tar", secrets_to=folder / "secrets")
        assert in_folder(folder) == []

    @pytest.mark.portable
    def test_what_a_killed_one_left_is_cleared_away(self, folder):
        dead, alive = folder / ".goldloop-backup-1", folder / ".goldloop-backup-2"
        for one in (dead, alive):
            one.mkdir()
            (one / "lock").touch()
        with (alive / "lock").open() as lock:
            assert files._locked(lock.fileno(), 2)  # LOCK_EX: another site's backup into the same folder
            taking.take(folder / "a.tar")
        assert in_folder(folder) == [".goldloop-backup-2", "a.tar"]

    @pytest.mark.portable
    def test_one_that_was_stopped_leaves_nothing(self, folder, monkeypatch):
        def stopped(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("annotate.backups.archive.write", stopped)
        with pytest.raises(CommandError, match="Stopped"):
            call_command("backup", str(folder / "a.tar"))
        assert in_folder(folder) == []


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="there is no client")
class TestClient:
    def test_one_that_is_older_than_the_server_is_named_with_it(self, folder, tmp_path, monkeypatch):
        self.pretend(tmp_path / "bin", "pg_dump", "11.9")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        server = connection.pg_version // 10_000
        with pytest.raises(Conflict, match=f"pg_dump is of version 11, and PostgreSQL {server} needs"):
            taking.take(folder / "a.tar")
        assert in_folder(folder) == []

    def test_none_is_told(self, folder, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Conflict, match="There is no pg_dump"):
            taking.take(folder / "a.tar")

    def pretend(self, folder, name, version):
        folder.mkdir()
        (folder / name).write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version} (Debian)"\n')
        (folder / name).chmod(0o755)


@pytest.mark.portable
class TestHold:
    """While a backup is taken nothing that it needs is deleted or replaced."""

    @pytest.fixture
    def site(self, folder, tmp_path):
        return make_site(tmp_path, 6)

    def test_a_discarded_file_goes_after_it(self, site):
        sent = Upload.objects.get()
        with files.backup_hold():
            uploads.discard(upload=sent, by=owner_of(site))
            assert files.size(sent.file)
        assert Upload.objects.get().deleted_at
        uploads.sweep()
        assert files.size(sent.file) is None

    def test_an_export_that_replaces_another_waits(self, site):
        delivered, waits = DeliveredVersion.objects.get(), threading.Event()
        before = {path.name: path.stat().st_ino for path in files.path_of(f"exports/{site.slug}").iterdir()}
        done: list[object] = []

        def again():
            try:
                beats = iter([None, None])  # of the rows, and of the first wait
                show = lambda *_: next(beats, waits) and waits.set()  # noqa: E731
                done.append(export.export(delivered=delivered, by=owner_of(site), show=show))
            finally:
                connection.close()

        thread = threading.Thread(target=again)
        with files.backup_hold():
            thread.start()
            assert waits.wait(30)
            folder = files.path_of(f"exports/{site.slug}")
            assert {p.name: p.stat().st_ino for p in folder.iterdir() if not p.name.startswith(".")} == before
            assert Export.objects.count() == 1
        thread.join(30)
        assert done
        assert Export.objects.count() == 2

    def test_it_waits_for_no_backup_that_shows_no_progress(self, site):
        with files.backup_hold():
            os.utime(files.path_of(files.HOLD), (0, 0))
            assert files.remove(Upload.objects.get().file)

    def test_there_is_one_backup_at_a_time(self, folder, monkeypatch):
        monkeypatch.setattr(files, "_HOLD_WAIT_SECONDS", 0)
        with files.backup_hold(), pytest.raises(Conflict, match="Another backup"):
            taking.take(folder / "a.tar")


def test_named_files_lie_where_the_archive_says(tmp_path):
    assert stored.NamedFile("uploads/x", "").member == "files/uploads/x"
    assert stored.NamedFile("exports/x", "").member == "exports/x"
