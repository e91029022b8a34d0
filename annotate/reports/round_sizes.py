"""Why a round has fewer questions than were asked for, in words for pages, the API and commands."""

from collections.abc import Callable, Sequence
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.models import Event, Project

Facts = dict[str, Any]  # as `rounds.draw_round` records them: asked_for, n_known, short

# The facts of a round that are kept in its event, and in the result of the run that drew it.
NAMES = ("asked_for", "n_known", "short")


def facts(project: Project, index: int) -> Facts:
    """What was recorded of the size of a round when it was drawn; empty for rounds of earlier versions."""
    events = Event.objects.filter(project=project, kind="round.opened", data__round=index)
    data: Facts = events.order_by("-pk").values_list("data", flat=True).first() or {}
    return {name: data[name] for name in NAMES if name in data}


def sentences(facts: Facts) -> list[str]:
    """One sentence for each arm that came short, and one for items that were named and have gold already."""
    said = [_OF_ARM[row["arm"]](row) for row in facts.get("short", ())]
    if n_known := facts.get("n_known", 0):
        known = ngettext(
            "%(n)s of the items asked for has gold already and is not asked again.",
            "%(n)s of the items asked for have gold already and are not asked again.",
            n_known,
        )
        said.append(known % {"n": f"{n_known:,}"})
    return said


def _sample(name: Promise) -> Callable[[Facts], str]:
    def sentence(row: Facts) -> str:
        got = ngettext(
            "%(name)s: %(taken)s of %(wanted)s question, because %(why)s.",
            "%(name)s: %(taken)s of %(wanted)s questions, because %(why)s.",
            row["wanted"],
        )
        numbers = {"taken": f"{row['taken']:,}", "wanted": f"{row['wanted']:,}"}
        return got % {"name": name, "why": _WHY[row["reason"]], **numbers}

    return sentence


_WHY: dict[str, Promise] = {
    "target": gettext_lazy("it has reached its target"),
    "third": gettext_lazy("a sample is at most a third of the pool"),
    "none_left": gettext_lazy("no item is left for it"),
    "known": gettext_lazy("the items that came next have their answer already"),
}


def _rest(row: Facts) -> str:
    if row["reason"] == "no_scores":
        sentence = ngettext(
            "Nothing says whether to ask the %(left)s item that is left: pre-label or train first, "
            "or label everything.",
            "Nothing says which of the %(left)s items that are left to ask: pre-label or train first, "
            "or label everything.",
            row["left"],
        )
        return sentence % {"left": f"{row['left']:,}"}
    return _("No item is left that has not been asked before.")


def _request(row: Facts) -> str:
    return _("The label asked for is predicted for no other item that was not picked before.")


_OF_ARM: dict[str, Callable[[Facts], str]] = {
    "audit": _sample(gettext_lazy("Audit sample")),
    "random": _sample(gettext_lazy("Reference sample")),
    "active": _rest,
    "request": _request,
}


def briefly(facts: Facts, n_questions: int) -> str:
    """The whole of it as one text, empty where a round is as large as asked for and nothing else is to be said."""
    said: Sequence[str] = sentences(facts)
    wanted = facts.get("asked_for", 0)
    if facts.get("short"):
        head = ngettext(
            "%(wanted)s question was asked for, and there are %(n)s.",
            "%(wanted)s questions were asked for, and there are only %(n)s.",
            wanted,
        )
        said = [head % {"wanted": f"{wanted:,}", "n": f"{n_questions:,}"}, *said]
    return " ".join(said)
