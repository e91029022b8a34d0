"""Who gets which question now: a lease takes one slot of an entry, and gives it back exactly once.

A lease that has run out is still held until somebody else needs the question: whoever comes back from a break is
not told that their answer came too late for nobody.
"""

import itertools
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    DateTimeField,
    F,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import BudgetReached, Conflict, LeaseLost, NotFound
from annotate.labeling import queue, slots
from annotate.models import Annotation, Lease, Project, QueueEntry, Round, User
from annotate.models.base import database_now
from annotate.models.compiled import CompiledQuery, CompiledUpdate
from annotate.models.write_lock import sqlite_write_lock
from annotate.money import payments

IN_FLIGHT = 7  # leases beyond `n` whose answers may still be on their way
PLENTY = 3  # free questions per person; with fewer nobody gets one ahead
_SPARE = 5  # questions looked at beyond those wanted, for the case that others are quicker
_TRIES = 8
_AT_ONCE = 50  # leases that one heartbeat or release may name


def lease_next(
    *, project: Project, annotator: User, n: int = 1, done: Collection[str] = (), now: datetime | None = None
) -> list[Lease]:
    """All leases that `annotator` holds now in the open round, oldest first, after filling up to `n` of them.

    `done` are public ids whose answers are on their way: they neither count nor come back. Four queries where
    one lease is granted; one where none is needed; some more where only what ran out is left. Only what writes is
    in a transaction: the database has one writer at a time, and reading takes ten times as long.
    """
    for _try in range(_TRIES):
        held, n_active = _held(project, annotator, now)
        open_ones = [lease for lease in held if lease.public_id not in done]
        wanted = min(n - len(open_ones), n + IN_FLIGHT - len(held))
        if wanted < 1:
            return open_ones
        entries, n_wanted = _choose(project, annotator, wanted, len(open_ones), now)
        if not n_wanted:
            return open_ones
        granted = _grant(entries, n_wanted, annotator, n_active) if entries else None
        if granted:
            return open_ones + granted
        # Empty: others were quicker, or another window of this person was, whose leases are read now.
        # None: nothing is free, or no money is. What ran out for others gives both back.
        if granted is not None or _end_run_out(project, annotator, now):
            continue
        taken = None if open_ones else _take_over(project, annotator, now)
        return [*open_ones, taken] if taken else open_ones
    return open_ones


@transaction.atomic
def lease(*, entry: QueueEntry, annotator: User, now: datetime | None = None) -> Lease:
    """Hold `entry` for `annotator`; Conflict says why it cannot be had."""
    now = now or database_now()
    access.require(annotator, entry.round.project, to="annotate")
    expire(entry=entry, now=now)
    if held := Lease.objects.filter(entry=entry, annotator=annotator, ended_at__isnull=True).first():
        return held
    # A skip may still become an answer; an answer is changed, not given again.
    mine = Annotation.objects.filter(entry=entry, annotator=annotator, is_current=True, is_counted=True)
    if mine.filter(label__isnull=False).exists():
        raise Conflict(f"{annotator} has answered this question already.")
    slots.lock([entry.pk])
    if not slots.take([entry.pk]):
        raise Conflict(_why_no_slot(entry))
    money = payments.hold(entry.round.project, 1)
    if not money.n:
        raise BudgetReached(payments.refusal(entry.round.project) or _("Somebody else was quicker; please try again."))
    try:
        with transaction.atomic():
            held = Lease.objects.create(entry=entry, annotator=annotator, granted_at=now, expires_at=_until(now))
    except IntegrityError:
        raise Conflict(f"{annotator} holds this question in another window.") from None
    money.book([held])
    return held


def shown(*, lease_id: str, by: User, now: datetime | None = None) -> None:
    """The question is on a screen now: nobody takes it over any more. LeaseLost where that came too late."""
    with sqlite_write_lock():
        n_marked = _SHOWN.run(settings.ANSWER_LEASE_SECONDS, lease=lease_id, person=by.pk, now=now)
    if n_marked != 1:
        raise LeaseLost("This item is no longer held for you.")


def renew(
    *, project: Project, by: User, public_ids: Sequence[str], shown: str | None = None, now: datetime | None = None
) -> list[str]:
    """A sign of life: hold these longer, as far as they are still held; returns those. `shown` is on a screen."""
    moment = Value(now) if now else Now()
    mine = queue.leases_in(project).filter(annotator=by, public_id__in=public_ids[:_AT_ONCE])
    on_screen = When(public_id=shown or "", then=Coalesce(F("shown_at"), moment))
    with sqlite_write_lock():
        mine.update(expires_at=_until(moment), shown_at=Case(on_screen, default=F("shown_at")))
    return list(mine.order_by("pk").values_list("public_id", flat=True))


