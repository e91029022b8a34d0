"""Decides the form of a backup: a tar file whose first member, the manifest, names all others with their checksums.

Nothing is extracted by tarfile: members are read as streams, after their names, kinds and sizes were compared with the
manifest, and a stream ends with an error unless it had the recorded checksum.
"""

import base64
import gzip
import hashlib
import re
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import orjson
from django.utils.translation import gettext as _

from annotate.errors import FileDamaged, InvalidInput

FORMAT = 1
MANIFEST, MANIFEST_SUM = "manifest.json", "manifest.sha256"
SECRETS = "secrets.json"
FILES, EXPORTS = "files", "exports"  # folders in the archive: of FILES_DIR, and of VAR_DIR/exports
DISK_FOLDER = "lost+found"  # stands in empty folders already where they are disks of their own
PACKED = (".gz", ".tgz")
_BLOCK = 1 << 20
_MOST_MANIFEST_BYTES = 256 << 20  # of a million files
_MOST_PART_BYTES, _MOST_NAME_BYTES = 255, 1_000  # what disks take, below a folder that is named shorter
_ODD = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # backslashes, control characters, bytes that are no text
_GZIP_LEVEL = 3  # vectors hardly shrink at any level, and people label meanwhile

Blocks = Iterator[bytes]
Show = Callable[[int, int | None], None]  # called with bytes (done, total)


@dataclass(frozen=True)
class Member:
    """One file of the archive."""

    name: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the first member says of the archive."""

    made_at: str  # UTC, ISO 8601: when the database was read
    database: dict[str, Any]  # kind, member, versions of server and program
    migrations: list[str]  # "app.name" of each that the database has had
    counts: dict[str, int]
    secrets: dict[str, Any]  # where they are, and fingerprints of those in force
    members: list[Member]
    not_included: list[str] = field(default_factory=list)  # folders outside the site that commands exported to
    damaged: list[str] = field(default_factory=list)  # stored files that differed from their rows already
    format: int = FORMAT

    def dump(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)

    @property
    def n_bytes(self) -> int:
        """Of all members but the manifest."""
        return sum(member.n_bytes for member in self.members)


def write(file: IO[bytes], manifest: Manifest, sources: dict[str, Path | bytes], *, packs: bool, show: Show) -> None:
    """Write the archive; FileDamaged if a source is not any more what the manifest says of it."""
    content, n_done = manifest.dump(), 0
    heads = {MANIFEST: content, MANIFEST_SUM: hashlib.sha256(content).hexdigest().encode()}
    packing: AbstractContextManager[Any] = (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_GZIP_LEVEL) if packs else nullcontext(file)
    )
    with packing as target, tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, text in heads.items():
            tar.addfile(_header(name, len(text)), BytesIO(text))
        for member in manifest.members:
            with _opened(sources[member.name]) as source:
                reader = _Measured(source)
                try:
                    tar.addfile(_header(member.name, member.n_bytes), reader)  # type: ignore[arg-type]
                except OSError as error:
                    if error.errno is None:  # tarfile's own "unexpected end of data"
                        raise _changed(member.name) from None
                    raise
            if reader.sha256 != member.sha256:
                raise _changed(member.name)
            n_done += member.n_bytes
            show(n_done, manifest.n_bytes)


@contextmanager
def opened(path: Path) -> Iterator["Reader"]:
    """The archive for one reading from beginning to end; FileDamaged in words wherever it is not what it should be."""
    try:
        with path.open("rb") as file:
            packs = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            unpacking: AbstractContextManager[Any] = gzip.GzipFile(fileobj=file) if packs else nullcontext(file)
            with unpacking as source, tarfile.open(fileobj=source, mode="r|") as tar:
                yield Reader(tar)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileDamaged(
            _("%(file)s is damaged or no backup: %(error)s.") % {"file": path, "error": str(error).rstrip(".")}
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if error.filename != str(path):
            raise
        raise InvalidInput(
            _("%(file)s cannot be read: %(error)s.") % {"file": path, "error": error.strerror}
        ) from error


class Reader:
    """An archive that is being read; `manifest` is known at once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        content = self._head(MANIFEST)
        if self._head(MANIFEST_SUM).decode(errors="replace") != hashlib.sha256(content).hexdigest():
            raise FileDamaged(_("The backup is damaged: its manifest has another checksum."))
        self.manifest = _parsed(content)

    def members(self, show: Show) -> Iterator[tuple[Member, Blocks]]:
        """Each member with its bytes; FileDamaged if one is missing, unknown, no plain file, or has other bytes.

        Bytes that the caller does not read are read and compared when the next member is asked for.
        """
        expected = {member.name: member for member in self.manifest.members}
        n_done = 0
        while (header := self._tar.next()) is not None:
            member = expected.pop(header.name, None)
            if member is None:
                raise FileDamaged(_("The backup holds %(name)s, which its manifest does not name.") % _name(header))
            if not header.isreg() or header.size != member.n_bytes:
                raise FileDamaged(_("%(name)s in the backup is no plain file of the recorded size.") % _name(header))
            blocks = _checked(self._tar.extractfile(header), member)
            yield member, blocks
            for _rest in blocks:
                pass
            n_done += member.n_bytes
            show(n_done, self.manifest.n_bytes)
        if expected:
            raise FileDamaged(_("The backup is not whole: %(name)s is missing.") % {"name": min(expected)})

    def _head(self, name: str) -> bytes:
        header = self._tar.next()
        if header is None or header.name != name or not header.isreg() or header.size > _MOST_MANIFEST_BYTES:
            raise FileDamaged(_("This is no backup of Goldloop: it does not begin with %(name)s.") % {"name": name})
        file = self._tar.extractfile(header)
        assert file is not None
        return file.read()


