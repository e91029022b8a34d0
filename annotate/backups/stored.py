"""Decides which stored files belong into a backup: those that rows name, with their checksums, and vectors."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from annotate import files
from annotate.backups import archive
from annotate.backups.archive import EXPORTS, FILES
from annotate.dataset import files as dataset_files
from annotate.models import DeliveredVersion, Export, ModelVersion, Upload

_UPLOADS = f"{FILES}/uploads/"  # of these only what a row names: the rest is discarded


@dataclass(frozen=True)
class NamedFile:
    """A stored file that a row names, with the checksum that the row records."""

    name: str  # in the store
    sha256: str
    is_required: bool = True

    @property
    def member(self) -> str:
        """Its name in the archive."""
        return self.name if self.name.startswith(f"{files.EXPORTS}/") else f"{FILES}/{self.name}"


def named_files(database: str) -> list[NamedFile]:
    """The stored files that rows of the database with this alias name."""
    models = ModelVersion.objects.using(database).order_by("pk")
    pairs = [
        *Upload.objects.using(database)
        .filter(deleted_at__isnull=True)
        .order_by("pk")
        .values_list("file", "file_sha256"),
        *models.values_list("snapshot_file", "snapshot_sha256"),
        *models.values_list("artefact_file", "artefact_sha256"),
        *DeliveredVersion.objects.using(database).order_by("pk").values_list("file", "file_sha256"),
    ]
    exports = dataset_files.recorded(Export.objects.using(database))
    return [
        *(NamedFile(name, sha256) for name, sha256 in pairs if name),
        *(NamedFile(name, sha256, name in exports.required) for name, sha256 in exports.checksums.items()),
    ]


def exported_elsewhere(database: str) -> list[str]:
    """The folders outside the store that commands exported to: their files are in no backup."""
    folders = Export.objects.using(database).exclude(folder="").exclude(folder__startswith=f"{files.EXPORTS}/")
    return sorted(set(folders.values_list("folder", flat=True)))


def sources(named: list[NamedFile]) -> dict[str, Path]:
    """The files to take, by their names in the archive: all but drafts, locks, and uploads that no row names."""
    roots = {FILES: Path(settings.FILES_DIR), EXPORTS: files.path_of(files.EXPORTS)}
    found = {name: path for folder, root in roots.items() for name, path in _below(root, folder)}
    known = {one.member for one in named}
    return {name: path for name, path in sorted(found.items()) if not name.startswith(_UPLOADS) or name in known}


def damages(named: list[NamedFile], checksums: dict[str, str]) -> Iterator[str]:
    """The stored files that are missing, or differ from their rows; `checksums` of the files to take, by member."""
    for one in named:
        found = checksums.get(one.member)
        if (found is None and one.is_required) or found not in (None, one.sha256):
            yield one.name


def _below(root: Path, folder: str) -> Iterator[tuple[str, Path]]:
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(where) / name
            member = f"{folder}/{path.relative_to(root).as_posix()}"
            # Hidden: drafts of files that are being written, and the hold. Records that grow have a lock beside them.
            # Other names that no archive may hold are not the site's; if a row names one, it counts as missing.
            if archive.is_safe(member) and not name.endswith(".lock") and path.is_file():
                yield member, path
