"""The page *Export*: make an export, preview it, download its files."""

import itertools
from dataclasses import dataclass
from typing import Any

import orjson
from django.core.paginator import Paginator
from django.db.models import OuterRef
from django.http import FileResponse, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from annotate import files, samples
from annotate.access import MAY
from annotate.dataset import downloads
from annotate.dataset import files as dataset_files
from annotate.dataset.export import FORMATS
from annotate.labeling import visibility
from annotate.models import Export, Item, Member, Run
from annotate.web.fixing import Fixing
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import render_page
from annotate.web.run_status import status
from annotate.web.runs import last_of_kinds

_PAGE = 30
_PREVIEW_ROWS = 5
_FORMATS: dict[str, tuple[Promise, Promise]] = {
    "jsonl": (gettext_lazy("JSON Lines"), gettext_lazy("for programs; nothing is altered")),
    "csv": (
        gettext_lazy("CSV for programs"),
        gettext_lazy("nothing is altered, so a spreadsheet may run a text that begins with = + - or @"),
    ),
    "csv-spreadsheet": (
        gettext_lazy("CSV for spreadsheets"),
        gettext_lazy("an apostrophe stands before what a spreadsheet could run; an import here takes it away again"),
    ),
}
_PREVIEW_READ = 200  # rows that are read to find them
_PREVIEW = ("external_id", "payload", "label", "label_source", "label_probability", "split")
_EXCERPT = 120


@dataclass(frozen=True)
class Release:
    """A finished export, and the accuracy that its manifest states, if that file is still there."""

    export: Export
    delivered: dict[str, Any] | None


@require_GET
@project_page(to="download")
def list_exports(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    runs = list(project.runs.filter(kind="export").select_related("started_by").order_by("-id")[:_PAGE])
    page = Paginator(dataset_files.finished(project), _PAGE).get_page(request.GET.get("page"))
    finished = [_release(export) for export in page]
    context: dict[str, Any] = {
        "statuses": [status(run) for run in runs if run.state in (Run.State.QUEUED, Run.State.RUNNING)],
        "page": page,
        "by_command": dataset_files.by_commands(project).first(),
        "releases": finished,
        "preview": _preview(finished[0], request.member) if finished else [],
        "preview_columns": _PREVIEW,
        "may_label": request.member.role in MAY["annotate"],
    }
    if not context["statuses"] and runs and runs[0].state in (Run.State.FAILED, Run.State.ERRORED):
        context["statuses"] = [status(runs[0])]
    if request.member.role in MAY["manage"]:
        context |= {
            "formats": [(name, *_FORMATS[name]) for name in FORMATS],
            "seen": last_of_kinds(project).get("export", ""),
            "fixes": Fixing(project).by_run("export"),
        }
    return render_page(request, "annotate/exports/list.html", "exports", context)


@require_GET
@project_page(to="download")
def download(request: ProjectRequest, run: str, name: str) -> HttpResponse:
    """Send a file of an export, recorded first. Only names that the export recorded are served; others are a 404."""
    export = dataset_files.find(project=request.member.project, public_id=run)
    file = dataset_files.opened(export, name)
    downloads.of_file(export, name, by=request.member.user)
    return FileResponse(  # type: ignore[return-value]
        file,
        as_attachment=True,
        filename=name,
        content_type=dataset_files.content_type(name),
    )


def _release(export: Export) -> Release:
    estimates = dataset_files.read_manifest(export).get("estimates", ())
    return Release(export, next((row for row in estimates if row["estimand"] == "delivered"), None))


def _preview(release: Release, member: Member) -> list[list[Any]]:
    """Some of the first rows of the export's JSON Lines file, shortened: of items that may be examples.

    None of them is open and blind for this member, and that they were seen is recorded first.
    """
    name = next((file["name"] for file in release.export.files if file["name"].endswith(".jsonl")), "")
    stored = dataset_files.stored_name(release.export, name)
    if stored is None:
        return []
    try:
        with files.opened(stored) as file:
            rows = [orjson.loads(line) for line in itertools.islice(file, _PREVIEW_READ)]
    except (OSError, ValueError):
        return []
    examples = _examples(rows, member)
    shown = [row for row in rows if row.get("id") in examples][:_PREVIEW_ROWS]
    if not visibility.record_seen(items=[examples[row["id"]] for row in shown], by=member.user):
        return []
    return [[_shown(row.get(column)) for column in _PREVIEW] for row in shown]


def _examples(rows: list[dict[str, Any]], member: Member) -> dict[str, int]:
    """Those of the rows' items that this member may see with a machine's label: the primary key by public id."""
    ids = [row.get("id") for row in rows]
    items = Item.objects.filter(samples.for_examples(), project=member.project, public_id__in=ids)
    if member.role in MAY["annotate"]:
        items = items.exclude(visibility.is_open_blind(member.project, OuterRef("pk")))
    return dict(items.values_list("public_id", "pk"))


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    text = " / ".join(str(part) for part in value.values()) if isinstance(value, dict) else str(value)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
