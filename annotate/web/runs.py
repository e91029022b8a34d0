"""The page *Runs*: start long work, watch, pause, cancel and repeat it."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from annotate import tasks
from annotate.dataset.export import FORMATS
from annotate.errors import InvalidInput
from annotate.labeling import queue
from annotate.learning import method_choice
from annotate.models import Project, QueueEntry, Run
from annotate.runs import lifecycle
from annotate.templatetags.figures import count
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to, render_page
from annotate.web.run_status import Seen, status
from models_ml import methods

_PAGE = 50
_MAX_BATCH = 100_000
_ELSEWHERE = frozenset({"import", "count"})  # started in annotate/web/imports.py, where files are sent
_MOMENT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")  # seconds since 1970, as pages send them
_BACK = {
    "overview": "overview-show",
    "prelabel": "prelabel-show",
    "training": "training-show",
    "exports": "exports-list",
    "runs": "runs-list",
}


@require_GET
@project_page(to="evidence")
def list_runs(request: ProjectRequest) -> HttpResponse:
    rows = request.member.project.runs.select_related("started_by").order_by("-id")
    page = Paginator(rows, _PAGE).get_page(request.GET.get("page"))
    statuses = [status(run) for run in page]
    context = {"page": page, "statuses": statuses, "alive": [one for one in statuses if one.is_alive]}
    return render_page(request, "annotate/runs/list.html", "runs", context)


@require_GET
@project_page(to="evidence")
def show(request: ProjectRequest, run: str) -> HttpResponse:
    """One run. Its fragment polls every second; when the run ends it triggers an event for the rest of the page."""
    found = lifecycle.find(project=request.member.project, public_id=run)
    now = status(found, _seen(request))
    context = {"status": now, "is_alone": "alone" in request.GET, "lines": lifecycle.log(found)}
    response = render_page(request, "annotate/runs/show.html", "status", context)
    if not now.is_alive:
        response.headers["HX-Trigger"] = "run-finished"
    return response


@require_POST
@project_page(to="manage")
def start(request: ProjectRequest) -> HttpResponse:
    project, kind = request.member.project, request.POST.get("kind", "")
    if kind not in tasks.KINDS.keys() - _ELSEWHERE:
        raise InvalidInput(_("There is no such kind of work to start."))
    parameters = _PARAMETERS.get(kind, _no_parameters)(request, project)
    if not _is_repeated(request, project, kind):
        tasks.enqueue(kind=kind, project=project, by=request.member.user, parameters=parameters)
    back = _BACK.get(request.POST.get("back", ""), "runs-list")
    return go_to(request, reverse(back, args=[project.slug]))


@require_POST
@project_page(to="manage")
def pause(request: ProjectRequest, run: str) -> HttpResponse:
    return _told(request, run, partial(lifecycle.pause, now=_is_now(request)))


@require_POST
@project_page(to="manage")
def resume(request: ProjectRequest, run: str) -> HttpResponse:
    return _told(request, run, tasks.resume)


@require_POST
@project_page(to="manage")
def cancel(request: ProjectRequest, run: str) -> HttpResponse:
    return _told(request, run, partial(tasks.cancel, now=_is_now(request)))


@require_POST
@project_page(to="manage")
def retry(request: ProjectRequest, run: str) -> HttpResponse:
    return _told(request, run, tasks.retry)


def _is_now(request: ProjectRequest) -> bool:
    """Whether the run is not to wait for calls in flight."""
    return request.POST.get("now") == "yes"


def _told(request: ProjectRequest, run: str, tell: Callable[..., Run]) -> HttpResponse:
    """Call `tell` (pause, cancel, …) with the run, then show the run that it returns, for a retry the new one."""
    found = lifecycle.find(project=request.member.project, public_id=run)
    now = tell(run=found, by=request.member.user)
    return go_to(request, reverse("runs-show", args=[request.member.project.slug, now.public_id]))


def _is_repeated(request: ProjectRequest, project: Project, kind: str) -> bool:
    """Whether the page of the form did not know the last run of this kind: a second click, or an outdated page."""
    if "seen" not in request.POST:
        return False
    return last_of_kinds(project).get(kind, "") != request.POST["seen"]


def last_of_kinds(project: Project) -> dict[str, str]:
    """The public id of the last run of each kind: forms carry it, so that a second click is noticed."""
    rows = project.runs.order_by("-id").values_list("kind", "public_id")[:200]
    return dict(reversed(list(rows)))


def _no_parameters(request: ProjectRequest, project: Project) -> dict[str, Any]:
    return {}


def _round(request: ProjectRequest, project: Project) -> dict[str, Any]:
    """The parameters of drawing a round: so many questions, everything without gold, or the items of a list."""
    size = request.POST.get("size", "batch")
    if size == "everything":
        return {"everything": True}
    if size != "items":
        return _batch(request, project)
    names = [line.strip() for line in request.POST.get("items", "").splitlines() if line.strip()]
    if not names:
        raise InvalidInput(_("Name the items to ask: their ids, one on each line."))
    return {"items": names}


def _batch(request: ProjectRequest, project: Project) -> dict[str, Any]:
    text = request.POST.get("batch", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= _MAX_BATCH):
        raise InvalidInput(_("A round has from 1 to %(most)s questions.") % {"most": count(_MAX_BATCH)})
    return {"batch": int(text), **_request(request)}


def _request(request: ProjectRequest) -> dict[str, int]:
    """The label whose items are asked for, and the version of the labels that it counts in; nothing without one."""
    given = {name: request.POST.get(name, "") for name in ("request", "schema")}
    if not any(given.values()):
        return {}
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in given.values()):
        raise InvalidInput(_("Choose a label to ask for."))
    return {name: int(text) for name, text in given.items()}


def _force(request: ProjectRequest, project: Project) -> dict[str, Any]:
    """The parameters of closing a round: forced only if the person confirmed the number of open questions."""
    is_confirmed = request.POST.get("force") == "yes"
    n_open = queue.of_open_round(project).filter(state=QueueEntry.State.OPEN).count()
    if n_open and not is_confirmed:
        sentence = ngettext(
            "%(n)s question is not answered yet. Confirm that it may stay so, and close the round then.",
            "%(n)s questions are not answered yet. Confirm that they may stay so, and close the round then.",
            n_open,
        )
        raise InvalidInput(sentence % {"n": count(n_open)})
    return {"force": is_confirmed}


def _formats(request: ProjectRequest, project: Project) -> dict[str, Any]:
    chosen = [name for name in FORMATS if name in request.POST.getlist("formats")]
    if not chosen or len(chosen) != len(set(request.POST.getlist("formats"))):
        raise InvalidInput(_("Choose at least one of the formats %(all)s.") % {"all": ", ".join(FORMATS)})
    return {"formats": chosen}


def _method(request: ProjectRequest, project: Project) -> dict[str, Any]:
    """The method that was chosen, and those of its parameters that somebody filled in."""
    method = request.POST.get("method", method_choice.DEFAULT)
    prefix = f"{method}."
    typed = {key.removeprefix(prefix): text for key, text in request.POST.dict().items() if key.startswith(prefix)}
    return {"method": method, "parameters": {key: methods.parsed(text) for key, text in typed.items() if text.strip()}}


def _failed_again(request: ProjectRequest, project: Project) -> dict[str, Any]:
    return {"failed_again": True} if request.POST.get("failed_again") == "yes" else {}


_PARAMETERS = {"prelabel": _failed_again, "draw": _round, "close": _force, "train": _method, "export": _formats}


def _seen(request: HttpRequest) -> Seen | None:
    """What the polling page saw of the run first; None if the address does not say."""
    done, at = request.GET.get("done", ""), request.GET.get("at", "")
    if not (done.isascii() and done.isdigit() and len(done) < 19 and _MOMENT.fullmatch(at)):
        return None
    return Seen(request.GET.get("step", ""), int(done), float(at))
