"""The page *Label* and the requests of its script. Every action also works as a plain form without the script."""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotate.errors import Conflict, InvalidInput, LeaseLost, NotFound
from annotate.labeling import answers as answering
from annotate.labeling import leases as leasing
from annotate.labeling import queue, suggestions, waiting, workload
from annotate.models import Annotation, Lease
from annotate.web import labeling_io
from annotate.web.http import errors
from annotate.web.http.guards import ProjectRequest, project_page, wants_json
from annotate.web.http.htmx import go_to

AHEAD = 3  # questions that the script holds: one on the screen and two ahead
_View = Callable[..., HttpResponse]


def _own_session(view: _View) -> _View:
    """Decorator: refuses a request whose page was loaded by another person, so that no answer gets a wrong author."""

    @wraps(view)
    def checked(request: ProjectRequest) -> HttpResponse:
        person = request.POST.get("person")
        if person is None or person == request.user.public_id:  # type: ignore[union-attr]
            return view(request)
        sentence = _("This page belongs to somebody who has signed out. Nothing was stored; load the page again.")
        return errors.answer(request, 409, "other_person", sentence)

    return checked


@require_GET
@never_cache
@project_page(to="annotate")
def work(request: ProjectRequest) -> HttpResponse:
    """The page with the questions that the person holds, or with one of their answers to change. Leases none."""
    if wants_json(request):
        get_token(request)  # the script fetches the page to get a new CSRF cookie
        return JsonResponse({})
    context = labeling_io.page(request.member)
    if lease_id := request.GET.get("change"):
        context |= _earlier(request, lease_id)
    elif not context["item"] and "empty" in request.GET:
        context["empty"] = _empty(request)
    return _page(request, context)


@require_POST
@project_page(to="annotate")
@_own_session
def next_items(request: ProjectRequest) -> HttpResponse:
    """Lease questions up to the number to be held; a script gets those that it does not have yet."""
    if not wants_json(request):
        return _next_page(request)
    have, project, person = labeling_io.ids(request.POST, "have"), request.member.project, request.member.user
    done = labeling_io.ids(request.POST, "done")
    leases = _leases(request, n=AHEAD, done=done)
    if not leases:
        html = labeling_io.empty_html(request, _empty(request))
        now = {"schema": request.member.schema_version, "progress": labeling_io.progress(project, person)}
        return JsonResponse({"held": [], "items": [], "empty": html, **now})
    new = [lease for lease in leases if lease.public_id not in have]
    shown = labeling_io.one_id(request.POST, "shown")
    on_screen = next((lease for lease in leases if lease.public_id == shown), None)
    if on_screen and on_screen.shown_at is None:
        _mark_shown(request, on_screen)
    # Drafts are only read for a page's first request; later the script has them, and a query is saved.
    items = labeling_io.items(project, person, new, with_drafts=not have)
    body: dict[str, Any] = {
        "held": [lease.public_id for lease in leases],
        "items": [labeling_io.as_json(item) for item in items],
        "schema": request.member.schema_version,
    }
    if not new:
        body["progress"] = labeling_io.progress(project, person)
    return JsonResponse(body)


@require_POST
@project_page(to="annotate")
def again(request: ProjectRequest) -> HttpResponse:
    """Lease questions that the person skipped and that wait for others, and show the page with them."""
    project = request.member.project
    held = waiting.lease_skipped(project=project, by=_me(request), n=AHEAD)
    here = reverse("labeling-work", args=[project.slug])
    return go_to(request, here if held else f"{here}?empty")


@require_POST
@project_page(to="annotate", by_domain=True)
@_own_session
def submit(request: ProjectRequest) -> HttpResponse:
    try:
        given = labeling_io.read_answer(request.POST)
        annotation = answering.submit(
            lease_id=given.lease, project=request.slug, answer=given.answer, key=given.key, by=_user(request)
        )
    except InvalidInput as error:
        return _refused(request, error)
    if wants_json(request):
        return JsonResponse(labeling_io.stored(annotation))
    return _next_page_after(request, annotation)


@require_POST
@project_page(to="annotate")
@_own_session
def change(request: ProjectRequest) -> HttpResponse:
    """Change one of the person's answers, named by the lease under which it was given."""
    try:
        given = labeling_io.read_answer(request.POST)
        annotation = answering.change(
            lease_id=given.lease, project=request.member.project, answer=given.answer, key=given.key, by=_me(request)
        )
    except InvalidInput as error:
        return _refused(request, error)
    if wants_json(request):
        return JsonResponse(labeling_io.stored(annotation))
    return _next_page_after(request, annotation)


@require_POST
@project_page(to="annotate")
@_own_session
def renew(request: ProjectRequest) -> HttpResponse:
    """The screen's heartbeat: renew the leases; returns those still held, and the person's progress."""
    project, leases = request.member.project, labeling_io.ids(request.POST, "lease")
    held = leasing.renew(
        project=project, by=_me(request), public_ids=leases, shown=labeling_io.one_id(request.POST, "shown")
    )
    progress = labeling_io.progress(project, _me(request))
    return JsonResponse({"held": held, "schema": request.member.schema_version, "progress": progress})


@require_POST
@project_page(to="annotate")
@_own_session
def release(request: ProjectRequest) -> HttpResponse:
    """End the named leases, so that other people can have the questions."""
    leases = labeling_io.ids(request.POST, "lease")
    n_released = leasing.release(project=request.member.project, by=_me(request), public_ids=leases)
    if wants_json(request):
        return JsonResponse({"n_released": n_released})
    return go_to(request, reverse("labeling-work", args=[request.member.project.slug]))


