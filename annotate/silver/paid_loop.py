"""Decides when items are sent to a paid annotator: after their reservation is committed, which then ends exactly once.

One thread keeps the ledger. In each turn one transaction ends the reservations of attempts that have ended, stores
their answers, and reserves for the attempts to send next; these are sent after the commit. So a crash at any moment
leaves open reservations whose cost nobody knows, and the run's next attempt writes them off (annotate/money/ledger.py).
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import failpoints
from annotate.errors import BudgetReached, GoldloopError, RunCancelled, RunLost, RunPaused
from annotate.models import Budget, Item, LedgerEntry, PromptVersion
from annotate.models.write_lock import sqlite_write_lock
from annotate.money import budgets, ledger
from annotate.money.ledger import Ask, End, State
from annotate.providers.client import Client
from annotate.providers.openai import Attempted, Endpoint, Outcome, most_micros
from annotate.providers.outbound import OutboundError
from annotate.providers.retries import CircuitBreaker, wait_before_retry
from annotate.runs.attempt import Attempt
from annotate.silver import connections, prompts
from annotate.silver.unusable import UnusableAnswers
from models_ml.llm import chat
from models_ml.llm.chat import Message
from models_ml.types import Failure

_SECONDS_BETWEEN_COMMITS = 0.05  # a commit takes about 4 ms, so that many answers at a time share one
_MANY = 8  # with so many attempts in flight results wait for a shared commit, with fewer they do not
_WAIT_SECONDS = 0.25  # for a result, before the clock and people's requests are looked at again
_CHECK_SECONDS = 1.0  # between checks of the kill switch and the connection
_GRACE_SECONDS = 1.5  # for attempts in flight to end when the run stops; then they are broken off


class _Failed(OutboundError):
    """The run ends because of the server, whatever the items are."""


@dataclass(frozen=True)
class _Try:
    """The `number`-th request (from 1) about one item."""

    item: Item
    messages: Sequence[Message] = field(repr=False)
    number: int = 1


class Asking:
    """One attempt at a run that asks a connection for the labels of `items`."""

    def __init__(
        self,
        *,
        attempt: Attempt,
        prompt: PromptVersion,
        endpoint: Endpoint,
        items: QuerySet[Item],
        rng: np.random.Generator | None = None,
    ) -> None:
        self._attempt, self._prompt, self._endpoint, self._items = attempt, prompt, endpoint, items
        self._project = attempt.run.project
        self._budget = budgets.of(self._project, Budget.Kind.MACHINE)
        self._rng = rng or np.random.default_rng()
        self._breaker = CircuitBreaker(max_concurrency=endpoint.max_concurrency)
        self._unusable = UnusableAnswers()
        self._first_tries = self._make_first_tries()
        self._ready: deque[_Try] = deque()
        self._retries: list[tuple[float, int, _Try]] = []  # a heap: due time, number that breaks ties, try
        self._order = itertools.count()
        self._in_flight: dict[int, tuple[LedgerEntry, _Try]] = {}  # by the entry's id
        self._ended: list[Attempted] = []  # attempts whose reservations are to be ended
        self._answers: list[tuple[Item, Failure]] = []  # of items that are never sent, to be stored
        self._stop: GoldloopError | None = None
        self._stop_at = 0.0  # when attempts in flight are broken off
        self._is_blocked = False  # the cap refused a reservation; attempts that end may make room
        self._n_done = 0
        self._last_commit = self._last_check = 0.0
        self._alert: int | None = None
        self._n_total = items.count()

    def run(self) -> None:
        """Return when each of the items was asked; raise what stopped the run before (paused, cancelled, failed)."""
        names = [label.name for label in prompts.label_specs(self._prompt.schema)]
        with Client(self._endpoint, labels=names) as client:
            while self._stop is None and not self._is_finished():
                self._turn(client)
            self._wind_up(client)
        if self._stop is not None:
            raise self._stop

    def _turn(self, client: Client) -> None:
        self._check_requests()
        self._fetch(client)
        self._commit_and_send(client)

    def _is_finished(self) -> bool:
        self._fill(1)
        return not (self._ready or self._retries or self._in_flight or self._ended or self._answers)

    def _make_first_tries(self) -> Iterator[_Try]:
        opening = prompts.opening(self._prompt.schema, self._prompt.guidelines)
        for items in prompts.chunks(self._items):
            for item in items:
                parts = prompts.parts_of(item)
                if failure := chat.without_asking(parts):
                    self._answers.append((item, failure))
                else:
                    yield _Try(item, chat.messages(opening, parts))

    # Attempts that have ended

    def _fetch(self, client: Client) -> None:
        """Take the results that have come; with many attempts in flight wait a little, so that more share a commit."""
        if len(self._in_flight) >= _MANY:
            time.sleep(max(0.0, self._last_commit + _SECONDS_BETWEEN_COMMITS - time.monotonic()))
        has_work = bool(self._ready) and self._n_free(client) > 0 and not self._is_blocked
        self._take(client.results(0.0 if has_work else self._wait()))
        if not self._in_flight and self._retries and not has_work:
            time.sleep(self._wait())  # no result can come: wait for the next retry

    def _n_free(self, client: Client) -> int:
        """How many more attempts may be sent now."""
        room = self._unusable.room(len(self._in_flight) - len(self._ended))
        return client.n_free if room is None else min(client.n_free, room)

    def _wait(self) -> float:
        due = self._retries[0][0] - time.monotonic() if self._retries else _WAIT_SECONDS
        return min(max(due, 0.0), _WAIT_SECONDS)

    def _take(self, ended: list[Attempted]) -> None:
        for one in ended:
            self._ended.append(one)
            self._breaker.record(one)
            if one.answer is not None and one.outcome is Outcome.ANSWERED:
                self._unusable.record(one.answer)
            if one.answer is None and self._stop is None:
                self._retry_later(one)
        if self._breaker.why and self._stop is None:
            self._halt(_Failed(self._breaker.why))
        if self._unusable.why and self._stop is None:
            self._halt(RunPaused(self._unusable.why))

    def _retry_later(self, ended: Attempted) -> None:
        """Plan another try at the item, which needs a reservation of its own, or leave the item without an answer."""
        before = self._in_flight[_key(ended)][1]
        wait = wait_before_retry(before.number, ended, self._rng)
        if wait is not None:
            due = replace(before, number=before.number + 1)
            heapq.heappush(self._retries, (time.monotonic() + wait, next(self._order), due))

    # Attempts to send

    def _fill(self, n: int) -> None:
        """Make up to `n` tries ready: due retries first, then first tries, unless many retries wait already."""
        now = time.monotonic()
        while len(self._ready) < n and self._retries and self._retries[0][0] <= now:
            self._ready.append(heapq.heappop(self._retries)[2])
        if len(self._retries) < 4 * self._endpoint.max_concurrency:
            self._ready.extend(itertools.islice(self._first_tries, max(0, n - len(self._ready))))

    def _commit_and_send(self, client: Client) -> None:
        n_free = 0 if self._stop else self._n_free(client)
        self._fill(n_free)
        wanted = [] if self._is_blocked and not self._ended else list(itertools.islice(self._ready, n_free))
        if not (wanted or self._ended or self._answers):
            return
        entries = self._commit(wanted)
        failpoints.hit("prelabel.reserved")
        for entry in entries:
            one = self._ready.popleft()
            self._in_flight[entry.pk] = entry, one
            client.submit(entry.pk, one.messages)
        failpoints.hit("prelabel.sent")

    def _commit(self, wanted: Sequence[_Try]) -> list[LedgerEntry]:
        """One transaction: end the reservations of ended attempts, store their answers, reserve for `wanted`.

        Returns the new entries, for the first of `wanted` as far as the cap has room.
        """
        ends = [self._end_of(one) for one in self._ended]
        answered = [(self._in_flight[_key(one)][1].item, one.answer) for one in self._ended if one.answer is not None]
        answered += self._answers
        n_done = self._n_done + len(answered)
        try:
            with sqlite_write_lock(), transaction.atomic():
                self._attempt.write(n_done, self._n_total)
                ledger.end(self._budget, ends)
                prompts.store(prompt=self._prompt, items=[i for i, _a in answered], answers=[a for _i, a in answered])
                entries = self._reserve(wanted) if self._stop is None else []
                failpoints.hit("prelabel.commit")
        except (RunPaused, RunCancelled) as request:  # raised by `write`: the transaction was undone, so commit again
            self._halt(request)
            return self._commit([])
        for one in self._ended:
            del self._in_flight[_key(one)]
        self._ended, self._answers, self._n_done = [], [], n_done
        self._last_commit = time.monotonic()
        return entries

    def _reserve(self, wanted: Sequence[_Try]) -> list[LedgerEntry]:
        asks = [Ask(most_micros(self._endpoint, one.messages), one.item.pk) for one in wanted]
        try:
            entries = ledger.reserve(self._budget, asks, run=self._attempt.run, prompt=self._prompt)
        except BudgetReached as refused:
            # A reservation is far above what its attempt will cost: attempts in flight may leave room when they end.
            self._is_blocked = True
            if len(self._in_flight) == len(self._ended):
                self._halt(RunPaused(str(refused)))
            return []
        self._is_blocked = False
        return entries

    def _end_of(self, one: Attempted) -> End:
        entry, _try = self._in_flight[_key(one)]
        tokens = (one.usage.n_input_tokens, one.usage.n_output_tokens) if one.usage else (None, None)
        if one.is_settled:
            return End(entry, State.SETTLED, one.cost_micros, *tokens)
        if one.is_released:
            return End(entry, State.RELEASED, reason=one.reason)
        return End(entry, State.WRITTEN_OFF, reason=one.reason or _("The server did not say what it used."))

    # Why and how it stops

    def _check_requests(self) -> None:
        """Stop on request: cancel, pause, the kill switch, a connection that was switched off or taken back."""
        try:
            self._attempt.beat(self._n_done, self._n_total)
            if time.monotonic() - self._last_check >= _CHECK_SECONDS:
                self._last_check = time.monotonic()
                connections.of_project(self._project)
                self._check_budget()
        except RunLost:
            raise  # another attempt has the run: this one must not write any more
        except BudgetReached as stopped:
            self._halt(RunPaused(str(stopped)))
        except GoldloopError as why:
            self._halt(why)

    def _check_budget(self) -> None:
        now = budgets.of(self._project, Budget.Kind.MACHINE)
        if now.is_stopped and (why := budgets.refusal(now, 0)):
            raise BudgetReached(why)
        alert = budgets.alert(now)
        if alert and alert != self._alert:
            self._attempt.say(_("%(percent)d %% of the cap is spent or reserved.") % {"percent": alert})
        self._alert = alert

    def _halt(self, why: GoldloopError) -> None:
        if self._stop is None:
            self._stop, self._stop_at = why, time.monotonic() + _GRACE_SECONDS
            self._attempt.obeyed()  # from here on the attempt only ends its reservations
            self._ready.clear()
            self._retries.clear()

    def _wind_up(self, client: Client) -> None:
        """Let attempts in flight end, break off those that take too long, and end all their reservations."""
        while self._in_flight and (left := self._stop_at - time.monotonic()) > 0:
            self._take(client.results(min(left, _WAIT_SECONDS)))
            if self._ended:
                self._commit([])
        client.close()
        self._take(client.results(0.0))
        if self._ended or self._answers:
            self._commit([])
        if self._in_flight:  # the client did not close in time, so nobody knows how these attempts ended
            reason = _("It did not end.")
            unknown = [End(entry, State.WRITTEN_OFF, reason=reason) for entry, _try in self._in_flight.values()]
            with transaction.atomic():
                self._attempt.write(self._n_done, self._n_total)
                ledger.end(self._budget, unknown)
            self._in_flight.clear()


def _key(ended: Attempted) -> int:
    assert isinstance(ended.key, int)
    return ended.key
