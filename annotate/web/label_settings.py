"""The page of a project's labels: replaced freely at first; once in use, changed after a preview in counts."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.forms import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate import label_changes, projects
from annotate.errors import Conflict, InvalidInput
from annotate.label_changes import NextLabel
from annotate.models import LabelSchema, Project
from annotate.reports import label_versions
from annotate.web import label_forms, label_words
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to, render_page
from annotate.web.label_forms import INTO, MOST_ROWS, PREFIX, LabelRows, LabelsForm

_PAGE = 25  # versions
_BUTTONS = ("csrfmiddlewaretoken", "confirm", "edit", "base", "add", "up", "down", "split")


@dataclass
class _Desk:
    """What is being edited: rows, or a pasted text."""

    schema: LabelSchema
    rows: Any  # LabelRows
    pasted: LabelsForm
    is_pasted: bool = False

    def plan(self) -> list[NextLabel] | None:
        """The next version; None where the form says what is missing, InvalidInput where the plan is odd."""
        if self.is_pasted:
            return self._pasted_plan() if self.pasted.is_valid() else None
        if not self.rows.is_valid():
            return None
        if projects.are_labels_in_use(self.schema.project) and not self.rows.is_complete(self.schema):
            return None
        new: list[NextLabel] = self.rows.plan()
        projects.check_labels([one.label for one in new], projects.names_today(self.schema.project))
        return new

    def _pasted_plan(self) -> list[NextLabel] | None:
        try:
            return self.pasted.plan(self.schema)
        except (InvalidInput, ValidationError) as error:
            self.pasted.add_error("labels", error if isinstance(error, ValidationError) else str(error))
            return None


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@project_page(to="manage")
def show(request: ProjectRequest) -> HttpResponse:
    """The labels to edit; sent, they are saved where nothing is labeled yet, else previewed, and saved by `confirm`."""
    desk = _desk(request)
    if request.method != "POST" or label_forms.is_rearranged(request.POST) or "edit" in request.POST:
        return _page(request, desk)
    try:
        new = desk.plan()
        return _page(request, desk, 422) if new is None else _sent(request, desk, new)
    except InvalidInput as error:
        messages.error(request, str(error))
        return _page(request, desk, 422)
    except Conflict as error:
        messages.error(request, str(error))
        return _page(request, desk, 409)


@require_POST
@project_page(to="manage")
def undo(request: ProjectRequest) -> HttpResponse:
    """Take the last change of labels back."""
    by = request.member
    try:
        schema = label_changes.undo(project=by.project, by=by.user, version=_number(request.POST.get("version")))
    except Conflict as error:
        messages.error(request, str(error))
        return _page(request, _stored(by.project), 409)
    messages.success(
        request, _("The change is taken back: version %(version)d is in force.") % {"version": schema.version}
    )
    return go_to(request, reverse("settings-labels", args=[by.project.slug]))


def _sent(request: ProjectRequest, desk: _Desk, new: list[NextLabel]) -> HttpResponse:
    by, base = request.member, _number(request.POST.get("base"))
    if desk.schema.version != base and _is_repeated(request, desk.schema, new):
        return go_to(request, reverse("settings-labels", args=[by.project.slug]))
    if not projects.are_labels_in_use(by.project):
        labels = [one.label for one in new]
        schema = projects.add_schema(project=by.project, labels=labels, by=by.user, base=base)
        messages.success(request, _("The labels are saved as version %(version)d.") % {"version": schema.version})
        return go_to(request, reverse("settings-labels", args=[by.project.slug]))
    if desk.schema.version != base:
        raise Conflict(_("Somebody else saved other labels meanwhile. Yours are not saved yet."))
    if label_changes.is_today(project=by.project, new=new):
        messages.success(request, _("Nothing was changed: this is version %(version)d.") % {"version": base})
        return go_to(request, reverse("settings-labels", args=[by.project.slug]))
    if "confirm" not in request.POST:
        return _preview(request, desk, new)
    schema = label_changes.change(project=by.project, new=new, by=by.user, base=base)
    sentence = _(
        "The labels are changed: version %(version)d. What that did, and how to take it back, is under Versions."
    )
    messages.success(request, sentence % {"version": schema.version})
    return go_to(request, reverse("settings-labels", args=[by.project.slug]))


def _is_repeated(request: ProjectRequest, schema: LabelSchema, new: list[NextLabel]) -> bool:
    """Whether the same person just saved just this: the button was pressed twice."""
    stored = [(label.name, label.definition, label.examples) for label in projects.labels_of(schema)]
    sent = [(one.label.name, one.label.definition, list(one.label.examples)) for one in new]
    return schema.created_by_id == request.member.user_id and stored == sent


def _preview(request: ProjectRequest, desk: _Desk, new: list[NextLabel]) -> HttpResponse:
    """What the change would do, in counts. The form travels along, to be confirmed or to be edited again."""
    project = request.member.project
    effect = label_changes.preview(project=project, new=new, by=request.member.user)
    has_model = project.model_versions.filter(is_champion=True).exists()
    context = {
        "schema": desk.schema,
        "sentences": label_words.consequences(effect, has_model=has_model),
        "fates": label_words.rows(effect),
        "added": effect.added,
        "sent": [
            (name, value) for name in request.POST for value in request.POST.getlist(name) if name not in _BUTTONS
        ],
    }
    return render(request, "annotate/project_settings/labels_preview.html", context)


def _page(request: ProjectRequest, desk: _Desk, status: int = 200) -> HttpResponse:
    project, schema = request.member.project, desk.schema
    versions = label_versions.versions(project)
    page = Paginator(versions, _PAGE).get_page(request.GET.get("page"))
    context = {
        "schema": schema,
        "is_late": status == 409 and request.POST.get("base") is not None,
        "rows": desk.rows if len(desk.rows) <= MOST_ROWS else None,
        "wholes": desk.rows.wholes(),
        "pasted": desk.pasted,
        "is_pasted": desk.is_pasted,
        "base": schema.version if status == 409 else request.POST.get("base", schema.version),
        "in_use": projects.are_labels_in_use(project),
        "today": projects.labels_of(schema),
        "into": _merge_options(schema),
        "obstacle": label_changes.obstacle_to_undo(schema),
        "page": page,
        "versions": [(one, label_words.changes(one)) for one in page],
        "is_change": bool(versions[0].fates),
    }
    return render_page(request, "annotate/project_settings/labels.html", "labels", context, status=status)


def _desk(request: ProjectRequest) -> _Desk:
    """What was sent, on top of what is stored."""
    desk = _stored(request.member.project)
    if request.method != "POST":
        return desk
    if "paste" in request.POST:
        desk.pasted, desk.is_pasted = LabelsForm(request.POST), True
        return desk
    if not label_forms.is_rearranged(request.POST):
        desk.rows = LabelRows(request.POST, prefix=PREFIX)
        return desk
    data, place, focus = label_forms.rearranged(request.POST)
    desk.rows = LabelRows(data, prefix=PREFIX)
    if "add" in request.POST and len(desk.rows) == MOST_ROWS == _number(request.POST.get(f"{PREFIX}-TOTAL_FORMS")):
        messages.error(request, _("More than %(most)d labels are edited as JSON, below.") % {"most": MOST_ROWS})
    _give_focus(desk.rows, place, focus)
    return desk


def _give_focus(rows: Any, place: int, focus: str) -> None:
    if focus == "name" and len(rows):
        rows[place].fields["name"].widget.attrs["autofocus"] = True
    elif len(rows):
        rows[place].focus = focus


def _stored(project: Project) -> _Desk:
    schema = projects.current_schema(project)
    text = label_forms.labels_as_json(schema, in_use=projects.are_labels_in_use(project))
    return _Desk(
        schema, LabelRows(initial=label_forms.rows_of(schema), prefix=PREFIX), LabelsForm(initial={"labels": text})
    )  # fmt: skip


def _merge_options(schema: LabelSchema) -> SafeString:
    """Made once a page and not once a row: 100 rows of 100 choices are many."""
    names = ((INTO, label.name, label.name) for label in projects.labels_of(schema))
    options = format_html_join("", '<option value="{}{}">{}</option>', names)
    return format_html("{}", options)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
