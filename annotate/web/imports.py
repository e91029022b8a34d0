"""Pages to send a file, preview its import, start and watch the import, and download quarantined lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from annotate import tasks
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.formats.dialect import DELIMITERS, Dialect
from annotate.imports import preview as upload_preview
from annotate.imports import uploads
from annotate.items import CORRECTIONS
from annotate.modalities import modality
from annotate.models import Import, Project, Run, Upload
from annotate.silver import quotes
from annotate.web.fixing import Fixing
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to, render_page
from annotate.web.http.limits import refused_read
from annotate.web.http.uploading import FIELD, Spool, takes_file
from annotate.web.run_status import Status, status

_PAGE = 50
_PIECE = 1 << 20
_ROLES: dict[str, Promise] = {
    "text": gettext_lazy("Text"),
    "text_a": gettext_lazy("First text"),
    "text_b": gettext_lazy("Second text"),
    "id": gettext_lazy("Id"),
    "gold": gettext_lazy("Gold label"),
    "silver": gettext_lazy("Machine's label"),
    "confidence": gettext_lazy("Machine's confidence"),
}
_ENCODINGS: dict[str, Promise] = {
    "utf-8": gettext_lazy("UTF-8"),
    "utf-16": gettext_lazy("UTF-16"),
    "utf-16-le": gettext_lazy("UTF-16 (little endian)"),
    "utf-16-be": gettext_lazy("UTF-16 (big endian)"),
    "cp1252": gettext_lazy("Windows-1252 (Western European)"),
    "latin-1": gettext_lazy("ISO 8859-1 (Latin-1)"),
    "iso8859-15": gettext_lazy("ISO 8859-15 (Latin-9)"),
    "cp1250": gettext_lazy("Windows-1250 (Central European)"),
    "cp1251": gettext_lazy("Windows-1251 (Cyrillic)"),
    "shift_jis": gettext_lazy("Shift JIS (Japanese)"),
    "gb18030": gettext_lazy("GB 18030 (Chinese)"),
    "big5": gettext_lazy("Big5 (Chinese)"),
    "euc_kr": gettext_lazy("EUC-KR (Korean)"),
}
_DELIMITERS: dict[str, Promise] = {
    "comma": gettext_lazy("Comma (,)"),
    "semicolon": gettext_lazy("Semicolon (;)"),
    "tab": gettext_lazy("Tab"),
    "pipe": gettext_lazy("Vertical bar (|)"),
}
_SIGNS = {name: sign for sign, name in DELIMITERS.items()}


@require_GET
@project_page(to="manage")
def list_imports(request: ProjectRequest) -> HttpResponse:
    return _imports_page(request)


@csrf_exempt  # checked in _receive, after it is known who sends the form
@require_POST
@project_page(to="manage")
def upload(request: ProjectRequest) -> HttpResponse:
    if takes_file(request):
        request.upload_handlers = [Spool(request)]
    return refused_read(request) or _receive(request)


@csrf_protect
def _receive(request: ProjectRequest) -> HttpResponse:
    """Store the file and go to its preview; a file that cannot be used is not kept."""
    project, file = request.member.project, request.FILES.get(FIELD)
    try:
        if file is None:
            raise InvalidInput(_("Choose a file first."))
        name, chunks = file.name or "", file.chunks(_PIECE)
        sent = uploads.receive(project=project, by=request.member.user, file_name=name, chunks=chunks)
    except InvalidInput as error:
        is_too_large = file is not None and (file.size or 0) > settings.UPLOAD_MAX_BYTES
        return _imports_page(request, str(error), status=413 if is_too_large else 422)
    return go_to(request, reverse("imports-preview", args=[project.slug, sent.public_id]))


@require_GET
@project_page(to="manage")
def preview(request: ProjectRequest, upload: str) -> HttpResponse:
    """The preview of an import, with dialect and columns as detected or as in the address. Stores nothing."""
    project, given = request.member.project, request.GET
    sent = uploads.find(project=project, public_id=upload)
    context: dict[str, Any] = {"upload": sent, "encodings": _ENCODINGS, "delimiters": _DELIMITERS}
    context["imported"] = sent.imports.filter(state=Import.State.COMPLETE).order_by("id").last()
    try:
        chosen = _dialect(given)
        is_other = any(given.get(f"was_{name}", value) != value for name, value in _said(given).items())
        columns = None if is_other else _columns(given, project) or None  # columns of another dialect mean nothing
        seen = upload_preview.of_upload(upload=sent, by=request.member.user, dialect=chosen, columns=columns)
    except InvalidInput as error:
        context |= {"problem": str(error), "encoding": given.get("encoding"), "delimiter": given.get("delimiter")}
        return render_page(request, "annotate/imports/preview.html", "preview", context, status=422)
    cost = quotes.of_new(
        project=project, n_items=seen.n_expected, mean_characters=seen.mean_characters, by=request.member.user
    )
    return render_page(
        request, "annotate/imports/preview.html", "preview", context | _shown(sent, seen) | {"cost": cost}
    )


@require_POST
@project_page(to="manage")
def start(request: ProjectRequest, upload: str) -> HttpResponse:
    """Start the import with the previewed choices. A second click starts none: its page did not know the newest run."""
    project = request.member.project
    sent = uploads.find(project=project, public_id=upload)
    last = _last_run(sent)
    if request.POST.get("seen", last) == last:
        wanted = {
            "upload": sent.public_id,
            "dialect": _dialect(request.POST),
            "columns": _columns(request.POST, project),
        }
        tasks.enqueue(kind="import", project=project, by=request.member.user, parameters=wanted)
    return go_to(request, reverse("imports-list", args=[project.slug]))


@require_POST
@project_page(to="manage")
def discard(request: ProjectRequest, upload: str) -> HttpResponse:
    project = request.member.project
    uploads.discard(upload=uploads.find(project=project, public_id=upload), by=request.member.user)
    return go_to(request, reverse("imports-list", args=[project.slug]))


@require_POST
@project_page(to="manage")
def go_on(request: ProjectRequest) -> HttpResponse:
    """Start the unfinished import again with its first parameters; it continues at its cursor."""
    project = request.member.project
    source = _unfinished(project)
    if source is None or source.upload is None:
        raise Conflict(_("There is no unfinished import that could go on from here."))
    tasks.enqueue(kind="import", project=project, by=request.member.user, parameters=_parameters(source, source.upload))
    return go_to(request, reverse("imports-list", args=[project.slug]))


@require_POST
@project_page(to="manage")
def give_up(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    tasks.enqueue(kind="import", project=project, by=request.member.user, parameters={"abandon": True})
    return go_to(request, reverse("imports-list", args=[project.slug]))


@require_GET
@project_page(to="download")  # raw lines may hold machine labels, as an export does
def quarantine(request: ProjectRequest, source: str) -> HttpResponse:
    """The quarantined lines of an import as CSV, streamed."""
    project = request.member.project
    found = project.imports.filter(public_id=source).first()
    if found is None:
        raise NotFound(_("There is no such import."))
    response = StreamingHttpResponse(
        uploads.quarantine(found.rejected_rows.all()), content_type="text/csv; charset=utf-8"
    )
    name = f"{project.slug}-{found.public_id}-quarantine.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response  # type: ignore[return-value]


# ---- contexts of the pages


def _imports_page(request: ProjectRequest, problem: str = "", status: int = 200) -> HttpResponse:
    project = request.member.project
    statuses = _statuses(project)
    is_alive = any(one.is_alive or one.is_paused for one in statuses)
    places = {pk: place for place, pk in enumerate(project.imports.order_by("id").values_list("pk", flat=True), 1)}
    rows = _files(project).filter(state=Import.State.COMPLETE).select_related("created_by").order_by("-id")
    page = Paginator(rows, _PAGE).get_page(request.GET.get("page"))
    waiting = project.uploads.filter(deleted_at__isnull=True, imports__isnull=True).order_by("-id")[:_PAGE]
    context = {
        "problem": problem,
        "limit": settings.UPLOAD_MAX_BYTES,
        "statuses": statuses,
        "unfinished": None if is_alive else _unfinished(project),
        "waiting": [] if is_alive else waiting,
        "page": page,
        "imports": [(places[source.pk], source) for source in page],  # items-quarantined takes this number
    }
    return render_page(request, "annotate/imports/list.html", "imports", context, status=status)


def _shown(upload: Upload, seen: upload_preview.Preview) -> dict[str, Any]:
    """The template's context for a preview. Its forms send exactly the choices that the preview shows."""
    roles = [(role, _ROLES[role], seen.mapping.get(role)) for role in _roles_of(upload.project)]
    delimiter, unfinished = DELIMITERS[seen.dialect.delimiter], _unfinished(upload.project)
    return {
        "seen": seen,
        "problem": seen.problem,
        "roles": roles,
        "encoding": seen.dialect.encoding,
        "delimiter": delimiter,
        "encoding_name": _ENCODINGS[seen.dialect.encoding],
        "delimiter_name": _DELIMITERS[delimiter],
        "columns": [(column, _ROLES.get(column.role or "")) for column in seen.columns],
        "rows": [(row, list(row.metadata.items())) for row in seen.rows],  # a key "items" would hide dict.items
        "rejected": seen.rejected[: upload_preview.N_SHOWN],
        "n_sound": seen.n_new + seen.n_revived + seen.n_duplicates,
        "labels": [
            (role, _ROLES[role], names, [one for one in names if not one.is_known])
            for role, names in seen.labels.items()
        ],
        "unfinished": unfinished if unfinished and unfinished.upload_id != upload.pk else None,
        "last_run": _last_run(upload),
        "fixes": Fixing(upload.project).by_import(
            has_labels=bool(seen.mapping.get("gold") or seen.mapping.get("silver"))
        ),
    }


