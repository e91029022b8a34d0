"""Pages of a project's settings and guidelines: what is in force, what can change now, and how to change it."""

import difflib
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotate import markdown, project_settings, projects, turns
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.models import GuidelineVersion, Project
from annotate.silver import connections
from annotate.web import account_words
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to
from annotate.web.profile import zones
from annotate.web.project_forms import MODALITIES, GuidelinesForm, SettingsForm, initial_of

_shown_and_sent = require_http_methods(["GET", "HEAD", "POST"])
_PAGE = 25  # versions of the guidelines
_MOST_COMPARED = 1_000_000  # pairs of lines
_MOST_VERSIONS = 1_000_000  # larger numbers do not fit into the column
_FIELD_OF = {"human_price_micros": "human_price"}  # settings whose form field has another name


@_shown_and_sent
@never_cache
@project_page(to="manage")
def show(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    posted = request.POST if request.method == "POST" else None
    form, status = _form(project, posted), 200
    current = project_settings.stamp(project)
    shown = request.POST.get("shown", current)
    if posted is not None:
        status = 422
        if form.is_valid():
            try:
                _save(request, form)
                messages.success(request, _("The settings are saved."))
                return go_to(request, reverse("settings-show", args=[project.slug]))
            except project_settings.ChangedMeanwhile as error:
                form.add_error(None, str(error))
                status, shown = 409, current  # having seen both, the person may now save theirs
            except (InvalidInput, Conflict) as error:
                form.add_error(None, str(error))
    context = {
        "form": form,
        "shown": shown,
        "is_late": status == 409,
        "modality": MODALITIES.get(project.modality, project.modality),
        "zones": zones(),
        "unproven": account_words.unproven(project.members.select_related("user")),
        "connections": list(connections.usable(project)),
    }
    return render(request, "annotate/project_settings/show.html", context, status=status)


@require_POST
@project_page(to="manage")
def choose_annotator(request: ProjectRequest) -> HttpResponse:
    """Choose the annotator: a connection lent to the project, or this site's own annotator."""
    by, wanted = request.member, request.POST.get("connection", "")
    connection = connections.choose_lent(project=by.project, public_id=wanted, by=by.user)
    messages.success(
        request, _("From now on items are pre-labeled by %(name)s.") % {"name": connection or _("this site")}
    )
    return go_to(request, reverse("settings-show", args=[by.project.slug]))


@_shown_and_sent
@never_cache
@project_page(to="manage")
def guidelines(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    latest = projects.current_guidelines(project)
    text = latest.markdown if latest else ""
    form, status = GuidelinesForm(initial={"guidelines": text}), 200
    if request.method == "POST":
        form, status = GuidelinesForm(request.POST), 422
        if form.is_valid():
            try:
                return _save_guidelines(request, form, latest)
            except InvalidInput as error:
                form.add_error("guidelines", str(error))
            except Conflict as error:
                form.add_error(None, str(error))
                status = 409
    now = latest.version if latest else 0
    context = {
        "form": form,
        "latest": latest,
        "base": now if status == 409 else request.POST.get("base", now),
        "is_late": status == 409,
        "guidelines": GuidelineVersion(markdown=form["guidelines"].value() or ""),
        "page": Paginator(project.guidelines.select_related("created_by").order_by("-version"), _PAGE).get_page(
            request.GET.get("page")
        ),
        "n_prompts": project.prompts.count(),
    }
    return render(request, "annotate/project_settings/guidelines.html", context, status=status)


@require_GET
@project_page(to="manage")
def guidelines_version(request: ProjectRequest, version: int) -> HttpResponse:
    """One version of the guidelines, and its changes line by line."""
    if not 0 < version < _MOST_VERSIONS:
        raise NotFound(_("There is no such version of the guidelines."))
    found = request.member.project.guidelines.select_related("created_by").filter(version__in=(version, version - 1))
    both = {one.version: one for one in found}
    if version not in both:
        raise NotFound(_("There is no such version of the guidelines."))
    before = both.get(version - 1)
    context = {
        "guidelines": both[version],
        "lines": difference(before.markdown if before else "", both[version].markdown) if before else None,
    }
    return render(request, "annotate/project_settings/guidelines_version.html", context)


@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """Markdown rendered and sanitized, as pages show it, for people who write guidelines or make a project."""
    text = request.POST.get("guidelines", "")[: markdown.MOST_CHARACTERS]
    context = {"guidelines": GuidelineVersion(markdown=text)}
    with turns.HEAVY.taken(request.user.pk):
        return render(request, "annotate/project_settings/_preview.html", context)


@dataclass(frozen=True)
class Line:
    """A line of a comparison."""

    sign: str  # "+" new, "-" gone, "" the same
    text: str


def difference(before: str, after: str) -> list[Line]:
    """Both texts as one list of lines; of long equal parts only the lines around a change."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) * len(new) > _MOST_COMPARED:  # difflib could take minutes; what is equal at both ends is left out
        old, new = _without_equal_ends(old, new)
        if len(old) * len(new) > _MOST_COMPARED:
            return [Line("-", text) for text in old] + [Line("+", text) for text in new]
    found = list(difflib.unified_diff(old, new, n=3, lineterm=""))
    rows = found[2:]  # without the two lines of file names
    return [Line("…", "") if row.startswith("@@") else Line(row[0].strip(), row[1:]) for row in rows]


def _without_equal_ends(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Both without the lines that are equal at the beginning and at the end, except the nearest three."""
    start = max(0, _n_equal(old, new) - 3)
    old, new = old[start:], new[start:]
    end = max(0, _n_equal(old[::-1], new[::-1]) - 3)
    return old[: len(old) - end], new[: len(new) - end]


def _n_equal(old: list[str], new: list[str]) -> int:
    """How many lines are equal at the beginning."""
    return next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _form(project: Project, posted: Any) -> SettingsForm:
    """The form. A setting that cannot change now is disabled and says why."""
    form = SettingsForm(posted, initial=initial_of(project))
    for setting, sentence in project_settings.refusals(project).items():
        field = form.fields[_FIELD_OF.get(setting, setting)]
        field.disabled, field.help_text = True, sentence
    return form


def _save(request: ProjectRequest, form: SettingsForm) -> Project:
    return project_settings.change(
        project=request.member.project, by=request.member.user, shown=request.POST.get("shown", ""), **form.settings()
    )


def _save_guidelines(request: ProjectRequest, form: GuidelinesForm, latest: GuidelineVersion | None) -> HttpResponse:
    by = request.member
    saved = projects.set_guidelines(
        project=by.project, markdown=form.cleaned_data["guidelines"], by=by.user, base=_number(request.POST.get("base"))
    )
    if latest and saved.pk == latest.pk:
        messages.success(request, _("Nothing was changed: this is version %(version)d.") % {"version": saved.version})
    else:
        messages.success(request, _("The guidelines are saved as version %(version)d.") % {"version": saved.version})
    return go_to(request, reverse("settings-guidelines", args=[by.project.slug]))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
