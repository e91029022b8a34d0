"""What people are paid: reserved with the lease, settled with the answer, free again where there is none.

Nothing is asked of the database where the price is 0. Whoever calls holds the lock of the leases' questions
(annotate/labeling/slots.py) and is in the transaction that grants or ends the leases: the budget's row comes last.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from annotate.models import Budget, Lease, LedgerEntry, Project
from annotate.models.base import database_now
from annotate.models.bulk import stored
from annotate.money import budgets, ledger
from annotate.money.ledger import State


@dataclass(frozen=True)
class Held:
    """Money for this many leases, taken from the budget by the transaction that will create them."""

    n: int
    price_micros: int = 0
    budget_id: int | None = None

    def book(self, leases: Sequence[Lease]) -> None:
        """Write the reservations of these leases, exactly as many as money is held for. One query, or none."""
        if self.budget_id is None:
            return
        assert len(leases) == self.n
        LedgerEntry.objects.bulk_create(
            LedgerEntry(
                budget_id=self.budget_id,
                lease=lease,
                item_id=lease.entry.item_id,
                reserved_micros=self.price_micros,
                created_at=lease.granted_at,
            )
            for lease in leases
        )


def hold(project: Project, n: int) -> Held:
    """Money for up to `n` leases at the project's price: for as many as fit, which can be none. One query if all do."""
    price = project.human_price_micros
    if not price:
        return Held(n)
    for wanted in range(n, 0, -1):
        if budget := ledger.take(project.pk, Budget.Kind.HUMAN, wanted * price):
            return Held(wanted, price, budget)
    return Held(0)


def settle(lease: Lease, project: Project, *, now: datetime) -> int:
    """What this lease's answer is paid, in micros: what was reserved with the lease, else the price if it fits.

    0 where the cap refuses an answer that came late: it is kept, but its money was given to somebody else.
    """
    if not project.human_price_micros:
        return 0
    ended = _end([lease.pk], State.SETTLED, now)
    return sum(micros for _budget, micros in ended) if ended else _at_once(project, lease.entry.item_id, now)


def release(leases: Collection[int], *, now: datetime | None = None) -> int:
    """Free what was reserved for these leases (ids), as far as it was; returns how many. At most two queries."""
    return len(_end(leases, State.RELEASED, now or database_now())) if leases else 0


def sweep() -> int:
    """Free what is reserved for leases that are over, for instance since the price became 0; returns how many."""
    ended = LedgerEntry.objects.filter(state=State.RESERVED, lease__ended_at__isnull=False)
    return release(list(ended.values_list("lease", flat=True)))


def refusal(project: Project) -> str | None:
    """Why no question could be handed out at this price, in a sentence; no query where it is 0."""
    price = project.human_price_micros
    return budgets.refusal(budgets.of(project, Budget.Kind.HUMAN), price) if price else None


def _end(leases: Collection[int], state: str, now: datetime) -> list[tuple[int, int]]:
    """End what is reserved for these leases; (budget, micros) of each."""
    if not leases:
        return []
    final = "0" if state == State.RELEASED else "reserved_micros"
    places = ", ".join(["%s"] * len(leases))
    ended = ledger.returned(
        f"UPDATE {LedgerEntry._meta.db_table} SET state = %s, final_micros = {final}, ended_at = %s"  # noqa: S608
        f" WHERE lease_id IN ({places}) AND state = '{State.RESERVED}' RETURNING budget_id, reserved_micros",
        [state, stored(now), *leases],
    )
    for budget in sorted({budget for budget, _micros in ended}):
        micros = sum(micros for owner, micros in ended if owner == budget)
        ledger.count(budget, reserved=-micros, settled=micros if state == State.SETTLED else 0)
    return [(budget, micros) for budget, micros in ended]


def _at_once(project: Project, item_id: int, now: datetime) -> int:
    """Reserve and settle in one step: the answer came after its lease's money had gone back."""
    price = project.human_price_micros
    budget = ledger.take(project.pk, Budget.Kind.HUMAN, price)
    if budget is None:
        return 0
    LedgerEntry.objects.create(
        budget_id=budget, item_id=item_id, reserved_micros=price, final_micros=price, state=State.SETTLED,
        reason="not reserved with a lease", created_at=now, ended_at=now,
    )  # fmt: skip
    ledger.count(budget, reserved=-price, settled=price)
    return price
