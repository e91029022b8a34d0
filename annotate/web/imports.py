"""Pages to send a file, preview its import, start and watch the import, and download quarantined lines."""

from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from annotate import projects, tasks
from annotate.dataset import downloads
from annotate.errors import Conflict, InvalidInput, NotFound, QuotaReached
from annotate.formats.dialect import DELIMITERS
from annotate.imports import preview as upload_preview
from annotate.imports import quotas, uploads
from annotate.items import CORRECTIONS
from annotate.modalities import modality
from annotate.models import Import, Project, Run, Upload, UploadReservation
from annotate.silver import quotes
from annotate.web import import_choices as choosing
from annotate.web.fixing import Fixing
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to, render_page
from annotate.web.http.limits import refused_read
from annotate.web.http.uploading import FIELD, Spool, takes_file
from annotate.web.run_status import Status, status

_PAGE = 50
_SHOWN_METADATA = 30  # of a row of the preview
_PIECE = 1 << 20
_KEPT = ("format", "encoding", "delimiter", "header_line", "quoting", "column_", "label_", "meaning_")


@require_GET
@project_page(to="manage")
def list_imports(request: ProjectRequest) -> HttpResponse:
    return _imports_page(request)


@csrf_exempt  # checked in _receive, after it is known who sends the form
@require_POST
@project_page(to="manage")
def upload(request: ProjectRequest) -> HttpResponse:
    """Room for the whole body is reserved before it is read: its length is that of the file and the form around it."""
    if not takes_file(request):
        return refused_read(request) or _receive(request, None)
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    try:
        with quotas.reserved(project=request.member.project, by=request.member.user, n_bytes=length) as room:
            request.upload_handlers = [Spool(request)]
            return refused_read(request) or _receive(request, room)
    except QuotaReached as error:
        request.upload_handlers = [Spool(request, keeps=False)]
        return refused_read(request) or _beyond_quota(request, error)


@csrf_protect
def _beyond_quota(request: ProjectRequest, error: QuotaReached) -> HttpResponse:
    response = _imports_page(request, str(error), status=429)
    response.headers["Retry-After"] = str(error.seconds)
    return response


@csrf_protect
def _receive(request: ProjectRequest, room: UploadReservation | None) -> HttpResponse:
    """Store the file and go to its preview; a file that cannot be used is not kept."""
    project, file = request.member.project, request.FILES.get(FIELD)
    try:
        if file is None:
            raise InvalidInput(_("Choose a file first."))
        name, chunks = file.name or "", file.chunks(_PIECE)
        sent = uploads.receive(project=project, by=request.member.user, file_name=name, chunks=chunks, room=room)
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
    context: dict[str, Any] = {"upload": sent, "choices": choosing.choices_of(given)}
    context["imported"] = sent.imports.filter(state=Import.State.COMPLETE).order_by("id").last()
    try:
        chosen = choosing.dialect_of(given)
        is_other = any(given.get(f"was_{name}", value) != value for name, value in choosing.said(given).items())
        columns = (
            None if is_other else choosing.columns_of(given, project) or None
        )  # columns of another dialect mean nothing
        asked = [] if is_other else [column for column, _ in choosing.answers_of(given)] + given.getlist("also_labels")
        seen = upload_preview.of_upload(upload=sent, by=request.member.user, dialect=chosen, columns=columns, ask=asked)
    except InvalidInput as error:
        context |= {"problem": str(error)}
        return render_page(request, "annotate/imports/preview.html", "preview", context, status=422)
    context |= _shown(sent, seen, {} if is_other else dict(choosing.answers_of(given)))
    cost = quotes.of_new(
        project=project, n_items=seen.n_expected, mean_characters=seen.mean_characters, by=request.member.user
    )
    return render_page(request, "annotate/imports/preview.html", "preview", context | {"cost": cost})


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
            "dialect": choosing.dialect_of(request.POST),
            "columns": choosing.columns_of(request.POST, project),
        }
        tasks.enqueue(kind="import", project=project, by=request.member.user, parameters=wanted)
    return go_to(request, reverse("imports-list", args=[project.slug]))


