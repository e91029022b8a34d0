"""The pages *Projects* (those that the person belongs to) and *New project*."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from annotate import projects
from annotate.access import MAY
from annotate.errors import InvalidInput
from annotate.models import GuidelineVersion, Project, User
from annotate.models.draw import Round
from annotate.reports import my_projects
from annotate.reports.my_projects import ProjectProgress
from annotate.web.forms import role_name
from annotate.web.http.clock import OF_THE_DEVICE, UTC
from annotate.web.http.guards import home_of
from annotate.web.http.htmx import go_to
from annotate.web.profile import zones
from annotate.web.project_forms import CreateForm, initial_of

_PAGE = 50


@require_GET
def list_projects(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)  # guaranteed by SignedInOnly
    page = Paginator(my_projects.standings(request.user), _PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "projects": [_shown(standing) for standing in page],
        "may_create": projects.may_create(request.user),
    }
    return render(request, "annotate/projects/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def create(request: HttpRequest) -> HttpResponse:
    """Make a project by one form; people who may not make one are told whom to ask."""
    by = request.user
    assert isinstance(by, User)  # guaranteed by SignedInOnly
    projects.require_may_create(by)
    form, status = CreateForm(initial=_new(by)), 200
    if request.method == "POST":
        form, status = CreateForm(request.POST), 422
        if form.is_valid():
            try:
                project = _create(form, by)
                messages.success(request, _("The project is made. Say what each label means, then import items."))
                return go_to(request, reverse("settings-labels", args=[project.slug]))
            except projects.ShortNameTaken as error:
                form.add_error("slug", str(error))
            except InvalidInput as error:
                form.add_error("name", str(error))
    context = {
        "form": form,
        "guidelines": GuidelineVersion(markdown=form["guidelines"].value() or ""),
        "zones": zones(),
    }
    return render(request, "annotate/projects/create.html", context, status=status)


@transaction.atomic
def _create(form: CreateForm, by: User) -> Project:
    given = form.cleaned_data
    project = projects.create(
        labels=given["labels"], slug=given["slug"], modality=given["modality"], by=by, **form.settings()
    )
    if given["guidelines"].strip():
        projects.set_guidelines(project=project, markdown=given["guidelines"], by=by)
    return project


def _new(by: User) -> dict[str, object]:
    """The initial values of the form: a project's defaults, with the time zone of the person who makes it."""
    chosen = by.time_zone if by.time_zone != UTC else OF_THE_DEVICE
    return {**initial_of(Project(time_zone=chosen)), "modality": "text"}


def _shown(standing: ProjectProgress) -> dict[str, object]:
    member = standing.member
    home, label_page = home_of(member), reverse("labeling-work", args=[member.project.slug])
    return {
        "project": member.project,
        "role": role_name(member.role),
        "is_trusted": member.is_trusted,
        "home": home,
        "begins_with_questions": home == label_page,
        "label_page": label_page if member.role in MAY["annotate"] and home != label_page else "",
        "n_mine": standing.n_mine,
        "n_done": standing.n_done,
        "n_questions": standing.n_questions,
        "line": _line(standing),
    }


def _line(standing: ProjectProgress) -> str:
    """One line about where a project stands, for the person who reads it."""
    if standing.round is None:
        return _("No round yet: nothing is asked.")
    index = standing.round.index
    if standing.round.state == Round.State.CLOSED:
        return _("Round %(round)d is closed: nothing is asked now.") % {"round": index}
    if standing.member.role not in MAY["annotate"]:
        return _("Round %(round)d is open.") % {"round": index}
    if not standing.n_mine:
        return _("Round %(round)d: nothing waits for you.") % {"round": index}
    waiting = ngettext(
        "Round %(round)d: %(n)d question waits for you.",
        "Round %(round)d: %(n)d questions wait for you.",
        standing.n_mine,
    )
    return waiting % {"round": index, "n": standing.n_mine}
