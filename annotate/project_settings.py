"""Decides which settings of a project can change when, and that nobody overwrites what somebody else just saved."""

import hashlib
from collections.abc import Callable, Collection
from typing import Any

import orjson
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from annotate import access, projects
from annotate.errors import Conflict, InvalidInput
from annotate.models import LedgerEntry, Prediction, Project, Round, User
from annotate.models.event import record

CHANGEABLE = (
    "name",
    "target_accuracy",
    "strategy",
    "audit_target",
    "reference_target",
    "overlap",
    "gold_rule",
    "agree_k",
    "suggestion_policy",
    "currency",
    "human_price_micros",
    "time_zone",
)


class ChangedMeanwhile(Conflict):
    """Somebody else changed the settings after the page with the form was loaded."""


def stamp(project: Project) -> str:
    """A digest of the settings that can change: a form carries it, so that `change` can tell whether they did."""
    content = {name: getattr(project, name) for name in CHANGEABLE}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:20]


@transaction.atomic
def change(*, project: Project, by: User, shown: str | None = None, **changes: Any) -> Project:
    """Change the named settings, all or none; returns the project as stored. Conflict says which cannot change now.

    `shown`: the stamp of the settings that `by` looked at; ChangedMeanwhile where the project has others by now.
    """
    access.require(by, project, to="manage")
    if fixed := sorted(changes.keys() - set(CHANGEABLE)):
        raise InvalidInput(_("Fixed when a project is made: %(names)s.") % {"names": ", ".join(fixed)})
    row = Project.objects.select_for_update().get(pk=project.pk)
    if shown not in (None, stamp(row)):
        raise ChangedMeanwhile(_("Somebody else changed the settings meanwhile. Yours were not saved: look at both."))
    before = {name: getattr(row, name) for name, value in changes.items() if getattr(row, name) != value}
    after = {name: changes[name] for name in before}
    if not after:
        return row
    if sentences := refusals(row, before):
        raise Conflict(" ".join(dict.fromkeys(sentences.values())))  # one sentence may hold for several settings
    for name, value in after.items():
        setattr(row, name, value)
    projects.validate(row)
    Project.objects.filter(pk=row.pk).update(**after)
    record("settings.changed", project=row, by=by, before=before, after=after)
    return row


def refusals(project: Project, names: Collection[str] = CHANGEABLE) -> dict[str, str]:
    """Those of the settings `names` that cannot change now, each with a sentence that says why."""
    reasons: dict[str, str] = {}
    for guarded, is_fixed, sentence in _GUARDS:
        if (hit := [name for name in guarded if name in names]) and is_fixed(project):
            reasons |= dict.fromkeys(hit, sentence())
    return reasons


def _has_open_round(project: Project) -> bool:
    return project.rounds.filter(state=Round.State.OPEN).exists()


def _has_rounds(project: Project) -> bool:
    return project.rounds.exists()


def _has_moved_money(project: Project) -> bool:
    """Whether any amount in the project's currency stands: spent, reserved, a cap, or the prices of a connection."""
    return (
        project.connection_id is not None
        or project.lent_connections.exists()
        or project.budgets.filter(Q(cap_micros__isnull=False)).exists()
        or LedgerEntry.objects.filter(budget__project=project).exists()
        or project.annotations.filter(price_micros__gt=0).exists()
        or Prediction.objects.filter(prompt__project=project, cost_micros__gt=0).exists()
    )


# (settings, whether they are fixed now, the sentence that says so)
_GUARDS: tuple[tuple[tuple[str, ...], Callable[[Project], bool], Callable[[], str]], ...] = (
    (
        ("gold_rule", "agree_k"),
        _has_open_round,
        lambda: _("A round is open, and its answers become gold by one rule. Close it to change the gold rule."),
    ),
    (
        # The looks at the audit sample are planned from its target; a target that follows the results proves nothing.
        ("audit_target",),
        _has_rounds,
        lambda: _("A round was drawn: the size of the audit sample stays as it was planned."),
    ),
    (
        ("currency",),
        _has_moved_money,
        lambda: _("Money was spent, reserved, capped or promised in this currency; it stays."),
    ),
)
