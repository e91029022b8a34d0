"""Decides in which order a backup is taken while people work: the database as of one moment, then the files."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils.translation import gettext as _

from annotate import failpoints, files, restored
from annotate.backups import archive, postgresql, secrets, sqlite, stored
from annotate.backups.archive import Manifest, Show
from annotate.errors import Conflict, FileDamaged, InvalidInput
from annotate.models import Annotation, Connection, Item, Project, User

DATABASES: dict[str, ModuleType] = {"sqlite": sqlite, "postgresql": postgresql}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MARK = ".goldloop-backup-"


def take(
    out: Path,
    *,
    holds_secrets: bool = True,
    secrets_to: Path | None = None,
    passphrase: str | None = None,
    despite_damage: bool = False,
    show: Show = lambda _done, _total: None,
) -> Manifest:
    """Write a backup to the new file `out`, and return its manifest; nothing is left where it fails.

    Secrets go into the archive (`holds_secrets`), or into the new file `secrets_to`, or nowhere; encrypted where there
    is a passphrase. FileDamaged where a stored file differs from its row, unless `despite_damage`. Conflict where a
    restore into this site has not ended.
    """
    if sentence := restored.unfinished_sentence():
        raise Conflict(sentence)
    out = out.absolute()
    for target in (out, *([secrets_to] if secrets_to else [])):
        _check_place(target)
    try:
        with files.backup_hold() as hold, _drafts_beside(out) as folder:

            def beat(done: int, total: int | None) -> None:
                hold.renew()
                show(done, total)

            manifest, sources = _gathered(folder, holds_secrets, secrets_to, passphrase, despite_damage, beat)
            draft = folder / "archive"
            with draft.open("xb") as file:
                archive.write(file, manifest, sources, packs=out.name.endswith(archive.PACKED), show=beat)
                file.flush()
                os.fsync(file.fileno())
            failpoints.hit("backup.written")
            with _secrets_apart(secrets_to, passphrase):
                _publish(draft, out)
    except (OSError, DatabaseError) as error:
        if _is_full(error):
            raise Conflict(
                _("There is no room for the backup in %(folder)s; nothing was left there.") % {"folder": out.parent}
            ) from error
        raise
    return manifest


def _gathered(
    folder: Path,
    holds_secrets: bool,
    secrets_to: Path | None,
    passphrase: str | None,
    despite_damage: bool,
    show: Show,
) -> tuple[Manifest, dict[str, Path | bytes]]:
    """The manifest, and the sources of its members."""
    kind = DATABASES[connection.vendor]
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    dump = folder / kind.MEMBER
    with kind.dumped(dump) as (database, versions):
        failpoints.hit("backup.dumped")
        named = stored.named_files(database)
        elsewhere = stored.exported_elsewhere(database)
        counts = _counts(database)
        migrations = [f"{app}.{name}" for app, name in MigrationRecorder(connections[database]).applied_migrations()]
        n_encrypted = Connection.objects.using(database).exclude(key_encrypted=b"").count()
    sources: dict[str, Path | bytes] = {}
    if holds_secrets and not secrets_to:
        sources[archive.SECRETS] = secrets.sealed(secrets.in_files(), passphrase)
    sources |= stored.sources(named)
    sources[kind.MEMBER] = dump  # last: a restore that fails before it leaves an empty database
    members = _measured(sources, show)
    damaged = list(stored.damages(named, {member.name: member.sha256 for member in members}))
    if damaged and not despite_damage:
        raise FileDamaged(
            _(
                "Stored files are missing or differ from their rows, so no backup was taken: %(names)s. "
                "`verify` says more; --despite-damage takes the backup nevertheless, and notes them in it."
            )
            % {"names": ", ".join(damaged[:10])}
        )
    where = secrets.APART if secrets_to else (secrets.INSIDE if holds_secrets else secrets.NONE)
    described = {
        **secrets.description(),
        "where": where,
        "is_encrypted": passphrase is not None,
        "n_encrypted": n_encrypted,
    }
    facts = {"kind": connection.vendor, "member": kind.MEMBER, **versions}
    manifest = Manifest(made_at, facts, migrations, counts, described, members, elsewhere, damaged)
    return manifest, sources


def _measured(sources: dict[str, Path | bytes], show: Show) -> list[archive.Member]:
    total = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in sources.values())
    done = 0

    def count(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        show(done, max(total, done))

    measured = []
    for name, source in list(sources.items()):
        try:
            measured.append(archive.measure(source, count))
        except FileNotFoundError:  # no row names it, or it counts as damaged
            del sources[name]
    return archive.members_of(sources, measured)


def _counts(database: str) -> dict[str, int]:
    models = {"projects": Project, "items": Item, "answers": Annotation, "people": User}
    return {name: model._default_manager.using(database).count() for name, model in models.items()}


def _check_place(path: Path) -> None:
    """Refuse what exists, and folders that are themselves part of the backup or cannot be written."""
    path = path.absolute()
    if path.exists() or path.is_symlink():
        raise Conflict(_("%(file)s is there already; nothing was overwritten.") % {"file": path})
    if not path.parent.is_dir():
        raise InvalidInput(_("There is no folder %(folder)s.") % {"folder": path.parent})
    for root in (Path(settings.FILES_DIR), files.path_of(files.EXPORTS)):
        if path.resolve().is_relative_to(root.resolve()):
            raise InvalidInput(
                _("%(folder)s is itself part of the backup; choose a folder elsewhere, best on another disk.")
                % {"folder": path.parent}
            )
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput(_("%(folder)s cannot be written.") % {"folder": path.parent})


@contextmanager
def _drafts_beside(out: Path) -> Iterator[Path]:
    """A folder for drafts beside `out`, which only its owner can enter; those of killed backups are deleted."""
    for old in out.parent.glob(f"{_MARK}*"):
        _delete_if_dead(old)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=_MARK))
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _secrets_apart(path: Path | None, passphrase: str | None) -> Iterator[None]:
    """Write the secrets to a file of their own, which stays only if the body succeeds."""
    if path is None:
        yield
        return
    secrets.write_new(path, secrets.sealed(secrets.in_files(), passphrase))
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _is_full(error: Exception) -> bool:
    """Whether a disk, a quota or a limit of the process has no room; SQLite tells it in words."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(word in str(error) for word in ("is full", "disk I/O error"))


def _delete_if_dead(folder: Path) -> None:
    """Delete the folder unless the backup that made it is still at work, for instance that of another site."""
    with suppress(OSError), (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _publish(draft: Path, out: Path) -> None:
    """Give the finished archive its name, unless somebody took the name meanwhile."""
    draft.chmod(0o600)
    try:
        os.link(draft, out)  # fails where the name is taken; a rename would overwrite
    except FileExistsError:
        raise Conflict(_("%(file)s is there already; nothing was overwritten.") % {"file": out}) from None
    except OSError:  # a disk without hard links
        if out.exists():
            raise Conflict(_("%(file)s is there already; nothing was overwritten.") % {"file": out}) from None
        draft.rename(out)
    handle = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
