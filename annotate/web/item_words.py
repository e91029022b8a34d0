"""Decides in which words an item's history is told: the rows hold codes, which are translated here."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate.labeling.gold import ADJUDICATED
from annotate.models import Lease, Prediction, QueueEntry
from annotate.models.annotation import SkipReason
from annotate.models.project import Arm, GoldRule
from annotate.reports.item_history import Happening
from annotate.web.labeling_io import SKIP_REASONS

Words = Promise | str

_ARMS: dict[str, Promise] = {
    Arm.START: _("representative, to begin with"),
    Arm.ACTIVE: _("the machines were least sure"),
    Arm.RANDOM: _("reference sample, at random"),
    Arm.AUDIT: _("audit sample, at random"),
    Arm.CONFLICT: _("people disagreed"),
    Arm.REQUEST: _("asked for, at random among items of one predicted label"),
    Arm.IMPORTED: _("came with a label said to be gold"),
}
_STATES: dict[str, Promise] = {
    QueueEntry.State.OPEN: _("open"),
    QueueEntry.State.ANSWERED: _("answered"),
    QueueEntry.State.SKIPPED: _("skipped by everybody"),
    QueueEntry.State.UNRESOLVED: _("unresolved"),
}
_OUTCOMES: dict[str, Promise] = {
    Lease.Outcome.ANSWERED: _("answered"),
    Lease.Outcome.SKIPPED: _("skipped"),
    Lease.Outcome.EXPIRED: _("ran out"),
    Lease.Outcome.RELEASED: _("given back"),
    Lease.Outcome.TAKEN_OVER: _("taken over by somebody else"),
}
_STATUSES: dict[str, Promise] = {
    Prediction.Status.REFUSAL: _("it refused"),
    Prediction.Status.OUT_OF_SET: _("none of the labels"),
    Prediction.Status.TRUNCATED: _("cut off"),
    Prediction.Status.EMPTY: _("nothing said"),
    Prediction.Status.MALFORMED: _("not in the form asked for"),
    Prediction.Status.MISSING: _("missing in the file"),
    Prediction.Status.TOO_LONG: _("the item is too long"),
    Prediction.Status.UNAVAILABLE: _("not reached"),
}
_RULES: dict[str, Promise] = {
    GoldRule.ONE_TRUSTED: _("one trusted person said so"),
    GoldRule.AGREE_K: _("enough people agreed"),
    ADJUDICATED: _("a reviewer decided"),
    "imported": _("came with the import"),
}


def words(one: Happening) -> dict[str, Words]:
    """The words for the codes in the happening's row, by their names in the template; a code without words stays."""
    row = one.row
    if one.kind == "drawn":
        return {"arm": _ARMS.get(row.arm, row.arm)}
    if one.kind == "asked":
        return {"state": _STATES.get(row.state, row.state)}
    if one.kind == "held":
        return {"outcome": _OUTCOMES.get(row.outcome, row.outcome)} if row.outcome else {}
    if one.kind == "predicted":
        return {"status": _STATUSES.get(row.status, row.status)}
    if one.kind == "answered":
        return {"skipped": SKIP_REASONS[SkipReason(row.skip_reason)]} if row.skip_reason else {}
    if one.kind == "gold":
        return {"rule": _RULES.get(row.rule, row.rule), "arm": _ARMS.get(row.origin, row.origin)}
    return {}
