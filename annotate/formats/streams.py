"""Decides whether a file on disk can be read at all, and gives its content, unpacked, in bounded memory."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput

BLOCK = 1 << 20
BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
_READ_AHEAD = 1 << 16  # stored bytes that unpacking may read before it needs them
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)


@dataclass(frozen=True)
class Facts:
    """What a first pass over a file found."""

    sha256: str  # of the bytes as stored, compressed or not
    n_lines: int
    stamp: tuple[int, int]  # size and time of change, to notice that the file was changed between two passes
    n_bytes: int = 0  # unpacked, as far as it was read
    share: float = 1.0  # of the stored bytes, that were read; below 1 where only the beginning was wanted

    @property
    def is_whole(self) -> bool:
        """Whether the whole file was read."""
        return bool(self.sha256)


class Counter(Protocol):
    """Counts the lines of a file that is given to it block by block."""

    def add(self, block: bytes) -> None: ...

    @property
    def n_lines(self) -> int: ...

    @property
    def has_content(self) -> bool: ...


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading; InvalidInput says why it cannot be read at all."""
    if path.is_dir():
        raise InvalidInput(_("%(path)s is a directory, not a file.") % {"path": path})
    if not path.exists():
        raise InvalidInput(_("There is no file %(path)s.") % {"path": path})
    if not path.is_file():
        raise InvalidInput(
            _("%(path)s is not a regular file; it is read twice, so a pipe will not do.") % {"path": path}
        )
    try:
        file = path.open("rb", buffering=0)  # each pass over the file has a buffer of its own
    except OSError as error:
        raise InvalidInput(
            _("%(path)s cannot be read: %(strerror)s.") % {"path": path, "strerror": error.strerror}
        ) from error
    with file:
        yield file


def inspect(
    file: BinaryIO,
    name: Path | str,
    counter: Counter,
    beat: Callable[[], None] = lambda: None,
    *,
    limit: int | None = None,
    most: int | None = None,
) -> Facts:
    """Read the whole file once: its checksum and number of lines; InvalidInput if it is empty, damaged or too large.

    `name`: the file's name in messages. `limit`: most bytes when unpacked; unpacking stops there, however much more
    a small archive would unpack to. `beat` is called after each block. `most`: read no more than about so many
    unpacked bytes; facts of a longer file speak of this beginning, and have no checksum.
    """
    if most is not None and (facts := _begun(file, name, counter, limit, most)):
        return facts
    digest, n_bytes, stamp = hashlib.sha256(), 0, _stamp(file)
    file.seek(0)
    while block := file.read(BLOCK):
        digest.update(block)
        beat()
    try:
        for block in blocks(file):
            n_bytes += len(block)
            if limit is not None and n_bytes > limit:
                raise InvalidInput(_too_large(name, stamp[0], limit))
            counter.add(block)
            beat()
    except DAMAGE as error:
        raise InvalidInput(_damaged(name, error, counter.n_lines)) from error
    if not counter.has_content:
        raise InvalidInput(_("%(name)s is empty.") % {"name": name})
    return Facts(digest.hexdigest(), counter.n_lines, stamp, n_bytes)


def _begun(file: BinaryIO, name: Path | str, counter: Counter, limit: int | None, most: int) -> Facts | None:
    """Facts of the first `most` bytes; None, nothing counted, for a file that has to be read whole.

    That is a short one, and one that is packed so densely that all of it may be more than `limit`, or that all of
    its stored bytes were needed for the beginning.
    """
    size, stream, parts = _stamp(file)[0], decompressed(file), list[bytes]()
    try:
        while sum(map(len, parts)) < most and (part := stream.read(min(BLOCK, most))):
            parts.append(part)
    except DAMAGE:
        return None
    n_bytes, share = sum(map(len, parts)), min(1.0, file.tell() / size) if size else 1.0
    used = max(file.tell() - _READ_AHEAD, 1)  # stored bytes that surely were needed
    is_dense = share == 1 or (limit is not None and n_bytes * size > limit * used)
    if n_bytes < most or is_dense or not stream.peek(1):
        return None
    for part in parts:
        counter.add(part)
    if not counter.has_content:
        return None
    return Facts("", counter.n_lines, _stamp(file), n_bytes, share)


def head(file: BinaryIO, name: Path | str, n_bytes: int) -> bytes:
    """The first `n_bytes` of the content, unpacked."""
    try:
        return decompressed(file).read(n_bytes)
    except DAMAGE as error:
        raise InvalidInput(_damaged(name, error, 0)) from error


def is_unchanged(file: BinaryIO, facts: Facts) -> bool:
    """Whether the file still has the size and time of change that it was inspected with."""
    return _stamp(file) == facts.stamp


def decompressed(file: BinaryIO) -> io.BufferedReader:
    """The content from its beginning, unpacked if its first bytes are those of gzip."""
    file.seek(0)
    is_gzip = file.read(2) == GZIP
    file.seek(0)
    # A duplicate of the descriptor: closing the stream must leave `file` open for another pass.
    raw = gzip.GzipFile(fileobj=file) if is_gzip else io.FileIO(os.dup(file.fileno()))
    return io.BufferedReader(raw, BLOCK)  # type: ignore[type-var, arg-type]


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """The content, unpacked, in blocks of at most 1 MiB."""
    stream = decompressed(file)
    while block := stream.read(BLOCK):
        yield block


def _stamp(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _damaged(name: Path | str, error: BaseException, n_lines: int) -> str:
    what = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
    return f"{name}: the gzip file {what} after {n_lines:,} readable lines. Nothing of it was imported."


def _too_large(name: Path | str, n_stored: int, limit: int) -> str:
    return (
        f"{name} holds more than {limit:,} bytes when it is unpacked ({n_stored:,} as stored); that is the limit. "
        "Split it into several files."
    )
