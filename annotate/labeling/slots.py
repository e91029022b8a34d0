"""The slots of a question: a lease takes one, a label keeps it, and a lease that ends without a label frees it.

The queue entry's row is the lock of a question. Whoever ends a lease or takes or frees a slot locks that row first
(several rows in order of their ids) and the lease's row after it, so there are no deadlocks. On SQLite a write
transaction already has the only lock that there is.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, F, QuerySet, Value

from annotate.labeling import queue
from annotate.models import Lease, QueueEntry
from annotate.models.compiled import CompiledUpdate
from annotate.money import payments


def lock(entries: Collection[int] | QuerySet[Any]) -> None:
    """Lock the rows of these questions (queue entry ids) until the end of the transaction that this is called in."""
    if not connection.features.has_select_for_update:
        return  # SQLite: only one transaction writes at a time
    list(QueueEntry.objects.select_for_update().filter(pk__in=entries).order_by("pk").values_list("pk"))


def take(entries: Collection[int], *, unless_said_by: int | None = None) -> bool:
    """Take one slot of each of these questions; False if one of them has none to take, and the caller must roll back.

    Only open questions have slots to take; those of a closed round are never open. A question that the user with the id
    `unless_said_by` has answered or skipped (counted), perhaps in another window, has none for them, except a skipped
    one that comes back to them.
    """
    if len(entries) == 1 and unless_said_by is not None:
        return _TAKE.run(entry=next(iter(entries)), person=unless_said_by) == 1
    free = _with_slot(entries)
    if unless_said_by is not None:
        free = free.exclude(queue.is_done(unless_said_by))
    return free.update(n_taken=F("n_taken") + 1) == len(entries)


def _take(*, entry: Value, person: Value) -> tuple[QuerySet[QueueEntry], dict[str, Any]]:
    return _with_slot([entry]).exclude(queue.is_done(person)), {"n_taken": F("n_taken") + 1}


def _with_slot(entries: Collection[Any]) -> QuerySet[QueueEntry]:
    return QueueEntry.objects.filter(pk__in=entries, state=QueueEntry.State.OPEN, n_taken__lt=F("overlap"))


_TAKE = CompiledUpdate(_take, entry=BigIntegerField(), person=BigIntegerField())


def give_back(entries: Iterable[int]) -> None:
    """Free one slot of a question for each time that its id occurs in `entries`."""
    n_slots = Counter(entries)
    for n in set(n_slots.values()):
        some = [entry for entry, times in n_slots.items() if times == n]
        QueueEntry.objects.filter(pk__in=some, n_taken__gte=n).update(n_taken=F("n_taken") - n)


@transaction.atomic
def end(leases: QuerySet[Lease], *, outcome: str, now: datetime) -> int:
    """End the active ones of these leases, freeing their slots and reserved money; returns how many ended."""
    active = leases.filter(ended_at__isnull=True)
    lock(active.values("entry"))
    # Read again under the lock: the transaction that had it before may have ended some.
    fields = ("pk", "entry_id", "entry__round__project__human_price_micros")
    rows = list(active.order_by("pk").select_for_update(of=("self",)).values_list(*fields))
    if not rows:
        return 0
    Lease.objects.filter(pk__in=[lease for lease, _entry, _price in rows]).update(ended_at=now, outcome=outcome)
    give_back(entry for _lease, entry, _price in rows)
    payments.release([lease for lease, _entry, price in rows if price], now=now)
    return len(rows)
