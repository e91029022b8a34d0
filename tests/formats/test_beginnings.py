"""A beginning is bounded in bytes, stored and unpacked, and readers get no more of it than its clock allows."""

import gzip
import io

import pytest

from annotate.formats import beginnings, streams
from annotate.formats.beginnings import Beginning, Clock

LINE = b"a line that says something\n"


class Source(io.BytesIO):
    """A file that counts the bytes that were read of it."""

    n_read = 0

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        self.n_read += len(part)
        return part


def begin(content: bytes, most: int = 1_000, seconds: float = 60.0) -> Beginning:
    start, damage = beginnings.beginning(io.BytesIO(content), most=most, reading=Clock(seconds))
    assert damage is None
    return start


def test_a_short_file_is_whole():
    for stored in (LINE, gzip.compress(LINE), gzip.compress(LINE[:5]) + gzip.compress(LINE[5:]) + bytes(9)):
        start = begin(stored)
        assert (start.getvalue(), start.is_whole, start.share) == (LINE, True, 1.0)


def test_of_a_long_one_there_is_the_beginning():
    start = begin(LINE * 1_000)
    assert start.getvalue() == (LINE * 1_000)[:1_000] and not start.is_whole
    assert start.share == pytest.approx(1_000 / len(LINE * 1_000))


def test_of_a_bomb_only_so_much_is_unpacked():
    stored = gzip.compress(bytes(50_000_000))
    start = begin(stored)
    assert start.n_bytes == 1_000 and not start.is_whole and start.share < 1
    assert beginnings.stated_bytes(io.BytesIO(stored)) == 50_000_000


@pytest.mark.parametrize(
    "stored",
    [gzip.compress(b"") * 9_000, b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * 200_000],
    ids=["members", "name"],
)
def test_of_what_unpacks_to_nothing_only_so_much_is_read(stored):
    file = Source(stored)
    start, damage = beginnings.beginning(file, most=100_000, reading=Clock(60.0))
    assert file.n_read <= 100_001 and not start.is_whole and damage is None and start.n_bytes == 0


@pytest.mark.parametrize(
    "stored", [gzip.compress(LINE * 100)[:-20], gzip.compress(LINE) + b"garbage"], ids=["cut", "followed"]
)
def test_damage_is_known(stored):
    _, damage = beginnings.beginning(io.BytesIO(stored), most=100_000, reading=Clock(60.0))
    assert isinstance(damage, streams.DAMAGE)


def test_when_the_time_is_over_readers_get_no_more_and_it_counts_as_not_read():
    start = begin(LINE * 30_000, most=1 << 20, seconds=-1.0)
    assert b"".join(streams.blocks(start)) == (LINE * 30_000)[: start.n_read]
    assert 0 < start.n_read < start.n_bytes and not start.is_whole and 0 < start.share < 1
