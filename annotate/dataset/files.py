"""Decides which files of finished exports may be downloaded, and whether stored files are those that were exported."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import files
from annotate.errors import FileDamaged, NotFound
from annotate.models import Export, Project, Run

_CHEAP_BYTES = 256 << 20  # a file up to this size is hashed in under half a second, so before each download
_TYPES = {".jsonl": "application/x-ndjson", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}


def finished(project: Project) -> QuerySet[Export]:
    """The exports made by runs that succeeded, newest first. Exports by commands belong to whoever ran the command."""
    exports = project.exports.filter(run__state=Run.State.SUCCEEDED)
    return exports.select_related("run__started_by", "delivered_version").order_by("-id")


def by_commands(project: Project) -> QuerySet[Export]:
    """The exports made by commands on the server, newest first. Their files are for whoever ran the command."""
    return project.exports.filter(run=None).select_related("created_by", "delivered_version").order_by("-id")


def find(*, project: Project, public_id: str) -> Export:
    """The export that the run with this public id made in this project; NotFound if there is none."""
    found = finished(project).filter(run__public_id=public_id).first()
    if found is None:
        raise NotFound(_("There is no such export."))
    return found


def opened(export: Export, name: str) -> BinaryIO:
    """The export's file of this name, open for reading; NotFound for a name that it did not record, or a file gone.

    FileDamaged if a data file up to _CHEAP_BYTES differs from its recorded checksum; larger ones are not hashed here.
    """
    # The manifest is not compared: another export of the same version in fewer formats may have replaced it.
    checksums = {export.manifest: "", **_checksums(export)}
    stored = stored_name(export, name) if name in checksums else None
    if stored is None:
        raise NotFound(_("There is no such file in this export."))
    if (n_bytes := files.size(stored)) is None:
        raise NotFound(_("%(file)s is no longer on the server's disk. Export again to have it.") % {"file": name})
    sha256 = checksums[name]
    if sha256 and n_bytes <= _CHEAP_BYTES and files.checksum(files.path_of(stored)) != sha256:
        raise FileDamaged(_("%(file)s is not the file that was exported: its checksum differs.") % {"file": name})
    return files.opened(stored)


def content_type(name: str) -> str:
    """The media type to send a file of this name with."""
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def stored_name(export: Export, name: str) -> str | None:
    """The name in the store of the export's file `name`; None if the export lies elsewhere or `name` is a path."""
    is_stored = export.folder.startswith(f"{files.EXPORTS}/")
    return f"{export.folder}/{name}" if is_stored and name and Path(name).name == name else None


def read_manifest(export: Export) -> dict[str, Any]:
    """The export's manifest as a dict; empty if the file is gone, unreadable or outside the store."""
    stored = stored_name(export, export.manifest)
    try:
        with files.opened(stored) if stored else BytesIO(b"{}") as file:
            found = orjson.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class Recorded:
    """What exports have recorded of stored files, by the file's name in the store."""

    checksums: dict[str, str] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)  # the files of the last export that wrote their manifest


def recorded(exports: QuerySet[Export]) -> Recorded:
    """The checksums of the stored files of those exports whose manifest is there.

    Exports of one version share the names of files: the last that wrote a name counts. Exports without their manifest
    are left out: an export removes the manifest while it writes, and so does whoever clears an export away.
    """
    found, required = Recorded(), dict[str, set[str]]()
    for export in exports.order_by("id"):
        manifest = stored_name(export, export.manifest)
        if manifest is not None and files.size(manifest) is not None:
            checksums = {export.manifest: export.manifest_sha256, **_checksums(export)}
            named = {f"{export.folder}/{name}": sha256 for name, sha256 in checksums.items()}
            found.checksums |= named
            required[manifest] = set(named)
    found.required = set().union(*required.values())
    return found


def problems(exports: QuerySet[Export]) -> Iterator[str]:
    """A sentence for each stored file that is missing or differs from the last export that wrote its name."""
    known = recorded(exports)
    for name, sha256 in known.checksums.items():
        if files.size(name) is not None:
            if files.checksum(files.path_of(name)) != sha256:
                yield f"the file {name} is not the one that was exported; export it again"
        elif name in known.required:
            yield f"the file {name} is missing; export it again, or remove its manifest too"


def n_not_kept(exports: QuerySet[Export]) -> int:
    """How many exports `problems` leaves out: written elsewhere, or without their manifest."""
    manifests = (stored_name(export, export.manifest) for export in exports)
    return sum(1 for name in manifests if name is None or files.size(name) is None)


def _checksums(export: Export) -> dict[str, str]:
    """SHA-256 of each data file, by its name."""
    return {one["name"]: one["sha256"] for one in export.files}
