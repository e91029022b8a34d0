"""Decides how much may be spent: each project has a budget for machines and one for people, with a cap and a stop.

Amounts are integers in micro-units of the project's currency. Reservations are made in annotate/money/ledger.py.
"""

from decimal import Decimal

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import Conflict, InvalidInput
from annotate.models import Budget, LedgerEntry, Project, Run, User
from annotate.models.event import record

Kind = Budget.Kind
MAX_MICROS = 10**15  # 10**9 units of a currency, so that sums stay far below 2**63
_THRESHOLDS = (100, 80, 50)  # percent


def of(project: Project, kind: str) -> Budget:
    """The project's budget of this kind (machines or people), read anew; InvalidInput for any other kind."""
    if kind not in Budget.Kind.values:
        raise InvalidInput(_("Money is for one of: %(kinds)s.") % {"kinds": ", ".join(Budget.Kind.values)})
    budget = Budget.objects.get(project=project, kind=kind)
    budget.project = project
    return budget


@transaction.atomic
def set_cap(*, project: Project, kind: str, cap_micros: int | None, by: User) -> Budget:
    """Set the cap (None: no cap). Conflict if the new cap is below what is spent and reserved already."""
    access.require(by, project, to="manage")
    budget = of(project, kind)
    if cap_micros is not None and not 0 <= cap_micros <= MAX_MICROS:
        raise InvalidInput(_("A cap lies between 0 and %(most)s.") % {"most": amount(MAX_MICROS, project.currency)})
    if cap_micros == budget.cap_micros:
        return budget
    used = F("reserved_micros") + F("settled_micros") + F("written_off_micros")
    fitting = Budget.objects.filter(pk=budget.pk)
    fitting = fitting if cap_micros is None else fitting.alias(used=used).filter(used__lte=cap_micros)
    if fitting.update(cap_micros=cap_micros) != 1:
        raise Conflict(_too_low(of(project, kind)))
    record("budget.capped", project=project, by=by, money=kind, cap_micros=cap_micros, before=budget.cap_micros)
    return of(project, kind)


@transaction.atomic
def stop(*, project: Project, kind: str, by: User) -> Budget:
    """The kill switch: nothing more is reserved from this budget, so no request is sent and no question handed out."""
    return _switch(project, kind, by, is_stopped=True)


@transaction.atomic
def resume_spending(*, project: Project, kind: str, by: User) -> Budget:
    """Allow reservations again. A paused pre-label run stays paused until somebody resumes it."""
    return _switch(project, kind, by, is_stopped=False)


def entries(
    project: Project, *, kind: str | None = None, state: str | None = None, run: Run | str | None = None,
    item: str | None = None, before: int | None = None,
) -> QuerySet[LedgerEntry]:  # fmt: skip
    """The project's ledger entries that match the filters, newest first; InvalidInput for an unknown kind or state.

    `run`: a row or a public id; `item`: a public id; `before`: only entries with a smaller pk, for the next page.
    """
    if state and state not in LedgerEntry.State.values:
        raise InvalidInput(_("An entry is one of: %(states)s.") % {"states": ", ".join(LedgerEntry.State.values)})
    rows = LedgerEntry.objects.filter(
        budget__in=[of(project, name).pk for name in ([kind] if kind else Budget.Kind.values)]
    )
    rows = rows.filter(state=state) if state else rows
    rows = rows.filter(**{"run" if isinstance(run, Run) else "run__public_id": run}) if run else rows
    rows = rows.filter(item__public_id=item) if item else rows
    rows = rows.filter(pk__lt=before) if before is not None else rows
    return rows.select_related("budget", "run", "item", "lease__annotator").order_by("-pk")


def alert(budget: Budget, next_micros: int = 1) -> int | None:
    """The highest threshold that is reached: 50, 80 or 100 percent of the cap; None below, or without a cap.

    It is 100 as soon as `next_micros` more would exceed the cap.
    """
    if budget.cap_micros is None:
        return None
    used = budget.spent_micros + budget.reserved_micros
    if used + next_micros > budget.cap_micros:
        return 100
    return next((percent for percent in _THRESHOLDS if used * 100 >= percent * budget.cap_micros), None)


def refusal(budget: Budget, next_micros: int) -> str | None:
    """The sentence that says why a reservation of `next_micros` would be refused now; None if it would be made."""
    names = {"kind": _whom(budget.kind), **_figures(budget), "next": amount(next_micros, budget.project.currency)}
    if budget.is_stopped:
        return _("An admin has stopped spending on %(kind)s. Let it go on first.") % names
    if budget.cap_micros is None:
        if budget.kind == Budget.Kind.HUMAN or not next_micros:
            return None
        return _("No cap is set for %(kind)s, and nothing is spent without one. Set a cap first.") % names
    if (budget.left_micros or 0) >= next_micros:
        return None
    sentence = _(
        "The cap of %(cap)s for %(kind)s is reached: %(spent)s spent, %(reserved)s reserved; the next attempt could "
        "cost up to %(next)s. Raise the cap to go on."
    )
    return sentence % names


def amount(micros: int, currency: str) -> str:
    """An amount with its currency, for sentences: two decimals, up to six where needed."""
    whole = f"{Decimal(micros) / 1_000_000:.6f}"
    return f"{whole[:-4]}{whole[-4:].rstrip('0')} {currency}"


def _switch(project: Project, kind: str, by: User, *, is_stopped: bool) -> Budget:
    access.require(by, project, to="manage")
    budget = of(project, kind)
    if Budget.objects.filter(pk=budget.pk, is_stopped=not is_stopped).update(is_stopped=is_stopped):
        record("budget.stopped" if is_stopped else "budget.resumed", project=project, by=by, money=kind)
    budget.is_stopped = is_stopped
    return budget


def _too_low(budget: Budget) -> str:
    sentence = _("The cap cannot be lower than what is spent (%(spent)s) and reserved (%(reserved)s) already.")
    return sentence % _figures(budget)


def _figures(budget: Budget) -> dict[str, str]:
    amounts = {"cap": budget.cap_micros or 0, "spent": budget.spent_micros, "reserved": budget.reserved_micros}
    return {name: amount(micros, budget.project.currency) for name, micros in amounts.items()}


def _whom(kind: str) -> str:
    return _("machines") if kind == Budget.Kind.MACHINE else _("people")
