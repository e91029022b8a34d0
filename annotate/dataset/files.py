"""Finished exports: which files each of them recorded, where they lie, and what their manifest says."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import files
from annotate.errors import FileDamaged, NotFound
from annotate.models import Export, Project, Run

_CHEAP_BYTES = 256 << 20  # hashed in under half a second before it is sent
_TYPES = {".jsonl": "application/x-ndjson", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}


def finished(project: Project) -> QuerySet[Export]:
    """The exports that runs have made, newest first; what a command wrote belongs to whoever gave the command."""
    exports = project.exports.filter(run__state=Run.State.SUCCEEDED)
    return exports.select_related("run__started_by", "delivered_version").order_by("-id")


def find(*, project: Project, public_id: str) -> Export:
    """The export that the run of this public id has made in this project."""
    found = finished(project).filter(run__public_id=public_id).first()
    if found is None:
        raise NotFound(_("There is no such export."))
    return found


def opened(export: Export, name: str) -> BinaryIO:
    """A file by the name that the export recorded, unharmed and open for reading; any other name leads nowhere."""
    # No checksum is asked of the manifest: another export of the same version in fewer formats may have replaced it.
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
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def stored_name(export: Export, name: str) -> str | None:
    """What the store calls a file of the export; None where the export does not lie in the store."""
    is_stored = export.folder.startswith(f"{files.EXPORTS}/")
    return f"{export.folder}/{name}" if is_stored and name and Path(name).name == name else None


def read_manifest(export: Export) -> dict[str, Any]:
    """What the manifest says; empty where it is gone or unreadable."""
    stored = stored_name(export, export.manifest)
    try:
        with files.opened(stored) if stored else BytesIO(b"{}") as file:
            found = orjson.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def problems(exports: QuerySet[Export]) -> Iterator[str]:
    """What differs between exports and their files in the store.

    A later export of the same version writes the same names: the last row counts. Whoever clears an export away
    removes its manifest, and an export that is under way has removed the one before: without it nothing is promised.
    """
    checksums: dict[str, str] = {}
    manifest_of: dict[str, str] = {}
    required: dict[str, set[str]] = {}  # the files of the last export that wrote this manifest
    for export in exports.order_by("id"):
        manifest = stored_name(export, export.manifest)
        if manifest is not None and files.size(manifest) is not None:
            recorded = {export.manifest: export.manifest_sha256, **_checksums(export)}
            named = {f"{export.folder}/{name}": sha256 for name, sha256 in recorded.items()}
            checksums |= named
            manifest_of |= dict.fromkeys(named, manifest)
            required[manifest] = set(named)
    for name, sha256 in checksums.items():
        if files.size(name) is not None:
            if files.checksum(files.path_of(name)) != sha256:
                yield f"the file {name} is not the one that was exported; export it again"
        elif name in required[manifest_of[name]]:
            yield f"the file {name} is missing; export it again, or remove its manifest too"


def _checksums(export: Export) -> dict[str, str]:
    """Of the data files, by name."""
    return {one["name"]: one["sha256"] for one in export.files}
