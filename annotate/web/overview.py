"""The page *Overview*: where the project's loop stands, what to do next, and the accuracies with intervals."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from annotate import labels, projects
from annotate.access import MAY
from annotate.labeling import waiting
from annotate.labels import LabelHistory
from annotate.learning import pool
from annotate.models import Estimate, Member, Project, Round
from annotate.models.project import Role
from annotate.reports import confusion, next_step, progress, round_sizes
from annotate.seals import head
from annotate.web import charts, run_status
from annotate.web.fixing import Fixing
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to, render_page
from annotate.web.runs import last_of_kinds

_KIND = Estimate.Estimand

# The figures shown, each with one line that says what it means.
_FIGURES: tuple[tuple[str, Promise, Promise], ...] = (
    (
        _KIND.DELIVERED,
        gettext_lazy("Delivered labels"),
        gettext_lazy("what an export says of every item: gold where there is one, else the machine's label"),
    ),
    (_KIND.LLM, gettext_lazy("LLM"), gettext_lazy("its own labels of every item; no valid answer counts as wrong")),
    (
        _KIND.MODEL,
        gettext_lazy("Model, this pool"),
        gettext_lazy("the trained model on every item, predicted without having seen it"),
    ),
    (
        _KIND.MODEL_NEW_DATA,
        gettext_lazy("Model, new data"),
        gettext_lazy("the trained model on items that are still to come from this source"),
    ),
)
_ACTIONS: tuple[tuple[str, Promise], ...] = (
    ("prelabel", gettext_lazy("Pre-label")),
    ("draw", gettext_lazy("Draw a round")),
    ("close", gettext_lazy("Close the round")),
    ("train", gettext_lazy("Train")),
    ("estimate", gettext_lazy("Estimate")),
    ("export", gettext_lazy("Export")),
)

# Said to members who may not take the next step themselves.
_WHO_MAY: dict[str, Promise] = {
    "manage": gettext_lazy("That is for whoever manages the project."),
    "annotate": gettext_lazy("That is for the people who annotate."),
    "review": gettext_lazy("That is for the project's reviewers."),
}


@dataclass(frozen=True)
class Figure:
    """An estimate with its name and meaning in words."""

    name: Promise
    meaning: Promise
    row: Estimate


@dataclass(frozen=True)
class Action:
    """A run that an admin can start here; `seen` is the last run of its kind when the page was loaded."""

    kind: str
    words: Promise
    seen: str
    fixes: list[str]  # what it fixes for good, in sentences


@require_GET
@project_page(to="view")
def show(request: ProjectRequest) -> HttpResponse:
    member = request.member
    if member.role not in MAY["evidence"]:
        return go_to(request, reverse("labeling-work", args=[member.project.slug]))
    history = labels.current(member.project)
    context = {**_standing(member, history), **_accuracy(member.project, history)}
    context["sealed"] = head.standing(member.project)
    return render_page(request, "annotate/overview/show.html", "overview", context)


@require_GET
@project_page(to="view")
def guidelines(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    schema = projects.current_schema(project)
    context = {
        "schema": schema,
        "guidelines": projects.current_guidelines(project),
        "labels": projects.labels_of(schema),
    }
    return render_page(request, "annotate/overview/guidelines.html", "guidelines", context)


def _standing(member: Member, history: LabelHistory) -> dict[str, Any]:
    """Counts, runs and the next step; money and actions only for members who may see or start them."""
    project = member.project
    now = progress.progress(project, history)
    step = next_step.choose(project, now, history)
    context: dict[str, Any] = {"now": now, "step": step, "statuses": run_status.of_interest(project)}
    needs = next_step.NEEDS.get(step.kind)
    if needs and member.role not in MAY[needs]:
        context["who_may"] = _WHO_MAY[needs]
    if now.round and now.n_questions < now.round.batch:
        context["size"] = round_sizes.briefly(round_sizes.facts(project, now.round.index), now.n_questions)
    if step.kind in ("label", "invite") and member.role in MAY["annotate"]:
        context["waiting"] = waiting.waiting(project=project, person=member.user)
    if member.role in MAY["manage"] or member.role == Role.VIEWER:
        context["money"] = {"human": now.human_micros, "machine": now.machine_micros}
    if member.role in MAY["manage"]:
        actions = _actions(project, now)
        # Where this person has nothing to answer, closing the round is one of the few ways on, and not folded away.
        first = "close" if "waiting" in context and not context["waiting"].n_for_me else step.kind
        context |= {
            "first": next((action for action in actions if action.kind == first), None),
            "actions": [action for action in actions if action.kind != first],
            "draw": next((action for action in actions if action.kind == "draw"), None),
            "batch": now.round.batch if now.round else 100,
            "n_without_gold": max(now.n_items - now.n_gold - now.n_audit_gold, 0),
        }
    return context


def _actions(project: Project, now: progress.LoopProgress) -> list[Action]:
    """The actions that are possible in this state of the project."""
    is_open = now.round is not None and now.round.state == Round.State.OPEN
    possible = {
        "prelabel": bool(now.n_items),
        "draw": bool(now.n_items) and not is_open,
        "close": is_open,
        "train": bool(now.n_silver or now.n_gold),
        "estimate": bool(now.n_silver or now.n_gold),
        "export": bool(now.n_items),
    }
    seen, fixing = last_of_kinds(project), Fixing(project, now)
    return [Action(kind, words, seen.get(kind, ""), fixing.by_run(kind)) for kind, words in _ACTIONS if possible[kind]]


def _accuracy(project: Project, history: LabelHistory) -> dict[str, Any]:
    """The context of the accuracies: stored estimates only, without computing, freezing or loading a model."""
    known = progress.known(project)
    if known.version is None:
        return {"known": known}
    rows = [(name, meaning, known.of(kind)) for kind, name, meaning in _FIGURES]
    is_current = known.version.schema_id == history.schema.pk
    found = confusion.load(known.version, history if is_current else None)
    has_unresolved = any(row.n_unresolved for _name, _meaning, row in rows if row)
    return {
        "known": known,
        "n_withdrawn": pool.n_withdrawn_audited(project) if has_unresolved else 0,
        "is_of_earlier_labels": not is_current,
        "figures": [Figure(name, meaning, row) for name, meaning, row in rows if row],
        "look": known.of(_KIND.LOOK),
        "n_answers_since": progress.answers_since(project, known.version.frozen_at),
        "chart": charts.accuracy_chart(known.history),
        "heat": charts.heat_map(found) if found else None,
        "classes": progress.per_class(known.version),
    }