def is_safe(name: str) -> bool:
    """Whether a file of this name can lie below the folder that it is extracted to, and only there.

    Hidden names are the site's own (drafts, the hold); characters that steer a terminal are in no name that it gives.
    """
    if _ODD.search(name) or len(name.encode()) > _MOST_NAME_BYTES:
        return False
    parts = name.split("/")
    are_plain = all(part and part[0] != "." and len(part.encode()) <= _MOST_PART_BYTES for part in parts)
    return are_plain and parts[1:] != [DISK_FOLDER]


def _parsed(content: bytes) -> Manifest:
    """The manifest; FileDamaged if it has another form, InvalidInput if a newer version wrote it."""
    try:
        found = orjson.loads(content)
        if found["format"] > FORMAT:
            raise InvalidInput(_("A newer version of Goldloop made this backup; restore it with that version."))
        members = [Member(str(one["name"]), int(one["n_bytes"]), str(one["sha256"])) for one in found.pop("members")]
        manifest = Manifest(members=members, **found)
        database = str(manifest.database["member"])
        _read_as_restore_does(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileDamaged(_("The backup's manifest cannot be read: %(error)s.") % {"error": repr(error)}) from error
    known = {database, SECRETS}
    for member in manifest.members:
        is_known = member.name in known or member.name.startswith((f"{FILES}/", f"{EXPORTS}/"))
        if not (is_known and is_safe(member.name) and member.n_bytes >= 0):
            raise FileDamaged(
                _("The backup names %(name)s, which no backup holds; nothing is taken from it.")
                % {"name": repr(member.name)}
            )
    if database not in {member.name for member in manifest.members}:
        raise FileDamaged(_("The backup is not whole: %(name)s is missing.") % {"name": database})
    _refuse_clashes(manifest.members)
    return manifest


def _read_as_restore_does(manifest: Manifest) -> None:
    """ValueError, KeyError, TypeError or AttributeError where a part of it has another form than `restore` reads."""
    base64.b64decode(manifest.secrets["salt"])
    int(manifest.secrets["n_encrypted"])
    by_variable = {one["variable"]: (one["from"], set(one["fingerprints"])) for one in manifest.secrets["in_force"]}
    texts = [manifest.made_at, manifest.database["kind"], *by_variable]
    for some in (manifest.migrations, manifest.not_included, manifest.damaged, list(manifest.counts)):
        texts += some
    if not all(isinstance(one, str) for one in texts):
        raise TypeError("something that is no text")
    if not all(isinstance(n, int) for n in manifest.counts.values()):
        raise TypeError("a count that is no number")


def _refuse_clashes(members: Sequence[Member]) -> None:
    """FileDamaged where two members have one name, or one is a file and the folder of another."""
    # With a slash behind each name, whatever lies below it follows it directly.
    for name, following in pairwise(sorted(f"{member.name}/" for member in members)):
        if following.startswith(name):
            raise FileDamaged(
                _("The backup names %(name)s twice, or as a file and a folder; nothing is taken from it.")
                % {"name": repr(name[:-1])}
            )


def _checked(file: IO[bytes] | None, member: Member) -> Blocks:
    assert file is not None
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
        yield block
    if digest.hexdigest() != member.sha256:
        raise FileDamaged(_("The backup is damaged: %(name)s has another checksum.") % {"name": member.name})


def measure(source: Path | bytes, show: Callable[[int], None] = lambda _n: None) -> tuple[int, str]:
    """Size and SHA-256 of what a source holds now; `show` is called with the bytes of each block."""
    with _opened(source) as file:
        reader = _Measured(file)
        while block := reader.read(_BLOCK):
            show(len(block))
    return reader.n_bytes, reader.sha256


def members_of(sources: dict[str, Path | bytes], measured: Sequence[tuple[int, str]]) -> list[Member]:
    """The members with these sources, in their order."""
    return [Member(name, *facts) for name, facts in zip(sources, measured, strict=True)]


class _Measured:
    """A file that is read, with the number of its bytes so far and their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest, self.n_bytes = file, hashlib.sha256(), 0

    def read(self, n: int) -> bytes:
        block = self._file.read(n)
        self._digest.update(block)
        self.n_bytes += len(block)
        return block

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _opened(source: Path | bytes) -> IO[bytes]:
    return BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _header(name: str, n_bytes: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = n_bytes, 0o600, int(time.time())
    return header


def _name(header: tarfile.TarInfo) -> dict[str, str]:
    return {"name": repr(header.name)}


def _changed(name: str) -> FileDamaged:
    return FileDamaged(_("%(name)s was changed while the backup was taken; take it again.") % {"name": name})
