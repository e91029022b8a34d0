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
from django.db.models import BigIntegerField, Count, F, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from annotate.labeling import queue
from annotate.models import Lease, QueueEntry
from annotate.models.compiled import CompiledUpdate
from annotate.money import payments


def lock(entries: Collection[int] | QuerySet[Any]) -> None:
    """Lock the rows of these questions (queue entry ids) until the end of the transaction that this is called in."""
    if not connection.features.has_select_for_update:
        return  # SQLite: only one transaction writes at a time
    list(QueueEntry.objects.select_for_update().filter(pk__in=entries).order_by("pk").values_list("pk"))


def take(entries: Collection[int]) -> bool:
    """Take one slot of each of these questions; False if one of them has none to take, and the caller must roll back.

    Only open questions have slots to take; those of a closed round are never open.
    """
    return _with_slot(entries).update(n_taken=F("n_taken") + 1) == len(entries)


def take_for(person: int, entries: Collection[int], *, n_active: int) -> bool:
    """`take` for a person (a user's id) who may have been here through another window in the meantime.

    A question that they have answered or skipped (counted) has no slot for them, except a skipped one that comes back
    to them. Nor has any question once they hold more than `n_active` leases: each window would fill up to its own
    number.
    """
    if len(entries) == 1:
        return _TAKE.run(entry=next(iter(entries)), person=person, n_active=n_active) == 1
    free = _free_for(entries, Value(person), Value(n_active))
    return free.update(n_taken=F("n_taken") + 1) == len(entries)


def _take(*, entry: Value, person: Value, n_active: Value) -> tuple[QuerySet[QueueEntry], dict[str, Any]]:
    return _free_for([entry], person, n_active), {"n_taken": F("n_taken") + 1}


def _free_for(entries: Collection[Any], person: Value, n_active: Value) -> QuerySet[QueueEntry]:
    leases = Lease.objects.filter(annotator=person, ended_at__isnull=True).order_by().values("annotator")
    n_leases = Coalesce(Subquery(leases.annotate(n=Count("pk")).values("n")), 0)
    free = _with_slot(entries).exclude(queue.is_done(person))
    return free.alias(n_leases=n_leases).filter(n_leases__lte=n_active)


def _with_slot(entries: Collection[Any]) -> QuerySet[QueueEntry]:
    return QueueEntry.objects.filter(pk__in=entries, state=QueueEntry.State.OPEN, n_taken__lt=F("overlap"))


_TAKE = CompiledUpdate(_take, entry=BigIntegerField(), person=BigIntegerField(), n_active=BigIntegerField())


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
