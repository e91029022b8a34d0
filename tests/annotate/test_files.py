"""Stored files: whole or absent, and what killed writers left is cleared away in time."""

import os
import time

import pytest

from annotate import files


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
