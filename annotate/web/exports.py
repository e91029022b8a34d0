"""Exported datasets: make one, download its files."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.http import FileResponse, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from annotate import files, queue
from annotate.access import MAY
from annotate.errors import FileDamaged, NotFound
from annotate.export import FORMATS
from annotate.models import Member, Run
from annotate.web.doors import ProjectRequest, project_page
from annotate.web.htmx import render_page
from annotate.web.run_status import status
from annotate.web.runs import last_of_kinds

_MOST = 30  # exports listed; older ones stay on disk and in the list of runs
_PREVIEW_ROWS = 5
_PREVIEW_READ = 200  # rows looked at for those
_PREVIEW = ("external_id", "payload", "label", "label_source", "label_probability", "split")
_EXCERPT = 120
_CHEAP_BYTES = 256 << 20  # hashed in under half a second before it is sent
_TYPES = {".jsonl": "application/x-ndjson", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}


@dataclass(frozen=True)
class Release:
    """A finished export, with what its manifest says, where that is still there."""

    run: Run
    version: int | None
    files: list[dict[str, Any]]
    manifest: str
    n_rows: int | None
    delivered: dict[str, Any] | None


@require_GET
@project_page(to="download")
def list_exports(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    runs = list(project.runs.filter(kind="export").select_related("started_by").order_by("-id")[:_MOST])
    releases = [_release(run) for run in runs if run.state == Run.State.SUCCEEDED and run.result.get("files")]
    context: dict[str, Any] = {
        "statuses": [status(run) for run in runs if run.state in (Run.State.QUEUED, Run.State.RUNNING)],
        "releases": releases,
        "preview": _preview(releases[0], request.member) if releases else [],
        "preview_columns": _PREVIEW,
        "may_label": request.member.role in MAY["annotate"],
    }
    if not context["statuses"] and runs and runs[0].state in (Run.State.FAILED, Run.State.ERRORED):
        context["statuses"] = [status(runs[0])]
    if request.member.role in MAY["manage"]:
        context |= {"formats": FORMATS, "seen": last_of_kinds(project).get("export", "")}
    return render_page(request, "annotate/exports/list.html", "exports", context)


@require_GET
@project_page(to="download")
def download(request: ProjectRequest, run: str, name: str) -> HttpResponse:
    """A file by the name that the run itself recorded; any other name leads nowhere."""
    found = request.member.project.runs.filter(public_id=run, kind="export", state=Run.State.SUCCEEDED).first()
    if found is None:
        raise NotFound(_("There is no such export."))
    path, sha256 = _file(found, name)
    if sha256 and path.stat().st_size <= _CHEAP_BYTES and files.checksum(path) != sha256:
        raise FileDamaged(_("%(file)s is not the file that was exported: its checksum differs.") % {"file": name})
    return FileResponse(  # type: ignore[return-value]
        path.open("rb"),
        as_attachment=True,
        filename=name,
        content_type=_TYPES.get(path.suffix, "application/octet-stream"),
    )


def _file(run: Run, name: str) -> tuple[Path, str]:
    """Where the named file of this export lies, and the checksum it had (none is recorded for the manifest)."""
    recorded = {file["name"]: file["sha256"] for file in run.result.get("files", ())}
    recorded.setdefault(run.result.get("manifest", ""), "")
    path = _path(run, name) if name in recorded else None
    if path is None:
        raise NotFound(_("There is no such file in this export."))
    if not path.is_file():
        raise NotFound(_("%(file)s is no longer on the server's disk. Export again to have it.") % {"file": name})
    return path, recorded[name]


def _path(run: Run, name: str) -> Path | None:
    """The place of a file in the run's folder; None for anything outside the exports."""
    root = (Path(settings.VAR_DIR) / "exports").resolve()
    path = (Path(run.result.get("folder", "")) / name).resolve()
    return path if name and Path(name).name == name and path.is_relative_to(root) else None


def _release(run: Run) -> Release:
    manifest = _read_manifest(run)
    estimates = manifest.get("estimates", ())
    return Release(
        run=run,
        version=run.result.get("version"),
        files=run.result["files"],
        manifest=run.result.get("manifest", ""),
        n_rows=manifest.get("counts", {}).get("rows"),
        delivered=next((row for row in estimates if row["estimand"] == "delivered"), None),
    )


def _read_manifest(run: Run) -> dict[str, Any]:
    path = _path(run, run.result.get("manifest", ""))
    try:
        found = orjson.loads(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _preview(release: Release, member: Member) -> list[list[Any]]:
    """The first rows of the newest JSON Lines file, cut to what fits a table; none that this member may be asked."""
    name = next((file["name"] for file in release.files if file["name"].endswith(".jsonl")), "")
    path = _path(release.run, name)
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            rows = [orjson.loads(line) for line in itertools.islice(file, _PREVIEW_READ)]
    except (OSError, ValueError):
        return []
    asked = _asked(rows, member)
    shown = [row for row in rows if row.get("id") not in asked][:_PREVIEW_ROWS]
    return [[_shown(row.get(column)) for column in _PREVIEW] for row in shown]


def _asked(rows: list[dict[str, Any]], member: Member) -> set[str]:
    """Which of these items are questions of the open round to this member."""
    if member.role not in MAY["annotate"]:
        return set()
    ids = [row.get("id") for row in rows]
    questions = queue.of_open_round(member.project)
    return set(questions.filter(item__public_id__in=ids).values_list("item__public_id", flat=True))


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    text = " / ".join(str(part) for part in value.values()) if isinstance(value, dict) else str(value)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
