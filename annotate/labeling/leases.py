"""Hands out questions: a lease gives one person one slot of a question, until it ends with an answer or without.

A lease past its time limit stays active until somebody else needs the question, so that an answer after a break still
counts wherever nobody waited for it.
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

IN_FLIGHT = 7  # a person holds at most `n` + 7 leases, those whose answers are on their way included
PLENTY = 3  # free questions per person; with fewer, nobody gets questions ahead of the one on the screen
_SPARE = 5  # questions read beyond those wanted, in case that others lease some of them first
_TRIES = 8  # choosing and granting again after others were quicker
_AT_ONCE = 50  # leases that one heartbeat or release may name


def lease_next(
    *, project: Project, annotator: User, n: int = 1, done: Collection[str] = (), now: datetime | None = None
) -> list[Lease]:
    """Top the annotator's active leases in the open round up to `n`, and return them, oldest first.

    `done` are public ids of leases whose answers are on their way: they count towards `n` + IN_FLIGHT only, and are not
    returned. Where no question is free, leases of others that have run out end; where there are none either, an
    annotator without a lease takes over an idle one, or else gets one that they skipped and nobody else can answer.
    Four queries where one lease is granted, one where none is needed.
    Only the writes are in a transaction, because SQLite has one writer at a time and the reads take ten times as long.
    """
    for _try in range(_TRIES):
        active, n_active = _active_leases(project, annotator, now)
        open_ones = [lease for lease in active if lease.public_id not in done]
        wanted = min(n - len(open_ones), n + IN_FLIGHT - len(active))
        if wanted < 1:
            return open_ones
        entries, n_wanted = _choose(project, annotator, wanted, len(open_ones), now)
        if not n_wanted:
            return open_ones
        granted = _grant(entries, n_wanted, annotator, n_active) if entries else None
        if granted:
            return open_ones + granted
        # Empty: others were quicker, or another window of this person was, whose leases are read anew.
        # None: no slot is free, or no money. Ending the leases of others that ran out frees both.
        if granted is not None or _end_run_out(project, annotator, now):
            continue
        if open_ones:
            return open_ones
        taken = _take_over(project, annotator, now)
        return [taken] if taken else _lease_again(project, annotator, n_active, now)
    return open_ones


@transaction.atomic
def lease(*, entry: QueueEntry, annotator: User, now: datetime | None = None) -> Lease:
    """Lease this question to `annotator`, or return their active lease on it; Conflict says why it cannot be leased."""
    now = now or database_now()
    access.require(annotator, entry.round.project, to="annotate")
    expire(entry=entry, now=now)
    if active := Lease.objects.filter(entry=entry, annotator=annotator, ended_at__isnull=True).first():
        return active
    # Whoever skipped may lease the question again; whoever labeled it changes the answer without a new lease.
    mine = Annotation.objects.filter(entry=entry, annotator=annotator, is_current=True, is_counted=True)
    if mine.filter(label__isnull=False).exists():
        raise Conflict(_("%(annotator)s has answered this question already.") % {"annotator": annotator})
    slots.lock([entry.pk])
    if not slots.take([entry.pk]):
        raise Conflict(_why_no_slot(entry))
    money = payments.hold(entry.round.project, 1)
    if not money.n:
        raise BudgetReached(payments.refusal(entry.round.project) or _("Somebody else was quicker; please try again."))
    try:
        with transaction.atomic():
            granted = Lease.objects.create(entry=entry, annotator=annotator, granted_at=now, expires_at=_until(now))
    except IntegrityError:
        raise Conflict(_("%(annotator)s holds this question in another window.") % {"annotator": annotator}) from None
    money.book([granted])
    return granted


def shown(*, lease_id: str, by: User, now: datetime | None = None) -> None:
    """Record that the leased question is on the person's screen, and renew the lease; LeaseLost if it has ended.

    Only hoarded leases are taken over after that, see `queue.idle_leases`.
    """
    with sqlite_write_lock():
        n_marked = _SHOWN.run(settings.ANSWER_LEASE_SECONDS, lease=lease_id, person=by.pk, now=now)
    if n_marked != 1:
        raise LeaseLost(_("This item is no longer held for you."))


def renew(
    *, project: Project, by: User, public_ids: Sequence[str], shown: str | None = None, now: datetime | None = None
) -> list[str]:
    """Renew these leases of `by` that are active in the open round; returns their public ids, oldest first.

    `shown` is the one of them whose question is on the screen.
    """
    moment = Value(now) if now else Now()
    mine = queue.leases_in(project).filter(annotator=by, public_id__in=public_ids[:_AT_ONCE])
    on_screen = When(public_id=shown or "", then=Coalesce(F("shown_at"), moment))
    with sqlite_write_lock():
        mine.update(expires_at=_until(moment), shown_at=Case(on_screen, default=F("shown_at")))
    return list(mine.order_by("pk").values_list("public_id", flat=True))


@transaction.atomic
def release(*, project: Project, by: User, public_ids: Sequence[str], now: datetime | None = None) -> int:
    """End these leases of `by` so that others can have the questions; returns how many of them were active."""
    mine = Lease.objects.filter(annotator=by, entry__round__project=project, public_id__in=public_ids[:_AT_ONCE])
    return slots.end(mine, outcome=Lease.Outcome.RELEASED, now=now or database_now())


@transaction.atomic
def release_all(*, project: Project | None, user: User, now: datetime | None = None) -> int:
    """End all active leases of `user` in the project (None: everywhere), for instance because they leave it.

    Returns how many ended.
    """
    leases = Lease.objects.filter(annotator=user)
    if project is not None:
        leases = leases.filter(entry__round__project=project)
    return slots.end(leases, outcome=Lease.Outcome.RELEASED, now=now or database_now())


def find_lease(*, project: Project, public_id: str, by: User) -> Lease:
    """The lease with this public id, active or ended; NotFound unless it is a lease of `by` in this project."""
    leases = Lease.objects.select_related("entry__item__content", "entry__round")
    lease = leases.filter(public_id=public_id, annotator=by, entry__round__project=project).first()
    if lease is None:
        raise NotFound(_("There is no such question."))
    lease.entry.round.project = project
    return lease


def expire(*, entry: QueueEntry, now: datetime) -> int:
    """End the leases on this question that have run out; returns how many ended, each freeing a slot."""
    due = Lease.objects.filter(entry=entry, expires_at__lte=now)
    return slots.end(due, outcome=Lease.Outcome.EXPIRED, now=now)


@transaction.atomic
def close_questions(questions: QuerySet[QueueEntry], *, now: datetime) -> int:
    """Make the open ones of these questions unresolved, and end their leases; returns how many.

    Each question keeps as many slots taken as it has counted labels.
    """
    n_closed = 0
    still_open = questions.filter(state=QueueEntry.State.OPEN).select_related("round__project")
    for entry in still_open.order_by("pk").select_for_update(of=("self",)):
        active = Lease.objects.filter(entry=entry, ended_at__isnull=True)
        paid = list(active.values_list("pk", flat=True)) if entry.round.project.human_price_micros else []
        active.update(ended_at=now, outcome=Lease.Outcome.RELEASED)
        payments.release(paid, now=now)
        answered = entry.annotations.filter(is_current=True, is_counted=True, label__isnull=False)
        entry.n_taken, entry.state = answered.count(), QueueEntry.State.UNRESOLVED
        entry.save(update_fields=["n_taken", "state"])
        n_closed += 1
    return n_closed


def _active_leases(project: Project, annotator: User, now: datetime | None) -> tuple[list[Lease], int]:
    """Active leases of this person in the open round, with item and round, and how many they hold in all projects.

    Those of the open round that have run out are renewed.
    """
    everywhere = _HELD.objects(person=annotator.pk, now=now)
    # Filtered here and not in the query, which SQLite would then start from all questions of the round.
    active = [lease for lease in everywhere if _is_in_open_round(lease, project)]
    if due := [lease.pk for lease in active if lease.expires_at <= lease.now]:
        Lease.objects.filter(pk__in=due, ended_at__isnull=True).update(expires_at=_until(active[0].now))
        return _active_leases(project, annotator, now)
    for lease in active:
        lease.entry.round.project = project
    return active, len(everywhere)


def _end_run_out(project: Project, annotator: User, now: datetime | None) -> int:
    """End other people's leases in the open round that have run out; returns how many ended, each freeing a slot."""
    moment = now or database_now()
    due = queue.leases_in(project).filter(expires_at__lte=moment).exclude(annotator=annotator)
    return slots.end(due, outcome=Lease.Outcome.EXPIRED, now=moment)


