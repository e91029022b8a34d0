"""Decides how much of a file is looked at while somebody waits: a beginning of bounded size, in bounded time.

Time is the CPU time of the thread, not what a clock on the wall says: what is found in a file must not depend on how
busy the machine is.
"""

import io
import os
import time
import zlib
from typing import BinaryIO

GZIP = b"\x1f\x8b"
_PART = 1 << 13  # bytes that are handed out before the clock is looked at again
_FED = 1 << 12  # stored bytes that are unpacked at once: what follows the end of a gzip member is copied each time


class Clock:
    """How much CPU time of this thread is left."""

    def __init__(self, seconds: float) -> None:
        self._until = time.thread_time() + seconds

    @property
    def left(self) -> float:
        """Seconds; negative when the time is over."""
        return self._until - time.thread_time()

    @property
    def is_over(self) -> bool:
        return self.left <= 0


class Beginning(io.BytesIO):
    """The first bytes of a file, unpacked and in memory: readers take it in the place of the file.

    Readers get bytes until `reading` is over; what they have not got then counts as not read.
    """

    def __init__(self, content: bytes, *, stamp: tuple[int, int], share: float, reading: Clock) -> None:
        super().__init__(content)
        self.n_bytes, self.stamp, self._share, self._reading = len(content), stamp, share, reading
        self._n_given: int | None = None  # of the content, by the pass that the clock stopped; None: it stopped none

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole file, and all of it was given to its readers."""
        return self._share >= 1 and self._n_given is None

    @property
    def share(self) -> float:
        """Which share of the stored bytes was read."""
        return self._share * self.n_read / self.n_bytes if self.n_bytes else 1.0

    @property
    def n_read(self) -> int:
        """How many bytes readers got, unpacked."""
        return self.n_bytes if self._n_given is None else self._n_given

    def again(self) -> "_Pass":
        """The content for one more pass, from its first byte."""
        return _Pass(self)

    def may_go_on(self, place: int) -> bool:
        """Whether a pass that stands at this place may go on; a pass that may not saw the beginning up to there."""
        if place == 0 or not self._reading.is_over or place >= self.n_bytes:
            return True
        self._n_given = max(self._n_given or 0, place)
        return False


class _Pass(io.RawIOBase):
    """One pass over a beginning."""

    def __init__(self, source: Beginning) -> None:
        self._source, self._content, self._place = source, source.getbuffer(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        if not self._source.may_go_on(self._place):
            return 0
        part = self._content[self._place : self._place + min(len(buffer), _PART)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)


def stated_bytes(file: BinaryIO) -> int:
    """How many bytes the file says that it has when it is unpacked; 0 where it says nothing, or too little.

    A gzip file ends with that number, modulo 2**32 and of its last member alone (RFC 1952, section 2.3.1): if it is not
    damaged, it has no less.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(2) != GZIP:
        return size
    file.seek(max(0, size - 4))
    return int.from_bytes(file.read(4), "little")


def beginning(file: BinaryIO, *, most: int, reading: Clock) -> tuple[Beginning, Exception | None]:
    """The first `most` bytes of the file, unpacked, of not more than so many stored ones; and what is damaged there.

    The file may be any with bytes: one on disk, or io.BytesIO.
    """
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    stored = file.read(most + 1)
    damage: Exception | None = None
    if stored.startswith(GZIP):
        content, n_used, damage = _unpacked(stored[:most], most, size > most, reading)
        is_all = n_used >= size
    else:
        content, n_used, is_all = stored[:most], min(most, size), size <= most
    share = 1.0 if is_all else min(n_used / size, 0.999_999)
    return Beginning(content, stamp=_stamp(file, size), share=share, reading=reading), damage


def _stamp(file: BinaryIO, size: int) -> tuple[int, int]:
    try:
        return size, os.fstat(file.fileno()).st_mtime_ns
    except (OSError, AttributeError):  # io.BytesIO is no file of the system's
        return size, 0


def _unpacked(stored: bytes, most: int, is_cut: bool, clock: Clock) -> tuple[bytes, int, Exception | None]:
    """(the content, how many stored bytes it took, what is damaged) of gzip members one after the other."""
    parts, n_bytes, place = list[bytes](), 0, 0
    unpacker = zlib.decompressobj(wbits=31)
    waiting = b""
    while n_bytes < most and (waiting or place < len(stored)) and not clock.is_over:
        if unpacker.eof:
            waiting = waiting.lstrip(b"\0") or waiting[:0]  # some programs fill up with zeros
            if not waiting:
                waiting, place = stored[place : place + _FED], place + _FED
                continue
            if len(waiting) > 1 and not waiting.startswith(GZIP):
                return b"".join(parts), len(stored), zlib.error("what follows its end is no gzip")
            unpacker = zlib.decompressobj(wbits=31)
        if not waiting:
            waiting, place = stored[place : place + _FED], place + _FED
        try:
            part = unpacker.decompress(waiting, most - n_bytes)
        except zlib.error as error:
            return b"".join(parts), min(place, len(stored)), error
        waiting = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        parts.append(part)
        n_bytes += len(part)
    n_used = min(place, len(stored)) - len(waiting)
    is_at_end = place >= len(stored) and not waiting
    if is_at_end and not is_cut and not unpacker.eof and n_bytes < most:
        return b"".join(parts), n_used, EOFError()
    if not unpacker.eof and is_at_end:
        n_used -= 1  # the end of the last member was not seen: there may be more of it
    return b"".join(parts), n_used, None
