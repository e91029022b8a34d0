"""The slots of a question: one is taken with a lease, kept by an answer, and given back exactly once.

The question's row is the lock for all that happens to it. Whoever ends a lease or moves a slot locks that row
first, several in order of their ids, and the lease after it: so nobody waits in a circle. On SQLite a write
transaction is that lock already.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, Count, Exists, F, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from annotate.models import Annotation, Lease, QueueEntry
from annotate.models.compiled import CompiledUpdate
from annotate.money import payments


def lock(entries: Collection[int] | QuerySet[Any]) -> None:
    """Wait until nobody else changes these questions; call inside the transaction that will."""
    if not connection.features.has_select_for_update:
        return  # one writer at a time
    list(QueueEntry.objects.select_for_update().filter(pk__in=entries).order_by("pk").values_list("pk"))


def take(entries: Collection[int]) -> bool:
    """One more slot of each, only where one is free; False if any had none, then the caller must roll back.

    Questions of a closed round are never open, so the round need not be looked at.
    """
    return _with_slot(entries).update(n_taken=F("n_taken") + 1) == len(entries)


def take_for(person: int, entries: Collection[int], *, n_active: int) -> bool:
    """The same for a person (a user's id), who may have been here in another window in the meantime.

    No slot where they have answered or skipped: it would be held for nothing. Nor where they hold more than
    `n_active` leases by now: each window would fill up what the person holds.
    """
    if len(entries) == 1:
        return _TAKE.run(entry=next(iter(entries)), person=person, n_active=n_active) == 1
    free = _free_for(entries, Value(person), Value(n_active))
    return free.update(n_taken=F("n_taken") + 1) == len(entries)


def _take(*, entry: Value, person: Value, n_active: Value) -> tuple[QuerySet[QueueEntry], dict[str, Any]]:
    return _free_for([entry], person, n_active), {"n_taken": F("n_taken") + 1}


def _free_for(entries: Collection[Any], person: Value, n_active: Value) -> QuerySet[QueueEntry]:
    said = Annotation.objects.filter(entry=OuterRef("pk"), annotator=person, is_current=True, is_counted=True)
    held = Lease.objects.filter(annotator=person, ended_at__isnull=True).order_by().values("annotator")
    n_held = Coalesce(Subquery(held.annotate(n=Count("pk")).values("n")), 0)
    return _with_slot(entries).exclude(Exists(said)).alias(n_held=n_held).filter(n_held__lte=n_active)


def _with_slot(entries: Collection[Any]) -> QuerySet[QueueEntry]:
    return QueueEntry.objects.filter(pk__in=entries, state=QueueEntry.State.OPEN, n_taken__lt=F("overlap"))


_TAKE = CompiledUpdate(_take, entry=BigIntegerField(), person=BigIntegerField(), n_active=BigIntegerField())


def give_back(entries: Iterable[int]) -> None:
    """One slot of a question for each time it is named."""
    n_slots = Counter(entries)
    for n in set(n_slots.values()):
        some = [entry for entry, times in n_slots.items() if times == n]
        QueueEntry.objects.filter(pk__in=some, n_taken__gte=n).update(n_taken=F("n_taken") - n)


@transaction.atomic
def end(leases: QuerySet[Lease], *, outcome: str, now: datetime) -> int:
    """End these leases as far as they are active and give their slots back; returns how many ended."""
    active = leases.filter(ended_at__isnull=True)
    lock(active.values("entry"))
    # Read again under the lock: whoever held it may have ended some.
    fields = ("pk", "entry_id", "entry__round__project__human_price_micros")
    held = list(active.order_by("pk").select_for_update(of=("self",)).values_list(*fields))
    if not held:
        return 0
    Lease.objects.filter(pk__in=[lease for lease, _entry, _price in held]).update(ended_at=now, outcome=outcome)
    give_back(entry for _lease, entry, _price in held)
    payments.release([lease for lease, _entry, price in held if price], now=now)
    return len(held)