@require_POST
@project_page(to="manage")
def count(request: ProjectRequest, upload: str) -> HttpResponse:
    """Start a run that reads the whole file as the import with these choices would, and counts; back to the preview."""
    project, given = request.member.project, request.POST
    sent = uploads.find(project=project, public_id=upload)
    wanted = {
        "upload": sent.public_id,
        "dialect": choosing.dialect_of(given),
        "columns": choosing.columns_of(given, project),
    }
    tasks.enqueue(kind="count", project=project, by=request.member.user, parameters=wanted)
    kept = urlencode([(name, value) for name, value in given.items() if name.startswith(_KEPT)])
    return go_to(request, f"{reverse('imports-preview', args=[project.slug, sent.public_id])}?{kept}")


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
    """The quarantined lines of an import as CSV, streamed; who gets machines' labels by it is recorded first."""
    project = request.member.project
    found = project.imports.filter(public_id=source).first()
    if found is None:
        raise NotFound(_("There is no such import."))
    downloads.of_quarantine(found, by=request.member.user)
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
        "quota": quotas.usage(project),
        "statuses": statuses,
        "unfinished": None if is_alive else _unfinished(project),
        "waiting": [] if is_alive else waiting,
        "page": page,
        "imports": [(places[source.pk], source) for source in page],  # items-quarantined takes this number
        "may_tell": any(map(downloads.may_tell, page)),
    }
    return render_page(request, "annotate/imports/list.html", "imports", context, status=status)


def _shown(upload: Upload, seen: upload_preview.Preview, answers: dict[str, str]) -> dict[str, Any]:
    """The template's context for a preview. Its forms send exactly the choices that the preview shows."""
    project, unfinished = upload.project, _unfinished(upload.project)
    questions = [choosing.question(column, answers) for column in seen.label_columns[: choosing.MOST_ASKED]]
    asked = {question.column.name for question in questions}
    return {
        "seen": seen,
        "problem": seen.problem,
        "doubts": seen.doubts,
        "choices": choosing.choices_of(choosing.as_form(seen.dialect)),
        "roles": [
            (role, choosing.ROLES[role], seen.mapping.get(role), [one for one in seen.columns if one.name not in asked])
            for role in choosing.roles_of(project)
            if role not in choosing.LABEL_ROLES and (role != "confidence" or seen.mapping.get("silver"))
        ],
        "mapping": [(role, seen.mapping.get(role)) for role in choosing.roles_of(project)],
        "questions": questions,
        "is_open": any(question.is_open for question in questions),
        "others": [one for one in seen.columns if one.role is None and one.name not in asked],
        "delimiter_name": choosing.DELIMITER_WORDS[DELIMITERS[seen.dialect.delimiter]],
        "encoding_name": choosing.ENCODING_WORDS[seen.dialect.encoding],
        "columns": [(column, choosing.ROLES.get(column.role or "")) for column in seen.columns],
        # A key "items" would hide dict.items.
        "rows": [(row, list(islice(row.metadata.items(), _SHOWN_METADATA))) for row in seen.rows],
        "rejected": seen.rejected[: upload_preview.N_SHOWN],
        "n_sound": seen.n_new + seen.n_revived + seen.n_duplicates,
        "labels": [
            (role, choosing.ROLES[role], names, [one for one in names if not one.is_known])
            for role, names in seen.labels.items()
        ],
        "in_use": projects.are_labels_in_use(project),
        "schema": projects.current_schema(project) if project.schemas.exists() else None,
        "counted": _counted(upload, seen),
        "unfinished": unfinished if unfinished and unfinished.upload_id != upload.pk else None,
        "last_run": _last_run(upload),
        "fixes": Fixing(upload.project).by_import(
            has_labels=bool(seen.mapping.get("gold") or seen.mapping.get("silver"))
        ),
    }


def _counted(upload: Upload, seen: upload_preview.Preview) -> Status | None:
    """The last count of this file as it is read now."""
    runs = upload.project.runs.filter(kind="count", parameters__upload=upload.public_id).order_by("-id")[:10]
    found = next((run for run in runs if _reads_like(run, seen)), None)
    return status(found) if found else None


def _reads_like(run: Run, seen: upload_preview.Preview) -> bool:
    """Whether the run reads the file as the preview does; of what it has still to detect nothing is known."""
    read = run.findings or run.parameters
    return read["dialect"].items() <= seen.dialect.to_json().items() and read["columns"] == seen.mapping


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


def _parameters(source: Import, upload: Upload) -> dict[str, Any]:
    """The parameters of the run that began this import, from the import's row."""
    fields = dict(source.options["fields"])
    content = {name: name for name in modality(source.project.modality).FIELDS} | fields.pop("content", {})
    return {"upload": upload.public_id, "dialect": source.options["dialect"], "columns": {**content, **fields}}
