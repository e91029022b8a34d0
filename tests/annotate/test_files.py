"""Stored files: whole or absent, and what killed writers left is cleared away in time."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from annotate import files
from annotate.errors import FileDamaged


def test_what_breaks_off_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), files.whole(tmp_path / "a.txt") as draft:
        draft.write(b"half")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_killed_writers_go_after_a_day_and_younger_ones_stay(tmp_path):
    old, young, other = (tmp_path / name for name in (".a.txt.abcdefgh", ".a.txt.12345678", ".b.txt.abcdefgh"))
    for path in (old, young, other):
        path.write_bytes(b"left")
    for path in (old, other):
        os.utime(path, (time.time() - 25 * 3_600,) * 2)
    files.write_whole(tmp_path / "a.txt", [b"all"])
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", young.name, other.name}


class TestNames:
    def test_exports_lie_where_people_look_for_them_and_all_else_in_the_store(self, settings, tmp_path):
        settings.VAR_DIR, settings.FILES_DIR = tmp_path, tmp_path / "elsewhere"
        assert files.path_of("exports/mails/a.csv") == tmp_path / "exports" / "mails" / "a.csv"
        assert files.path_of("projects/exports/a") == tmp_path / "elsewhere" / "projects" / "exports" / "a"

    @pytest.mark.parametrize(
        "name",
        ["../a", "/etc/passwd", "a/../../b", "exports/../secret_key", "exports/../../a", "exports/../exports2/a"],
    )
    def test_they_cannot_leave_the_store(self, settings, tmp_path, name):
        settings.VAR_DIR = tmp_path
        with pytest.raises(FileDamaged, match="outside"):
            files.path_of(name)

    def test_a_link_does_not_lead_out_either(self, settings, tmp_path):
        settings.VAR_DIR = tmp_path
        (tmp_path / "exports").mkdir()
        (tmp_path / "exports" / "mails").symlink_to("/etc")
        with pytest.raises(FileDamaged, match="outside"):
            files.path_of("exports/mails/passwd")


class TestReading:
    def test_it_is_read_as_it_was_saved(self):
        files.save("a/b", [b"one", b"two"])
        with files.opened("a/b") as file:
            assert file.read() == b"onetwo"
        assert (files.size("a/b"), files.size("a/c")) == (6, None)
        with files.mapped("a/b") as known:
            assert known[3:] == b"two"

    def test_what_is_mapped_cannot_be_changed(self):
        files.save("a", [b"one"])
        with files.mapped("a") as known, pytest.raises(TypeError):
            known[0] = 1


class TestGrowing:
    def test_it_goes_on_where_it_ended(self):
        for record in (b"abcd", b"efgh"):
            with files.growing("v/a.f32", n_bytes_each=4) as rows:
                rows.append(record)
        assert files.path_of("v/a.f32").read_bytes() == b"abcdefgh"
        with files.growing("v/a.f32", n_bytes_each=4) as rows:
            assert rows.n_records == 2

    def test_what_a_killed_process_left_of_a_record_is_cut_off(self):
        with files.growing("a.f32", n_bytes_each=4) as rows:
            rows.append(b"abcdef")
        with files.growing("a.f32", n_bytes_each=4) as rows:
            assert rows.n_records == 1
            rows.append(b"1234")
        assert files.path_of("a.f32").read_bytes() == b"abcd1234"

    def test_one_at_a_time_appends(self):
        def try_to_lock():
            with files.path_of("a.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

        with files.growing("a.f32", n_bytes_each=4), pytest.raises(BlockingIOError):
            try_to_lock()
        try_to_lock()


class TestFolder:
    def test_in_the_store_it_is_known_by_its_name(self, settings, tmp_path):
        settings.VAR_DIR = tmp_path
        folder = files.Folder.in_store("exports/mails")
        assert (folder.name, folder.path) == ("exports/mails", tmp_path / "exports" / "mails")

    def test_elsewhere_it_is_known_by_its_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        folder = files.Folder.outside(Path("exports"))
        assert (folder.name, folder.path) == (str(tmp_path / "exports"), Path("exports"))