def _statuses(project: Project) -> list[Status]:
    """The import run in progress; else the last one, if it ended badly."""
    rows = [status(run) for run in project.runs.filter(kind="import").select_related("started_by").order_by("-id")[:5]]
    alive = [one for one in rows if one.is_alive or one.is_paused]
    return alive or [one for one in rows[:1] if one.is_bad or one.is_news]


def _files(project: Project) -> QuerySet[Import]:
    """The imports of files: without the import that holds corrected items."""
    return project.imports.exclude(file_name=CORRECTIONS, upload=None)


def _unfinished(project: Project) -> Import | None:
    """The import that is unfinished while no run works on it."""
    if project.runs.filter(kind="import", state__in=Run.ALIVE).exists():
        return None
    return _files(project).filter(state=Import.State.RUNNING).select_related("upload", "created_by").first()


def _last_run(upload: Upload) -> str:
    """The public id of the last run for this file: a form carries it, so that a second click is noticed."""
    found = Run.objects.filter(project=upload.project, kind="import", parameters__upload=upload.public_id)
    return found.order_by("-id").values_list("public_id", flat=True).first() or ""


# ---- choices in forms


def _said(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given.get(name, "") for name in ("encoding", "delimiter")}


def _dialect(given: Mapping[str, str]) -> dict[str, Any]:
    """The dialect's fields that the form sets; the others are detected."""
    found: dict[str, Any] = {name: given[name] for name in ("format", "encoding") if given.get(name)}
    if given.get("delimiter"):
        found["delimiter"] = _SIGNS.get(given["delimiter"], given["delimiter"])
    if given.get("header_line"):
        found["header_line"] = {"1": 1, "2": 2}.get(given["header_line"], 0)
    Dialect.from_json({"format": "csv", **found})  # InvalidInput for impossible values
    return found


def _columns(given: Mapping[str, str], project: Project) -> dict[str, str | None]:
    """The chosen column by role; empty if the form names no columns."""
    return dict(_each_column(given, project))


def _each_column(given: Mapping[str, str], project: Project) -> Iterator[tuple[str, str | None]]:
    for role in _roles_of(project):
        if f"column_{role}" in given:
            yield role, given[f"column_{role}"] or None


def _roles_of(project: Project) -> tuple[str, ...]:
    return (*modality(project.modality).FIELDS, "id", "gold", "silver", "confidence")


def _parameters(source: Import, upload: Upload) -> dict[str, Any]:
    """The parameters of the run that began this import, from the import's row."""
    fields = dict(source.options["fields"])
    content = {name: name for name in modality(source.project.modality).FIELDS} | fields.pop("content", {})
    return {"upload": upload.public_id, "dialect": source.options["dialect"], "columns": {**content, **fields}}