def _is_in_open_round(lease: Lease, project: Project) -> bool:
    current = lease.entry.round
    return current.project_id == project.pk and current.state == Round.State.OPEN


def _choose(project: Project, annotator: User, wanted: int, n_open: int, now: datetime | None) -> tuple[list[Any], int]:
    """The next free questions, with spare ones, and how many of them to lease.

    That is `wanted`; but near the end of the round, with few free questions per person, it is 1 for a person without
    an open lease and 0 for anybody else.
    """
    entries = _FREE.objects(wanted + _SPARE, project=project.pk, person=annotator.pk, now=now)
    if entries and entries[0].n_free < PLENTY * (entries[0].n_others + 1):
        wanted = max(1 - n_open, 0)
    for entry in entries:
        entry.round.project = project
    return entries, wanted


def _held_by(*, person: Value, now: Value) -> QuerySet[Lease]:
    active = Lease.objects.filter(annotator=person, ended_at__isnull=True)
    active = active.select_related("entry__item__content", "entry__round")
    return active.annotate(now=Coalesce(now, Now())).order_by("granted_at", "pk")


def _free(n: int, *, project: Value, person: Value, now: Value) -> QuerySet[QueueEntry]:
    entries = queue.free(project, person).select_related("item__content", "round")
    others = queue.n_people(project, besides=person)
    return entries.annotate(n_free=queue.n_free(project), n_others=others, now=Coalesce(now, Now()))[:n]


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
    """Lease the first `wanted` of these questions that still have a free slot; others may have been quicker.

    None of them if this person holds more than `n_active` leases by now, through another window. Fewer leases if the
    budget for people allows only fewer; None if it allows none.
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
    except IntegrityError:  # leased by the same person in another window meanwhile; rolling back frees the slots
        raise Conflict(_("This question is held in another window; please try again.")) from None
    money.book(leases)
    return leases


def _take_all(entries: list[Any], annotator: User, n_active: int) -> bool:
    """Take a slot of each of these questions, or of none; returns whether they were taken."""
    if len(entries) == 1:
        return slots.take_for(annotator.pk, [entries[0].pk], n_active=n_active)
    with transaction.atomic():
        is_done = slots.take_for(annotator.pk, [entry.pk for entry in entries], n_active=n_active)
        transaction.set_rollback(not is_done)
    return is_done


@transaction.atomic
def _take_over(project: Project, annotator: User, now: datetime | None) -> Lease | None:
    """Replace an idle lease of somebody else (see `queue.idle_leases`) by one of this person; None if there is none."""
    idle: Any = (
        queue.idle_leases(project, annotator, Value(now) if now else Now())
        .select_related("entry__item__content", "entry__round")
        .annotate(now=Value(now) if now else Now())
        .select_for_update(of=("entry",), skip_locked=True)
        .first()
    )
    if idle is None:
        return None
    # Filtered again: the question may have come onto a screen since it was read.
    unchanged = Lease.objects.filter(pk=idle.pk, ended_at__isnull=True, shown_at=idle.shown_at)
    if unchanged.update(ended_at=idle.now, outcome=Lease.Outcome.TAKEN_OVER) != 1:
        return None
    idle.entry.round.project = project
    money = _moved_money(project, idle)
    if not money.n:  # the price has risen since
        transaction.set_rollback(True)
        return None
    taken = Lease.objects.create(
        entry=idle.entry, annotator=annotator, granted_at=idle.now, expires_at=_until(idle.now)
    )
    money.book([taken])
    return taken


def _lease_again(project: Project, annotator: User, n_active: int, now: datetime | None) -> list[Lease]:
    """Lease a question that this person skipped and that comes back to them; empty if there is none, or no money."""
    again: Any = queue.free_again(project, annotator).select_related("item__content", "round")
    entries = list(again.annotate(now=Value(now) if now else Now())[:1])
    for entry in entries:
        entry.round.project = project
    return (_grant(entries, 1, annotator, n_active) or []) if entries else []


def _moved_money(project: Project, ended: Any) -> payments.Held:
    """Release the money reserved with the lease that ends, and reserve it for the one that begins."""
    if project.human_price_micros:
        payments.release([ended.pk], now=ended.now)
    return payments.hold(project, 1)


def _why_no_slot(entry: QueueEntry) -> str:
    entry.refresh_from_db()
    if entry.round.state != Round.State.OPEN:
        return _("Round %(index)s is closed.") % {"index": entry.round.index}
    if entry.state in (QueueEntry.State.UNRESOLVED, QueueEntry.State.SKIPPED):
        return _("This question is %(state)s: its item was withdrawn, or everybody skipped it.") % {
            "state": entry.state
        }
    return _("Enough people have answered this question or hold it now.")


def _until(moment: Any) -> Any:
    return moment + timedelta(seconds=settings.ANSWER_LEASE_SECONDS)
