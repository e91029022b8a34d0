"""The only door to stored files: a name inside the store, its bytes, its checksum; whole or absent, or growing."""

import fcntl
import glob
import hashlib
import mmap
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from annotate import failpoints
from annotate.errors import FileDamaged

EXPORTS = "exports"  # what is named below it lies in VAR_DIR, where people look for it, and all else in FILES_DIR
_BLOCK = 1 << 20
_STALE_SECONDS = 24 * 3_600


def path_of(name: str) -> Path:
    """Where `name` lies on disk; names cannot leave the store."""
    first = Path(name).parts[:1]
    base, root = (settings.VAR_DIR, EXPORTS) if first == (EXPORTS,) else (settings.FILES_DIR, "")
    path = (Path(base) / name).resolve()
    if not path.is_relative_to((Path(base) / root).resolve()):
        raise FileDamaged(f"{name!r} lies outside the file store.")
    return path


def save(name: str, blocks: Iterable[bytes]) -> str:
    """Store the blocks under `name` and return their SHA-256."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, blocks)


def write_whole(path: Path, blocks: Iterable[bytes]) -> str:
    """Write a file that others see whole or not at all, and return its SHA-256."""
    with whole(path) as draft:
        for block in blocks:
            draft.write(block)
    return draft.sha256


class Draft:
    """A file on its way to its name: where it is written, how long it is, its checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.n_bytes = file, hashlib.sha256(), 0

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        self.n_bytes += self._file.write(block)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def whole(path: Path) -> Iterator[Draft]:
    """What the body writes appears as `path` when it ends well, else nothing does.

    Temporary file, fsync, rename, fsync of the folder.
    """
    _forget_drafts(path)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield Draft(file)
            file.flush()
            os.fsync(file.fileno())
        failpoints.point("files.written")
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
        failpoints.point("files.renamed")
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def opened(name: str) -> BinaryIO:
    """The stored file, open for reading."""
    return path_of(name).open("rb")


def mapped(name: str) -> mmap.mmap:
    """The bytes of a stored file that is not empty, read from disk where they are looked at and no sooner."""
    with opened(name) as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def size(name: str) -> int | None:
    """Bytes of the stored file; None where there is none."""
    path = path_of(name)
    return path.stat().st_size if path.is_file() else None


def remove(name: str) -> None:
    """Throw a stored file away; gone already is gone."""
    path_of(name).unlink(missing_ok=True)


class Growing:
    """A file of records of equal length, open to be appended to."""

    def __init__(self, file: BinaryIO, n_bytes_each: int) -> None:
        self._file, self._n_bytes_each = file, n_bytes_each

    @property
    def n_records(self) -> int:
        return os.fstat(self._file.fileno()).st_size // self._n_bytes_each

    def append(self, records: bytes) -> None:
        """Durable once this returns."""
        self._file.write(records)
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def growing(name: str, *, n_bytes_each: int) -> Iterator[Growing]:
    """The file under this name, made where there is none; one process at a time is in the body.

    What a killed process left of a record is cut off.
    """
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with path.open("ab") as file:
            records = Growing(file, n_bytes_each)
            if file.tell() % n_bytes_each:
                file.truncate(records.n_records * n_bytes_each)
            yield records


@dataclass(frozen=True)
class Folder:
    """Where several files are written side by side: in the store, or wherever somebody on this machine wants them."""

    name: str  # of the folder in the store, else its path
    path: Path

    @classmethod
    def in_store(cls, name: str) -> "Folder":
        return cls(name, path_of(name))

    @classmethod
    def outside(cls, path: Path) -> "Folder":
        return cls(str(path.resolve()), path)

    def whole(self, file_name: str) -> AbstractContextManager["Draft"]:
        return whole(self.path / file_name)

    def save(self, file_name: str, blocks: Iterable[bytes]) -> str:
        """Write a file of this folder and return its SHA-256."""
        return write_whole(self.path / file_name, blocks)

    def remove(self, file_name: str) -> None:
        (self.path / file_name).unlink(missing_ok=True)


def _forget_drafts(path: Path) -> None:
    """Delete what killed processes left of this file; younger drafts may still be somebody's."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                draft.unlink()


def checked_path(name: str, sha256: str) -> Path:
    """The path of a stored file after its checksum was compared; FileDamaged names what differs."""
    path = path_of(name)
    if not path.is_file():
        raise FileDamaged(f"The stored file {name} is missing.")
    if (found := checksum(path)) != sha256:
        raise FileDamaged(f"The stored file {name} has checksum {found}, its row says {sha256}.")
    return path


def checksum(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hashed_bytes(content: bytes) -> str:
    """SHA-256 of bytes in memory."""
    return hashlib.sha256(content).hexdigest()
