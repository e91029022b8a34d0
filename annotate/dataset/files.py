"""Finished exports: which files each run recorded, where they lie, and what their manifest says."""

from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.utils.translation import gettext as _

from annotate import files
from annotate.errors import FileDamaged, NotFound
from annotate.models import Project, Run

_CHEAP_BYTES = 256 << 20  # hashed in under half a second before it is sent
_TYPES = {".jsonl": "application/x-ndjson", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}


def find(*, project: Project, public_id: str) -> Run:
    """The export of this project that has succeeded."""
    found = project.runs.filter(public_id=public_id, kind="export", state=Run.State.SUCCEEDED).first()
    if found is None:
        raise NotFound(_("There is no such export."))
    return found


def file(run: Run, name: str) -> Path:
    """A file by the name that the run itself recorded, unharmed; any other name leads nowhere."""
    path, sha256 = _recorded(run, name)
    if sha256 and path.stat().st_size <= _CHEAP_BYTES and files.checksum(path) != sha256:
        raise FileDamaged(_("%(file)s is not the file that was exported: its checksum differs.") % {"file": name})
    return path


def content_type(path: Path) -> str:
    return _TYPES.get(path.suffix, "application/octet-stream")


def path_of(run: Run, name: str) -> Path | None:
    """The place of a file in the run's folder; None for anything outside the exports."""
    root = (Path(settings.VAR_DIR) / "exports").resolve()
    path = (Path(run.result.get("folder", "")) / name).resolve()
    return path if name and Path(name).name == name and path.is_relative_to(root) else None


def read_manifest(run: Run) -> dict[str, Any]:
    """What the manifest says; empty where it is gone or unreadable."""
    path = path_of(run, run.result.get("manifest", ""))
    try:
        found = orjson.loads(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _recorded(run: Run, name: str) -> tuple[Path, str]:
    """Where the named file of this export lies, and the checksum it had (none is recorded for the manifest)."""
    recorded = {one["name"]: one["sha256"] for one in run.result.get("files", ())}
    recorded.setdefault(run.result.get("manifest", ""), "")
    path = path_of(run, name) if name in recorded else None
    if path is None:
        raise NotFound(_("There is no such file in this export."))
    if not path.is_file():
        raise NotFound(_("%(file)s is no longer on the server's disk. Export again to have it.") % {"file": name})
    return path, recorded[name]