@transaction.atomic
def release(*, project: Project, by: User, public_ids: Sequence[str], now: datetime | None = None) -> int:
    """Give these questions back, as far as they are held; returns how many were."""
    mine = Lease.objects.filter(annotator=by, entry__round__project=project, public_id__in=public_ids[:_AT_ONCE])
    return slots.end(mine, outcome=Lease.Outcome.RELEASED, now=now or database_now())


@transaction.atomic
def release_all(*, project: Project, user: User, now: datetime | None = None) -> int:
    """Give back everything that somebody holds, for instance because they leave; returns how many."""
    held = Lease.objects.filter(annotator=user, entry__round__project=project)
    return slots.end(held, outcome=Lease.Outcome.RELEASED, now=now or database_now())


def find_lease(*, project: Project, public_id: str, by: User) -> Lease:
    """One's own lease, ended or not; other people's and other projects' are not found."""
    leases = Lease.objects.select_related("entry__item__content", "entry__round")
    found = leases.filter(public_id=public_id, annotator=by, entry__round__project=project).first()
    if found is None:
        raise NotFound("There is no such question.")
    found.entry.round.project = project
    return found


def expire(*, entry: QueueEntry, now: datetime) -> int:
    """End what has run out on this entry; returns how many slots came back."""
    due = Lease.objects.filter(entry=entry, expires_at__lte=now)
    return slots.end(due, outcome=Lease.Outcome.EXPIRED, now=now)


@transaction.atomic
def close_questions(questions: QuerySet[QueueEntry], *, now: datetime) -> int:
    """Make open questions unresolved: their leases end, what is taken is what was answered. Returns how many."""
    n_closed = 0
    still_open = questions.filter(state=QueueEntry.State.OPEN).select_related("round__project")
    for entry in still_open.order_by("pk").select_for_update(of=("self",)):
        held = Lease.objects.filter(entry=entry, ended_at__isnull=True)
        paid = list(held.values_list("pk", flat=True)) if entry.round.project.human_price_micros else []
        held.update(ended_at=now, outcome=Lease.Outcome.RELEASED)
        payments.release(paid, now=now)
        answered = entry.annotations.filter(is_current=True, is_counted=True, label__isnull=False)
        entry.n_taken, entry.state = answered.count(), QueueEntry.State.UNRESOLVED
        entry.save(update_fields=["n_taken", "state"])
        n_closed += 1
    return n_closed


def _held(project: Project, annotator: User, now: datetime | None) -> tuple[list[Lease], int]:
    """Active leases of this person here, ready to be shown, and how many they hold anywhere.

    Those that ran out meanwhile are theirs for longer.
    """
    found = _HELD.objects(person=annotator.pk, now=now)
    # Narrowed here and not in the query, which SQLite would then begin at all questions of the round.
    held = [lease for lease in found if _is_in_open_round(lease, project)]
    if due := [lease.pk for lease in held if lease.expires_at <= lease.now]:
        Lease.objects.filter(pk__in=due, ended_at__isnull=True).update(expires_at=_until(held[0].now))
        return _held(project, annotator, now)
    for lease in held:
        lease.entry.round.project = project
    return held, len(found)


def _end_run_out(project: Project, annotator: User, now: datetime | None) -> int:
    """End what has run out for others in this round; returns how many slots came back."""
    moment = now or database_now()
    due = queue.leases_in(project).filter(expires_at__lte=moment).exclude(annotator=annotator)
    return slots.end(due, outcome=Lease.Outcome.EXPIRED, now=moment)


def _is_in_open_round(lease: Lease, project: Project) -> bool:
    current = lease.entry.round
    return current.project_id == project.pk and current.state == Round.State.OPEN


def _choose(project: Project, annotator: User, wanted: int, n_open: int, now: datetime | None) -> tuple[list[Any], int]:
    """The next free questions, some more than wanted, and how many to take: near the end only as many as make one."""
    found = _FREE.objects(wanted + _SPARE, project=project.pk, person=annotator.pk, now=now)
    if found and found[0].n_free < PLENTY * (found[0].n_others + 1):
        wanted = max(1 - n_open, 0)
    for entry in found:
        entry.round.project = project
    return found, wanted


def _held_by(*, person: Value, now: Value) -> QuerySet[Lease]:
    found = Lease.objects.filter(annotator=person, ended_at__isnull=True)
    found = found.select_related("entry__item__content", "entry__round")
    return found.annotate(now=Coalesce(now, Now())).order_by("granted_at", "pk")


