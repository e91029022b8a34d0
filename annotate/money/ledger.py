"""Reserve-then-settle accounting. Reservations never exceed the cap; each ends once: settled, released, written off.

The budget's row is both lock and limit: a reservation is one UPDATE that changes the row only if cap and kill
switch allow it, and the ledger entries are written in the same transaction. So neither concurrent workers nor
crashes can spend more than the cap, and the three sums in the budget's row equal a recount of its entries at every
commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import BudgetReached, Conflict, InvalidInput
from annotate.models import Budget, LedgerEntry, PromptVersion, Run
from annotate.models.base import database_now
from annotate.models.bulk import stored
from annotate.money import budgets

State = LedgerEntry.State
_TRIES = 20  # between reading what is left and reserving it, other processes may reserve it
_GROUP = 500
_TABLE = LedgerEntry._meta.db_table
_END = (
    f"UPDATE {_TABLE} SET state = %s, final_micros = %s, n_input_tokens = %s, n_output_tokens = %s, reason = %s,"  # noqa: S608
    f" ended_at = %s WHERE id = %s AND state = '{State.RESERVED}'"
)


@dataclass(frozen=True)
class Ask:
    """A wanted reservation: the most that one attempt can cost, and the item that the attempt is about."""

    micros: int
    item_id: int | None = None


@dataclass(frozen=True)
class End:
    """How a reservation ends: settled at `micros`, released at 0, or written off at the reserved amount."""

    entry: LedgerEntry
    state: str
    micros: int | None = None
    n_input_tokens: int | None = None
    n_output_tokens: int | None = None
    reason: str = ""

    @property
    def final_state(self) -> str:
        """`state`, but written off where the reported cost is unknown or above the reservation."""
        if self.state != State.SETTLED:
            return self.state
        is_possible = self.micros is not None and 0 <= self.micros <= self.entry.reserved_micros
        return State.SETTLED if is_possible else State.WRITTEN_OFF

    @property
    def final_micros(self) -> int:
        """The amount that is charged, never above the reservation."""
        if self.final_state == State.SETTLED:
            return self.micros or 0
        return 0 if self.state == State.RELEASED else self.entry.reserved_micros


@transaction.atomic
def reserve(
    budget: Budget,
    asks: Sequence[Ask],
    *,
    run: Run | None = None,
    prompt: PromptVersion | None = None,
    now: datetime | None = None,
) -> list[LedgerEntry]:
    """Make reservations for the first of `asks`, as many as fit below the cap; BudgetReached if not even one fits.

    Commit them before the requests are sent. Two queries if all fit, however many there are.
    """
    if not asks:
        return []
    if any(not 0 <= ask.micros <= budgets.MAX_MICROS for ask in asks):
        raise InvalidInput(_("An amount to reserve lies between 0 and %(most)d.") % {"most": budgets.MAX_MICROS})
    n = _take(budget, [ask.micros for ask in asks])
    moment = now or database_now()
    return LedgerEntry.objects.bulk_create(
        LedgerEntry(
            budget=budget,
            run=run,
            run_attempt=run.attempt if run else None,
            prompt=prompt,
            item_id=ask.item_id,
            reserved_micros=ask.micros,
            created_at=moment,
        )
        for ask in asks[:n]
    )


@transaction.atomic
def end(budget: Budget, ends: Sequence[End], *, now: datetime | None = None) -> None:
    """End these reservations of one budget, all or none; Conflict if any of them has ended already."""
    if not ends:
        return
    moment = now or database_now()
    # Each UPDATE matches only an open reservation: if another process has ended one, the count is too small.
    with connection.cursor() as cursor:
        cursor.executemany(_END, [_values(one, moment) for one in ends])
        if cursor.rowcount != len(ends):
            raise Conflict(_("What this attempt had reserved was ended by another; nothing was changed."))
    count(
        budget.pk,
        reserved=-sum(one.entry.reserved_micros for one in ends),
        settled=sum(one.final_micros for one in ends if one.final_state == State.SETTLED),
        written_off=sum(one.final_micros for one in ends if one.final_state == State.WRITTEN_OFF),
    )


def write_off_orphans(run: Run) -> int:
    """Write off what lost attempts of this run had reserved, since they may have sent the requests; returns how many.

    Call it when a new attempt begins: no other attempt works on the run then, so each open reservation is an orphan.
    """
    return _write_off_all(LedgerEntry.objects.filter(run=run, state=State.RESERVED))


def sweep() -> int:
    """Write off the open reservations of runs that are not running and of lost attempts; returns how many."""
    over = ~Q(run__state=Run.State.RUNNING) | Q(run__attempt__gt=F("run_attempt"))
    return _write_off_all(LedgerEntry.objects.filter(over, run__isnull=False, state=State.RESERVED))


def write_off_sent(reason: str) -> int:
    """Write off every open reservation of a call, whoever made it, with this reason; returns how many.

    For a restored site: nobody here will hear how those calls ended.
    """
    return _write_off_all(LedgerEntry.objects.filter(lease__isnull=True, state=State.RESERVED), reason)


def take(project: int, kind: str, micros: int) -> int | None:
    """Reserve `micros` in the budget's sums if cap and kill switch allow it; returns the budget's id, or None if not.

    The one place where the cap is enforced. The caller writes the ledger entries in the same transaction.
    """
    table = Budget._meta.db_table
    free = "TRUE" if kind == Budget.Kind.HUMAN or not micros else "FALSE"
    taken = returned(
        f"UPDATE {table} SET reserved_micros = reserved_micros + %s WHERE project_id = %s AND kind = %s"  # noqa: S608
        f" AND NOT is_stopped AND CASE WHEN cap_micros IS NULL THEN {free}"
        " ELSE settled_micros + written_off_micros + reserved_micros + %s <= cap_micros END RETURNING id",
        [micros, project, kind, micros],
    )
    return taken[0][0] if taken else None


def count(budget: int, *, reserved: int = 0, settled: int = 0, written_off: int = 0) -> None:
    """Add these changes to the sums of a budget, in the transaction that changes its entries."""
    Budget.objects.filter(pk=budget).update(
        reserved_micros=F("reserved_micros") + reserved,
        settled_micros=F("settled_micros") + settled,
        written_off_micros=F("written_off_micros") + written_off,
    )


def returned(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run an UPDATE ... RETURNING, which Django's ORM does not offer, and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def _values(one: End, now: datetime) -> tuple[Any, ...]:
    tokens = one.n_input_tokens, one.n_output_tokens
    return (one.final_state, one.final_micros, *tokens, one.reason[:200], stored(now), one.entry.pk)


def _take(budget: Budget, amounts: Sequence[int]) -> int:
    """Reserve the first of these amounts in the budget's sums, as many as fit; returns how many, at least one."""
    sums = list(accumulate(amounts))
    n = len(sums)
    for _try in range(_TRIES):
        if take(budget.project_id, budget.kind, sums[n - 1]):
            return n
        now = Budget.objects.select_related("project").get(pk=budget.pk)
        if sentence := budgets.refusal(now, sums[0]):
            raise BudgetReached(sentence)
        left = now.left_micros
        n = len(sums) if left is None else max(1, sum(total <= left for total in sums))
    raise BudgetReached(_("Too many reserve from this budget at the same time; please try again."))


def _write_off_all(entries: QuerySet[LedgerEntry], reason: str = "") -> int:
    """Write off these entries in groups, each group in a transaction of its own; returns how many."""
    n_ended = 0
    while some := list(entries.select_related("budget").order_by("budget", "pk")[:_GROUP]):
        for budget in {entry.budget_id: entry.budget for entry in some}.values():
            n_ended += _write_off_some(budget, [one.pk for one in some if one.budget_id == budget.pk], reason)
    return n_ended


@transaction.atomic
def _write_off_some(budget: Budget, ids: Sequence[int], reason: str) -> int:
    """Write off those of the entries that are still reserved; another process may have ended some."""
    reserved = LedgerEntry.objects.filter(pk__in=ids, state=State.RESERVED).select_for_update().order_by("pk")
    reason = reason or _("The attempt that sent it was lost.")
    ends = [End(entry, State.WRITTEN_OFF, reason=reason) for entry in reserved]
    end(budget, ends)
    return len(ends)
