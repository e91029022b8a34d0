"""Decides how stored files are named, written, read and checked: each is whole or absent, or grows record by record.

Other modules reach a stored file by its name, through these functions. While a backup is taken (`backup_hold`), no
stored file is deleted or replaced.
"""

import fcntl
import glob
import hashlib
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.utils.translation import gettext as _

from annotate import failpoints
from annotate.errors import Conflict, FileDamaged

EXPORTS = "exports"  # files named exports/... lie in VAR_DIR, where people look for them; all others in FILES_DIR
_BLOCK = 1 << 20
_STALE_SECONDS = 24 * 3_600  # the age from which a draft is taken for one that a killed process left
HOLD = ".backup-lock"  # in FILES_DIR; whoever changes stored files locks it with others, a backup alone
_SILENT_SECONDS = 3_600  # the age from which the lock of a backup that shows no progress is ignored
_HOLD_WAIT_SECONDS, _LOOK_SECONDS = 60.0, 0.1


def path_of(name: str) -> Path:
    """The path on disk of the stored file `name`; FileDamaged if the name leads out of the store."""
    first = Path(name).parts[:1]
    base, root = (settings.VAR_DIR, EXPORTS) if first == (EXPORTS,) else (settings.FILES_DIR, "")
    path = (Path(base) / name).resolve()
    if not path.is_relative_to((Path(base) / root).resolve()):
        raise FileDamaged(_("%(name)s lies outside the file store.") % {"name": repr(name)})
    return path


def save(name: str, blocks: Iterable[bytes]) -> str:
    """Store the blocks under `name` and return their SHA-256."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, blocks)


def write_whole(path: Path, blocks: Iterable[bytes]) -> str:
    """Write a file that other processes see whole or not at all, and return its SHA-256."""
    with whole(path) as draft:
        for block in blocks:
            draft.write(block)
    return draft.sha256


class UnfinishedFile:
    """A draft that is being written: counts its bytes and computes its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.n_bytes = file, hashlib.sha256(), 0

    def write(self, block: bytes) -> None:
        """Append the block to the draft."""
        self._digest.update(block)
        self.n_bytes += self._file.write(block)

    @property
    def sha256(self) -> str:
        """Of all that was written so far."""
        return self._digest.hexdigest()


@contextmanager
def whole(path: Path) -> Iterator[UnfinishedFile]:
    """Give the body a draft to write, which becomes the file `path` if the body ends without error.

    Otherwise `path` stays as it was. Order: write the draft, fsync, rename, fsync of the folder.
    """
    _forget_drafts(path)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield UnfinishedFile(file)
            file.flush()
            os.fsync(file.fileno())
        failpoints.hit("files.written")
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
        failpoints.hit("files.renamed")
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
    """A stored file mapped into memory, read from disk page by page as it is used. It must not be empty."""
    with opened(name) as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def size(name: str) -> int | None:
    """The stored file's size in bytes; None if there is no such file."""
    path = path_of(name)
    return path.stat().st_size if path.is_file() else None


def remove(name: str) -> bool:
    """Delete a stored file, if there is one; False, and the file stays, while a backup is taken."""
    with _hold_file() as handle:
        if not _may_change(handle):
            return False
        path_of(name).unlink(missing_ok=True)
        return True


@contextmanager
def changing(wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Around replacing stored files and the commit of the rows that name them: begins when no backup is taken.

    `wait` is called again and again until then.
    """
    with _hold_file() as handle:
        while not _may_change(handle):
            wait()
            time.sleep(_LOOK_SECONDS)
        yield


class Hold:
    """The hold of a backup that is being taken."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def renew(self) -> None:
        """Show a sign of life: the hold of a backup without one for an hour is ignored."""
        os.utime(self._handle)


@contextmanager
def backup_hold() -> Iterator[Hold]:
    """In the body no stored file is deleted or replaced by this product; Conflict if another backup holds it.

    The kernel ends the hold with the process, so a killed backup holds nothing up.
    """
    with _hold_file() as handle:
        until = time.monotonic() + _HOLD_WAIT_SECONDS
        while not _locked(handle, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise Conflict(_("Another backup is being taken; try again when it has ended."))
            time.sleep(_LOOK_SECONDS)
        hold = Hold(handle)
        hold.renew()
        yield hold


class Growing:
    """A file of records of equal length, open for appending."""

    def __init__(self, file: BinaryIO, n_bytes_each: int) -> None:
        self._file, self._n_bytes_each = file, n_bytes_each

    @property
    def n_records(self) -> int:
        """How many whole records the file holds."""
        return os.fstat(self._file.fileno()).st_size // self._n_bytes_each

    def append(self, records: bytes) -> None:
        """Append whole records, which are on disk when this returns."""
        self._file.write(records)
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def growing(name: str, *, n_bytes_each: int) -> Iterator[Growing]:
    """Open the stored file `name` for appending, and make it if there is none; a lock lets one process in at a time.

    The part of a record that a killed process wrote is cut off.
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
    """A folder to write several files to: in the store, or where a command was told to write."""

    name: str  # its name in the store, or its path outside
    path: Path

    @classmethod
    def in_store(cls, name: str) -> "Folder":
        """The store's folder of this name."""
        return cls(name, path_of(name))

    @classmethod
    def outside(cls, path: Path) -> "Folder":
        """A folder outside the store, named by its absolute path."""
        return cls(str(path.resolve()), path)

    def whole(self, file_name: str) -> AbstractContextManager["UnfinishedFile"]:
        """`whole` for a file of this folder."""
        return whole(self.path / file_name)

    def save(self, file_name: str, blocks: Iterable[bytes]) -> str:
        """Write a file of this folder and return its SHA-256."""
        return write_whole(self.path / file_name, blocks)

    def remove(self, file_name: str) -> None:
        """Delete a file of this folder, if there is one."""
        (self.path / file_name).unlink(missing_ok=True)


@contextmanager
def _hold_file() -> Iterator[int]:
    folder = Path(settings.FILES_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    # Opened for reading: the backup may be another user's than the site, who could not write the file of the first.
    handle = os.open(folder / HOLD, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        yield handle
    finally:
        os.close(handle)


def _may_change(handle: int) -> bool:
    """Whether stored files may be changed now; if so, a backup waits until the handle is closed."""
    return _locked(handle, fcntl.LOCK_SH) or time.time() - os.fstat(handle).st_mtime > _SILENT_SECONDS


def _locked(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_drafts(path: Path) -> None:
    """Delete drafts of this file that killed processes left; a younger draft may still be written to."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                draft.unlink()


def checked_path(name: str, sha256: str) -> Path:
    """The path of a stored file whose SHA-256 is `sha256`; FileDamaged if it is missing or has another."""
    path = path_of(name)
    if not path.is_file():
        raise FileDamaged(_("The stored file %(name)s is missing.") % {"name": name})
    if (found := checksum(path)) != sha256:
        raise FileDamaged(
            _("The stored file %(name)s has checksum %(found)s, its row says %(sha256)s.")
            % {"name": name, "found": found, "sha256": sha256}
        )
    return path


def checksum(path: Path) -> str:
    """SHA-256 of the file, which is read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hashed_bytes(content: bytes) -> str:
    """SHA-256 of bytes in memory."""
    return hashlib.sha256(content).hexdigest()