@require_POST
@project_page(to="annotate")
@_own_session
def draft(request: ProjectRequest) -> HttpResponse:
    given = labeling_io.read_draft(request.POST)
    lease = leasing.find_lease(project=request.member.project, public_id=given.lease, by=_me(request))
    label = labeling_io.label_at(request.member.project, given.label, given.version)
    answering.save_draft(lease=lease, by=_me(request), label=label, is_flagged=given.is_flagged, comment=given.comment)
    return HttpResponse(status=204)


@require_POST
@project_page(to="annotate")
@_own_session
def reveal(request: ProjectRequest) -> HttpResponse:
    """The machine's label of a question, once its suggestion policy opens it; a form leads to the own history."""
    project = request.member.project
    suggestion = suggestions.reveal(
        lease_id=labeling_io.one_id(request.POST, "lease"), project=project, by=_me(request)
    )
    return _opened(request, labeling_io.suggestion_html(request, suggestion))


@require_POST
@project_page(to="annotate")
@_own_session
def why(request: ProjectRequest) -> HttpResponse:
    """The reasons why a question's item was drawn, once they are open; a form leads to the own history."""
    project = request.member.project
    arms = suggestions.why(lease_id=labeling_io.one_id(request.POST, "lease"), project=project, by=_me(request))
    return _opened(request, labeling_io.reasons_html(request, arms))


@require_GET
@never_cache
@project_page(to="annotate")
def history(request: ProjectRequest) -> HttpResponse:
    """The person's last answers in the open round, newest first, each with what is needed to change it.

    As a page also those of closed rounds, which cannot be changed: there, why they were asked and the machine's label
    open.
    """
    project = request.member.project
    past = [labeling_io.past(one, project) for one in answering.history(project=project, by=_me(request))]
    if wants_json(request):
        is_open = bool(past) or queue.of_open_round(project).exists()
        items = [labeling_io.as_json(item) for item in past]
        return JsonResponse({"items": items, "is_open": is_open, "schema": request.member.schema_version})
    closed = [labeling_io.closed(one, project) for one in suggestions.past(project=project, by=_me(request))]
    return render(request, "annotate/labeling/history.html", {"past": past, "closed": closed})


def _opened(request: ProjectRequest, html: str) -> HttpResponse:
    """What was opened, for the script; for a form the page of own answers, which shows it from now on."""
    if wants_json(request):
        return JsonResponse({"html": html})
    return go_to(request, reverse("labeling-history", args=[request.member.project.slug]))


def _me(request: ProjectRequest) -> Any:
    return request.member.user


def _user(request: ProjectRequest) -> Any:
    """The signed-in person; whether they are a member is checked by the domain function."""
    return request.user


def _leases(request: ProjectRequest, *, n: int, done: list[str]) -> list[Lease]:
    """leases.lease_next, tried once more if another window of this person was quicker."""
    project, person = request.member.project, _me(request)
    try:
        return leasing.lease_next(project=project, annotator=person, n=n, done=done)
    except Conflict:
        return leasing.lease_next(project=project, annotator=person, n=n, done=done)


def _next_page_after(request: ProjectRequest, annotation: Annotation) -> HttpResponse:
    if sentence := labeling_io.notice(annotation):
        messages.warning(request, sentence)
    return _next_page(request)


def _mark_shown(request: ProjectRequest, lease: Lease) -> None:
    # The question may have been answered just now, by a request still in progress.
    with suppress(LeaseLost):
        leasing.shown(lease_id=lease.public_id, by=_me(request))


def _next_page(request: ProjectRequest) -> HttpResponse:
    """The page without a script: lease one question, mark it as shown, and show it."""
    leases = _leases(request, n=1, done=[])
    here = reverse("labeling-work", args=[request.member.project.slug])
    if not leases:
        return go_to(request, f"{here}?empty")
    if leases[0].shown_at is None:
        _mark_shown(request, leases[0])
    return go_to(request, here)


def _empty(request: ProjectRequest) -> dict[str, Any]:
    project = request.member.project
    return labeling_io.empty(workload.why_empty(project=project, annotator=_me(request)), request.member)


def _earlier(request: ProjectRequest, lease_id: str) -> dict[str, Any]:
    """The page's context for changing the answer given under this lease."""
    project = request.member.project
    answers = answering.history(project=project, by=_me(request))
    found = next((one for one in answers if one.lease_id == lease_id), None)
    if found is None:
        raise NotFound(_("This answer is not among your last ten of the open round; those of a closed round stand."))
    item = labeling_io.past(found, project)
    return labeling_io.form(item, **item["answer"]) | {"item": item, "items_ahead": [], "earlier": item["earlier"]}


def _refused(request: ProjectRequest, error: InvalidInput) -> HttpResponse:
    """422: JSON with the sentence for the script; else the form again, with the sentence and what was written."""
    member = request.member  # before the form is shown: strangers get a 404
    if member.pk and wants_json(request):
        raise error
    context = labeling_io.page(member)
    context |= {"sentence": str(error), "title": _("Please check your input"), "comment": request.POST.get("comment")}
    return _page(request, context, status=422)


def _page(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return render(request, "annotate/labeling/work.html", context, status=status)
