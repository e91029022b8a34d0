"""Decides what is said of a run while it is alive: what it waits for, and what it still has to wait for to stop."""

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.models import Run
from annotate.reports import next_step
from annotate.runs import lanes
from annotate.templatetags.figures import duration

_SECONDS_TO_CLAIM = 15  # workers look every 10 s; a run that is queued for longer lacks a worker
_LANES = {
    "llm": gettext_lazy("a worker for LLM servers"),
    "io": gettext_lazy("a worker for files and rounds"),
    "ml": gettext_lazy("a worker for models"),
}


def sentence(run: Run, now: datetime) -> str:
    """The sentence about a run that waits or is at work; empty where its progress says it all."""
    if run.state == Run.State.QUEUED:
        return _waits(run)
    if run.state != Run.State.RUNNING:
        return ""
    if "waiting" in run.result:
        return _is_away(run.result["waiting"], now)
    n = run.result.get("finishing")
    if not n:
        return ""
    return ngettext(
        "Nothing more is sent. %(n)s call is in flight; it is paid at its real price when it ends.",
        "Nothing more is sent. %(n)s calls are in flight; each is paid at its real price when it ends.",
        n,
    ) % {"n": n}


def has_no_worker(run: Run, now: datetime) -> bool:
    """Whether a queued run lacks a worker: it has waited for longer than workers take to look, and its lane is idle."""
    if run.state != Run.State.QUEUED:
        return False
    last = run.lines.order_by("-pk").values_list("at", flat=True).first()  # it may have been resumed lately
    if (now - max(run.created_at, last or run.created_at)).total_seconds() < _SECONDS_TO_CLAIM:
        return False
    return not lanes.at_work(run).exists()


def _waits(run: Run) -> str:
    parts = [_("Waits for %(lane)s.") % {"lane": _LANES.get(run.queue, run.queue)}]
    busy = lanes.at_work(run).order_by("started_at").first()
    if busy is not None:
        name = {"name": next_step.RUN_NAMES.get(busy.kind, busy.kind)}
        is_own = busy.project_id == run.project_id  # other projects are named to nobody
        own, other = _("At work there now: %(name)s."), _("At work there now, for another project: %(name)s.")
        parts.append((own if is_own else other) % name)
    if n := lanes.n_before(run):
        parts.append(ngettext("%(n)s other run waits before it.", "%(n)s other runs wait before it.", n) % {"n": n})
    return " ".join(parts)


def _is_away(waiting: dict[str, Any], now: datetime) -> str:
    since = now - datetime.fromisoformat(waiting["since"])
    left = max(0.0, (datetime.fromisoformat(waiting["again_at"]) - now).total_seconds())
    return _("The server has not answered for %(since)s: %(reason)s It is asked again in %(left)s.") % {
        "since": duration(since.total_seconds()),
        "reason": waiting["reason"],
        "left": duration(left),
    }
