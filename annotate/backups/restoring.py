"""Decides how a site is put back from a backup: only where nothing is yet, and not served before it is whole.

VAR_DIR/restore.unfinished stands there from the first write until `verify` has passed; nothing serves the site, works
on it or takes a backup of it meanwhile (annotate/restored.py).
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils.translation import gettext as _

from annotate import failpoints, files, restored
from annotate.backups import aftermath, archive, secrets
from annotate.backups.aftermath import Aftermath
from annotate.backups.archive import EXPORTS, FILES, Manifest, Show
from annotate.backups.checking import check
from annotate.backups.taking import DATABASES
from annotate.errors import Conflict, InvalidInput

_DRAFTS = ".restoring"
_IGNORED = {files.HOLD, archive.DISK_FOLDER}  # in an empty folder for files


def restore(
    path: Path,
    *,
    secrets_file: Path | None = None,
    without_secrets: bool = False,
    passphrase: str | None = None,
    show: Show = lambda _done, _total: None,
) -> tuple[Manifest, Aftermath]:
    """Restore the backup into the site's database and folders, which must be empty; all of it is checked before.

    Conflict where they are not, or the database is of another kind. `without_secrets`: go on without them; the keys
    of LLM servers are deleted, because nobody can read them. The mark stays until the caller has verified the site.
    """
    checked = check(path, show=show)
    manifest = checked.manifest
    found = {} if without_secrets else _secrets(checked.secrets, secrets_file, passphrase)
    _refuse(manifest, found)
    lacks_keys = _lacks_keys(manifest, found, without_secrets)
    with _unfinished():
        with archive.opened(path) as reader, _drafts() as place:
            for member, blocks in reader.members(show):
                if member.name == manifest.database["member"]:
                    secrets.put(found)
                    DATABASES[connection.vendor].put(blocks)
                    failpoints.hit("restore.database")
                elif member.name != archive.SECRETS:
                    place(member.name, blocks)
        call_command("migrate", verbosity=0, interactive=False)
        ended = aftermath.settle(made_at=manifest.made_at, forgets_keys=lacks_keys)
    return manifest, ended


def _secrets(inside: bytes | None, apart: Path | None, passphrase: str | None) -> dict[str, str]:
    content = secrets.read_file(apart) if apart else inside
    return secrets.unsealed(content, passphrase) if content is not None else {}


def _refuse(manifest: Manifest, found: dict[str, str]) -> None:
    """Conflict unless the site's database and folders are empty and can take the backup."""
    kind = manifest.database["kind"]
    if kind != connection.vendor:
        names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
        raise Conflict(
            _(
                "The backup is of a site on %(there)s, and DATABASE_URL names one on %(here)s. "
                "Restore into the same kind."
            )
            % {"there": names[kind], "here": names[connection.vendor]}
        )
    if sentence := restored.unfinished_sentence():
        raise Conflict(sentence)
    for folder in _roots().values():
        if folder.exists() and {path.name for path in folder.iterdir()} - _IGNORED:
            raise Conflict(
                _("%(folder)s is not empty. Nothing is overwritten: name another folder.") % {"folder": folder}
            )
    own = Path(settings.VAR_DIR) / secrets.IN_FILES["FIELD_ENCRYPTION_KEYS"]
    if own.is_file() and own.read_text() != found.get("FIELD_ENCRYPTION_KEYS", own.read_text()):
        raise Conflict(_("%(file)s holds another key. Nothing is overwritten: move it away.") % {"file": own})
    if not DATABASES[kind].is_empty():
        raise Conflict(_("The database has tables already. Nothing is overwritten: name an empty one in DATABASE_URL."))
    if sentence := DATABASES[kind].obstacle(manifest.database):
        raise Conflict(sentence)
    folder = next(parent for parent in (Path(settings.FILES_DIR), *Path(settings.FILES_DIR).parents) if parent.exists())
    if shutil.disk_usage(folder).free < manifest.n_bytes:
        raise Conflict(_("There is no room in %(folder)s for what the backup holds.") % {"folder": folder})


def _lacks_keys(manifest: Manifest, found: dict[str, str], without_secrets: bool) -> bool:
    """Whether stored keys of LLM servers will be unreadable; InvalidInput unless that was agreed to."""
    lacking = secrets.missing(manifest.secrets, found) if manifest.secrets["n_encrypted"] else []
    if "FIELD_ENCRYPTION_KEYS" not in lacking or without_secrets:
        return "FIELD_ENCRYPTION_KEYS" in lacking
    origin = {one["variable"]: one["from"] for one in manifest.secrets["in_force"]}["FIELD_ENCRYPTION_KEYS"]
    if settings.FIELD_ENCRYPTION_KEYS or origin == "environment":
        raise InvalidInput(
            _(
                "FIELD_ENCRYPTION_KEYS lacks a key that the site had when the backup was taken, so keys of LLM servers "
                "would be unreadable. Set that key, or restore with --without-secrets and enter them again."
            )
        )
    if "FIELD_ENCRYPTION_KEYS" in found:
        raise InvalidInput(
            _(
                "These secrets belong to another backup: keys of LLM servers in this one would be unreadable. Give the "
                "file that was written with this backup, or restore with --without-secrets and enter the keys again."
            )
        )
    raise InvalidInput(
        _(
            "This backup needs its secrets: give the file that `backup --secrets-to` wrote with --secrets, or restore "
            "with --without-secrets and enter the keys of LLM servers again."
        )
    )


@contextmanager
def _unfinished() -> Iterator[None]:
    """Around all that is written; `verify` is what lacks then. Where it fails before the database, nothing is left."""
    restored.mark_unfinished()
    try:
        yield
    except BaseException as error:
        if _undone():
            restored.unfinished_mark().unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Conflict(_("There is no room for what the backup holds.")) from error
        raise
    restored.mark_written()


def _undone() -> bool:
    """Clear the folders, which were empty before, unless the database is in place already; whether they are clear."""
    with suppress(Exception):
        if DATABASES[connection.vendor].is_empty():
            for folder in _roots().values():
                for path in [path for path in folder.glob("*") if path.name not in _IGNORED] + [folder / _DRAFTS]:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            return True
    return False


@contextmanager
def _drafts() -> Iterator[Callable[[str, archive.Blocks], None]]:
    """Give the body a function that stores a member; all of them get their places when it ends without error."""
    roots = _roots()
    for root in roots.values():
        shutil.rmtree(root / _DRAFTS, ignore_errors=True)

    def place(name: str, blocks: archive.Blocks) -> None:
        folder, _slash, rest = name.partition("/")
        if not archive.is_safe(name) or folder not in roots:
            raise InvalidInput(_("The backup names %(name)s, which no backup holds.") % {"name": repr(name)})
        path = roots[folder] / _DRAFTS / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    try:
        yield place
        for root in roots.values():
            for path in sorted((root / _DRAFTS).glob("*")):
                path.rename(root / path.name)
    finally:
        for root in roots.values():
            shutil.rmtree(root / _DRAFTS, ignore_errors=True)


def _roots() -> dict[str, Path]:
    return {FILES: Path(settings.FILES_DIR), EXPORTS: files.path_of(files.EXPORTS)}