def _free(n: int, *, project: Value, person: Value, now: Value) -> QuerySet[QueueEntry]:
    found = queue.free(project, person).select_related("item__content", "round")
    others = queue.n_people(project, besides=person)
    return found.annotate(n_free=queue.n_free(project), n_others=others, now=Coalesce(now, Now()))[:n]


def _shown(lease_seconds: int, *, lease: Value, person: Value, now: Value) -> tuple[QuerySet[Lease], dict[str, Any]]:
    moment = Coalesce(now, Now())
    active = Lease.objects.filter(public_id=lease, annotator=person, ended_at__isnull=True)
    changes = {"shown_at": Coalesce(F("shown_at"), moment), "expires_at": moment + timedelta(seconds=lease_seconds)}
    return active, changes


_HELD = CompiledQuery(_held_by, person=BigIntegerField(), now=DateTimeField())
_FREE = CompiledQuery(_free, project=BigIntegerField(), person=BigIntegerField(), now=DateTimeField())
_SHOWN = CompiledUpdate(_shown, lease=CharField(), person=BigIntegerField(), now=DateTimeField())


@sqlite_write_lock()
@transaction.atomic
def _grant(entries: list[Any], wanted: int, annotator: User, n_active: int) -> list[Lease] | None:
    """Hold the first `wanted` of these questions that are still free; others may have been quicker.

    None of them if this person holds more than `n_active` leases now, in another window. Fewer where the cap leaves
    money for fewer; None where it leaves none.
    """
    slots.lock([entry.pk for entry in entries])
    taken = entries[:wanted]
    if not _take_all(taken, annotator, n_active):
        free = (one for one in entries if slots.take_for(annotator.pk, [one.pk], n_active=n_active))
        taken = list(itertools.islice(free, wanted))
    money = payments.hold(entries[0].round.project, len(taken))
    slots.give_back(entry.pk for entry in taken[money.n :])
    if taken and not money.n:
        return None
    try:
        leases = Lease.objects.bulk_create(
            Lease(entry=entry, annotator=annotator, granted_at=entry.now, expires_at=_until(entry.now))
            for entry in taken[: money.n]
        )
    except IntegrityError:  # held by oneself in another window meanwhile; the slots go back with the transaction
        raise Conflict("This question is held in another window; please try again.") from None
    money.book(leases)
    return leases


def _take_all(entries: list[Any], annotator: User, n_active: int) -> bool:
    """A slot of each of these, or of none."""
    if len(entries) == 1:
        return slots.take_for(annotator.pk, [entries[0].pk], n_active=n_active)
    with transaction.atomic():
        is_done = slots.take_for(annotator.pk, [entry.pk for entry in entries], n_active=n_active)
        transaction.set_rollback(not is_done)
    return is_done


@transaction.atomic
def _take_over(project: Project, annotator: User, now: datetime | None) -> Lease | None:
    """The question sent ahead last to somebody who has not seen it, or one that is hoarded; its slot moves with it."""
    found: Any = (
        queue.idle_leases(project, annotator, Value(now) if now else Now())
        .select_related("entry__item__content", "entry__round")
        .annotate(now=Value(now) if now else Now())
        .select_for_update(of=("entry",), skip_locked=True)
        .first()
    )
    if found is None:
        return None
    # Filtered again: it may have come onto a screen in this moment.
    idle = Lease.objects.filter(pk=found.pk, ended_at__isnull=True, shown_at=found.shown_at)
    if idle.update(ended_at=found.now, outcome=Lease.Outcome.TAKEN_OVER) != 1:
        return None
    found.entry.round.project = project
    money = _moved_money(project, found)
    if not money.n:  # the price has risen since
        transaction.set_rollback(True)
        return None
    taken = Lease.objects.create(
        entry=found.entry, annotator=annotator, granted_at=found.now, expires_at=_until(found.now)
    )
    money.book([taken])
    return taken


def _moved_money(project: Project, ended: Any) -> payments.Held:
    """What was reserved for the lease that ends goes to the one that begins."""
    if project.human_price_micros:
        payments.release([ended.pk], now=ended.now)
    return payments.hold(project, 1)


def _why_no_slot(entry: QueueEntry) -> str:
    entry.refresh_from_db()
    if entry.round.state != Round.State.OPEN:
        return f"Round {entry.round.index} is closed."
    if entry.state in (QueueEntry.State.UNRESOLVED, QueueEntry.State.SKIPPED):
        return f"This question is {entry.state}: its item was withdrawn, or everybody skipped it."
    return "Enough people have answered this question or hold it now."


def _until(moment: Any) -> Any:
    return moment + timedelta(seconds=settings.ANSWER_LEASE_SECONDS)
