"""Decides how a run reads to people: its state, progress, remaining time, and result."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.models import Project, Run
from annotate.reports import next_step, round_sizes
from annotate.templatetags.figures import count, interval, percent
from annotate.web import live_run

_SECONDS_NEW = 120

STATES: dict[str, Promise] = {
    Run.State.QUEUED: gettext_lazy("waits"),
    Run.State.RUNNING: gettext_lazy("running"),
    Run.State.PAUSED: gettext_lazy("paused"),
    Run.State.SUCCEEDED: gettext_lazy("done"),
    Run.State.FAILED: gettext_lazy("not possible"),
    Run.State.ERRORED: gettext_lazy("broke off"),
    Run.State.CANCELLED: gettext_lazy("cancelled"),
}
_REQUESTED: dict[str, Promise] = {
    Run.Action.PAUSE: gettext_lazy("stops in a moment, to pause"),
    Run.Action.CANCEL: gettext_lazy("stops in a moment, for good"),
    Run.Action.PAUSE_NOW: gettext_lazy("stops now, to pause"),
    Run.Action.CANCEL_NOW: gettext_lazy("stops now, for good"),
}
_STEPS: dict[str, Promise] = {
    "Importing": gettext_lazy("Importing"),
    "Counting": gettext_lazy("Counting"),
    "Giving up the import": gettext_lazy("Giving up the import"),
    "Reading the items": gettext_lazy("Reading the items"),
    "Pre-labeling": gettext_lazy("Pre-labeling"),
    "Drawing": gettext_lazy("Drawing"),
    "Closing": gettext_lazy("Closing"),
    "Training": gettext_lazy("Training"),
    "Applying the model": gettext_lazy("Applying the model"),
    "Estimating": gettext_lazy("Estimating"),
    "Writing files": gettext_lazy("Writing files"),
}


@dataclass(frozen=True)
class Seen:
    """The progress of a run when this page first showed its step; the speed is computed from there."""

    step: str = ""
    done: int = 0
    at: float = 0.0


@dataclass(frozen=True)
class Status:
    """A run in words, with what a reader may do with it."""

    run: Run
    name: str
    state: str
    step: str
    sentence: str
    took: float | None
    left: float | None
    has_no_worker: bool
    seen: Seen

    @property
    def worker_command(self) -> str:
        """What starts a worker for this run."""
        return f"celery -A labelapp worker -Q {self.run.queue}" if settings.REDIS_URL else "manage.py worker"

    @property
    def is_alive(self) -> bool:
        return self.run.state in Run.AT_WORK

    @property
    def is_paused(self) -> bool:
        return self.run.state == Run.State.PAUSED

    @property
    def can_pause(self) -> bool:
        return self.is_alive and not self.run.requested_action

    @property
    def can_resume(self) -> bool:
        return self.is_paused or (self.is_alive and self.run.requested_action in Run.TO_PAUSE)

    @property
    def can_cancel(self) -> bool:
        return self.is_paused or (self.is_alive and self.run.requested_action not in Run.TO_CANCEL)

    @property
    def stops_now_by(self) -> str:
        """The page that stops the run without waiting for its calls in flight; empty where it waits for none."""
        if self.run.state != Run.State.RUNNING or self.run.requested_action in Run.AT_ONCE:
            return ""
        if not self.run.result.get("finishing"):
            return ""
        return "runs-cancel" if self.run.requested_action == Run.Action.CANCEL else "runs-pause"

    @property
    def can_retry(self) -> bool:
        ended = (Run.State.FAILED, Run.State.ERRORED, Run.State.CANCELLED)
        return self.run.state in ended and self.run.performer != Run.Performer.COMMAND

    @property
    def is_bad(self) -> bool:
        return self.run.state in (Run.State.FAILED, Run.State.ERRORED)

    @property
    def is_news(self) -> bool:
        ended = self.run.finished_at
        return ended is not None and (timezone.now() - ended).total_seconds() < _SECONDS_NEW


def of_interest(project: Project) -> list[Status]:
    """The runs for an overview: those that are alive, else the last one if it ended just now or badly."""
    rows = [status(run) for run in project.runs.select_related("started_by").order_by("-id")[:10]]
    alive = [one for one in rows if one.is_alive or one.is_paused]
    return alive or [one for one in rows[:1] if one.is_bad or one.is_news]


def status(run: Run, seen: Seen | None = None) -> Status:
    """The run in words; `seen`: what an earlier request of the same page saw of it."""
    now = timezone.now()
    seen = seen if seen and seen.step == run.step and seen.at else Seen(run.step, run.n_done, now.timestamp())
    began = run.started_at or run.created_at
    end = run.finished_at or now
    return Status(
        run=run,
        name=str(next_step.RUN_NAMES.get(run.kind, run.kind)),
        state=str(
            _REQUESTED.get(run.requested_action, STATES[run.state]) if run.state in Run.AT_WORK else STATES[run.state]
        ),
        step=str(_STEPS.get(run.step, run.step)),
        sentence=_sentence(run) or live_run.sentence(run, now),
        took=None if run.state == Run.State.QUEUED else (end - began).total_seconds(),
        left=_left(run, seen, now.timestamp()),
        has_no_worker=live_run.has_no_worker(run, now),
        seen=seen,
    )


def _left(run: Run, seen: Seen, now: float) -> float | None:
    """The remaining seconds of this step, from its speed since it was first seen; None as long as that is too short."""
    done, spent = run.n_done - seen.done, now - seen.at
    if run.state != Run.State.RUNNING or not run.n_total or done <= 0 or spent < 2:
        return None
    return max(0.0, (run.n_total - run.n_done) * spent / done)


def _sentence(run: Run) -> str:
    if run.state in (Run.State.FAILED, Run.State.PAUSED, Run.State.CANCELLED):
        return run.message
    if run.state == Run.State.ERRORED:
        return _broke_off(run)
    if run.state == Run.State.SUCCEEDED and not run.result:
        return _("Done by a command on the server.") if run.performer == Run.Performer.COMMAND else ""
    if run.state == Run.State.SUCCEEDED:
        return _RESULTS.get(run.kind, _no_result)(run.result)
    return ""


def _broke_off(run: Run) -> str:
    """The sentence about a run that ended badly; after a crash without its message, which is for programmers."""
    if run.message and not run.trace:
        return run.message
    return _("The program broke here. What was finished is kept, and it can be started again.")


def _no_result(facts: dict[str, Any]) -> str:
    return ""


def _imported(facts: dict[str, Any]) -> str:
    if "n_abandoned" in facts:
        return _("The import was given up; nothing of it is left.")
    if "n_items" not in facts:
        return ""
    n = facts["n_items"]
    new = ngettext("%(n)s new item", "%(n)s new items", n) % {"n": count(n)}
    sentence = _("%(new)s; brought back: %(back)s, duplicates: %(twice)s, rows set aside: %(bad)s.")
    others = {"back": facts.get("n_revived"), "twice": facts.get("n_duplicates"), "bad": facts.get("n_rejected")}
    told = sentence % {"new": new, **{name: count(value or 0) for name, value in others.items()}}
    return f"{told} {_of_export(facts['export'])}" if facts.get("export") else told


def _of_export(kind: str) -> str:
    """What is to be known of a file that Goldloop exported: of CSV of format 1, what it could not tell apart."""
    if kind != "escaped":
        return _("The file is an export of Goldloop.")
    return _(
        "The file is an export of an earlier Goldloop. Before each text that begins like a formula an apostrophe was "
        "taken away; if a text had one of its own, it has lost that."
    )


def _counted(facts: dict[str, Any]) -> str:
    if "n_rows" not in facts:
        return ""
    names = {"all": "n_rows", "new": "n_items", "back": "n_revived", "twice": "n_duplicates", "bad": "n_rejected"}
    sentence = ngettext(
        "Rows: %(all)s. Of them %(new)s would be a new item; brought back: %(back)s, duplicates: %(twice)s, "
        "set aside: %(bad)s.",
        "Rows: %(all)s. Of them %(new)s would be new items; brought back: %(back)s, duplicates: %(twice)s, "
        "set aside: %(bad)s.",
        facts.get("n_items", 0),
    )
    return sentence % {name: count(facts.get(key, 0)) for name, key in names.items()}


def _prelabeled(facts: dict[str, Any]) -> str:
    if "n_items" not in facts:
        return ""
    n = facts["n_items"]
    sentence = ngettext(
        "%(n)s item has a machine's answer; for %(failed)s it gave none that is valid.",
        "%(n)s items have a machine's answer; for %(failed)s it gave none that is valid.",
        n,
    )
    return sentence % {"n": count(n), "failed": count(facts.get("n_failed", 0))}


def _drawn(facts: dict[str, Any]) -> str:
    if "round" not in facts:
        return ""
    n = facts.get("n_questions", 0)
    sentence = ngettext("Round %(round)s has %(n)s question.", "Round %(round)s has %(n)s questions.", n)
    said = sentence % {"round": facts["round"], "n": count(n)}
    return " ".join(part for part in (said, round_sizes.briefly(facts, n)) if part)


def _closed(facts: dict[str, Any]) -> str:
    if "round" not in facts:
        return ""
    n = facts.get("n_unresolved", 0)
    left = ngettext("%(n)s question stays unresolved", "%(n)s questions stay unresolved", n) % {"n": count(n)}
    sentence = _("Round %(round)s brought %(gold)s; %(left)s.")
    return sentence % {"round": facts["round"], "gold": _gold_labels(facts), "left": left}


def _gold_labels(facts: dict[str, Any]) -> str:
    n = facts.get("n_gold", 0)
    return ngettext("%(n)s gold label", "%(n)s gold labels", n) % {"n": count(n)}


def _trained(facts: dict[str, Any]) -> str:
    if "model" not in facts:
        return ""
    if facts.get("is_champion"):
        sentence = _("Model %(model)s, from %(gold)s, is in use.")
    else:
        sentence = _("Model %(model)s, from %(gold)s, was not better than the one in use.")
    said = sentence % {"model": facts["model"], "gold": _gold_labels(facts)}
    return " ".join(part for part in (said, _estimated(facts)) if part)


def _estimated(facts: dict[str, Any]) -> str:
    figure = facts.get("delivered")
    if not figure:
        return ""
    if figure.get("value") is None:
        return _("No figure for the delivered labels yet: %(reason)s.") % {"reason": figure.get("reason") or ""}
    n = figure.get("n", 0)
    sentence = ngettext(
        "Delivered labels: %(value)s agree with the gold rule (%(interval)s), from %(n)s audited item.",
        "Delivered labels: %(value)s agree with the gold rule (%(interval)s), from %(n)s audited items.",
        n,
    )
    return sentence % {"value": percent(figure["value"]), "interval": interval(figure), "n": count(n)}


def _exported(facts: dict[str, Any]) -> str:
    if "version" not in facts:
        return ""
    n = len(facts.get("files", ()))
    sentence = ngettext("Version %(version)s as %(n)s file.", "Version %(version)s as %(n)s files.", n)
    return sentence % {"version": facts["version"], "n": n}


_RESULTS = {
    "import": _imported,
    "count": _counted,
    "prelabel": _prelabeled,
    "draw": _drawn,
    "close": _closed,
    "train": _trained,
    "estimate": _estimated,
    "export": _exported,
}
