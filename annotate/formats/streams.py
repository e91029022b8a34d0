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
from annotate.formats.beginnings import GZIP, Beginning

BLOCK = 1 << 20
BOM = b"\xef\xbb\xbf"
_PART = 1 << 13  # bytes of a beginning in a block: its clock is looked at between two
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
) -> Facts:
    """Read the whole file once: its checksum and number of lines; InvalidInput if it is empty, damaged or too large.

    `name`: the file's name in messages. `limit`: most bytes when unpacked; unpacking stops there, however much more
    a small archive would unpack to. `beat` is called after each block. Of a `Beginning` all that is there is read, and
    the facts speak of it.
    """
    digest, n_bytes, stamp = hashlib.sha256(), 0, _stamp(file)
    file.seek(0)
    while block := file.read(BLOCK):
        digest.update(block)
        beat()
    try:
        for block in blocks(file):
            n_bytes += len(block)
            if limit is not None and n_bytes > limit:
                raise InvalidInput(too_large(name, stamp[0], limit))
            counter.add(block)
            beat()
    except DAMAGE as error:
        raise InvalidInput(damage_sentence(name, error, counter.n_lines)) from error
    if not counter.has_content:
        raise InvalidInput(_("%(name)s is empty.") % {"name": name})
    if isinstance(file, Beginning) and not file.is_whole:
        return Facts("", counter.n_lines, stamp, n_bytes, file.share)
    return Facts(digest.hexdigest(), counter.n_lines, stamp, n_bytes)


def head(file: BinaryIO, name: Path | str, n_bytes: int) -> bytes:
    """The first `n_bytes` of the content, unpacked."""
    try:
        return decompressed(file).read(n_bytes)
    except DAMAGE as error:
        raise InvalidInput(damage_sentence(name, error, 0)) from error


def is_unchanged(file: BinaryIO, facts: Facts) -> bool:
    """Whether the file still has the size and time of change that it was inspected with."""
    return _stamp(file) == facts.stamp


def decompressed(file: BinaryIO) -> io.BufferedReader:
    """The content from its beginning, unpacked if its first bytes are those of gzip."""
    if isinstance(file, Beginning):
        return io.BufferedReader(file.again(), _PART)
    file.seek(0)
    is_gzip = file.read(2) == GZIP
    file.seek(0)
    # A duplicate of the descriptor: closing the stream must leave `file` open for another pass.
    raw = gzip.GzipFile(fileobj=file) if is_gzip else io.FileIO(os.dup(file.fileno()))
    return io.BufferedReader(raw, BLOCK)  # type: ignore[type-var, arg-type]


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """The content, unpacked, in blocks of at most 1 MiB."""
    stream = decompressed(file)
    n_bytes = _PART if isinstance(file, Beginning) else BLOCK
    while block := stream.read(n_bytes):
        yield block


def _stamp(file: BinaryIO) -> tuple[int, int]:
    if isinstance(file, Beginning):
        return file.stamp
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def damage_sentence(name: Path | str, error: BaseException, n_lines: int) -> str:
    """What people are told of a damaged gzip file."""
    what = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
    return f"{name}: the gzip file {what} after {n_lines:,} readable lines. Nothing of it was imported."


def too_large(name: Path | str, n_stored: int, limit: int) -> str:
    """What people are told of a file that unpacks to more than is taken."""
    return (
        f"{name} holds more than {limit:,} bytes when it is unpacked ({n_stored:,} as stored); that is the limit. "
        "Split it into several files."
    )
