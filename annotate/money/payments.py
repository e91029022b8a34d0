"""Decides what people are paid: reserved with the lease, settled with the answer, released without one.

A price of 0 costs no query. The caller holds the lock of the leases' questions (annotate/labeling/slots.py) and is
in the transaction that grants or ends the leases. The budget's row is locked last, always in this order.
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
    """Money for `n` leases, already reserved in the budget's sums by the transaction that will create the leases."""

    n: int
    price_micros: int = 0
    budget_id: int | None = None

    def book(self, leases: Sequence[Lease]) -> None:
        """Write the ledger entries of these leases, exactly `n` of them. One query, or none where the price is 0."""
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
    """Reserve money for up to `n` leases at the project's price, as many as fit (perhaps 0). One query if all fit."""
    price = project.human_price_micros
    if not price:
        return Held(n)
    for wanted in range(n, 0, -1):
        if budget := ledger.take(project.pk, Budget.Kind.HUMAN, wanted * price):
            return Held(wanted, price, budget)
    return Held(0)


def settle(lease: Lease, project: Project, *, now: datetime) -> int:
    """Pay the answer given under this lease; returns the amount in micros.

    It is the amount reserved with the lease; for a late answer, whose reservation was released, the price if the cap
    still allows it, else 0.
    """
    if not project.human_price_micros:
        return 0
    ended = _end([lease.pk], State.SETTLED, now)
    return sum(micros for _budget, micros in ended) if ended else _at_once(project, lease.entry.item_id, now)


def release(leases: Collection[int], *, now: datetime | None = None) -> int:
    """Release the open reservations of these leases (ids); returns how many. At most two queries."""
    return len(_end(leases, State.RELEASED, now or database_now())) if leases else 0


def sweep() -> int:
    """Release the open reservations of leases that have ended (the price became 0 in between); returns how many."""
    ended = LedgerEntry.objects.filter(state=State.RESERVED, lease__ended_at__isnull=False)
    return release(list(ended.values_list("lease", flat=True)))


def refusal(project: Project) -> str | None:
    """The sentence that says why no question can be paid now; None if it can. No query where the price is 0."""
    price = project.human_price_micros
    return budgets.refusal(budgets.of(project, Budget.Kind.HUMAN), price) if price else None


def _end(leases: Collection[int], state: str, now: datetime) -> list[tuple[int, int]]:
    """End the open reservations of these leases; returns (budget id, micros) of each."""
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
    """Reserve and settle in one step, for an answer that came after the reservation of its lease was released."""
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
