"""Decides whether a backup can be restored, by reading all of it; nothing of the site is read or written."""

import errno
from dataclasses import dataclass
from pathlib import Path

from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _

from annotate.backups import archive, secrets
from annotate.backups.archive import Manifest, Show
from annotate.backups.taking import DATABASES
from annotate.errors import FileDamaged, InvalidInput


@dataclass(frozen=True)
class Checked:
    """A backup that was read to its end, and holds what its manifest says."""

    manifest: Manifest
    secrets: bytes | None  # as in the archive; None: it holds none
    n_older: int  # migrations of this version that its database has not had


def check(path: Path, *, passphrase: str | None = None, show: Show = lambda _done, _total: None) -> Checked:
    """Read the backup; FileDamaged or InvalidInput say why it could not be restored by this version.

    Checksums of all members, the database with the program that would restore it, its migrations, and, where a
    passphrase is given, the encrypted secrets.
    """
    found, migrations = None, list[str]()
    try:
        with archive.opened(path) as reader:
            manifest = reader.manifest
            kind = DATABASES.get(manifest.database.get("kind", ""))
            if kind is None:
                raise InvalidInput(_("A newer version of Goldloop made this backup; restore it with that version."))
            for member, blocks in reader.members(show):
                if member.name == manifest.database["member"]:
                    migrations = kind.migrations_in(blocks)
                elif member.name == archive.SECRETS:
                    found = b"".join(blocks)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InvalidInput(_("There is no room to unpack the database; set TMPDIR to a larger disk.")) from error
        raise
    if found is not None and (passphrase is not None or not secrets.is_encrypted(found)):
        secrets.unsealed(found, passphrase)
    if sorted(migrations) != sorted(manifest.migrations):
        raise FileDamaged(_("The database in the backup is not the one that the manifest describes."))
    return Checked(manifest, found, _n_older(migrations))


def _n_older(migrations: list[str]) -> int:
    """How many migrations of this version the database lacks; InvalidInput if it has had some that are unknown here."""
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    if newer := sorted(set(migrations) - known):
        raise InvalidInput(
            _("A newer version of Goldloop made this backup (it has %(name)s); restore it with that version.")
            % {"name": newer[0]}
        )
    return len(known - set(migrations))
