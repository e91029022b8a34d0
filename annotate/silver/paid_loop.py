"""Asks a paid annotator: what is not in the ledger is not sent, and what was sent ends in the ledger, once.

One thread keeps the ledger. In each turn one transaction ends what has come back, stores its answers and reserves for
what goes out next; only after it has committed is anything sent. So a crash at any moment leaves reservations of which
nobody knows how they ended, and the next attempt writes those off (annotate/money/ledger.py).
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from django.db import transaction
from django.utils.translation import gettext as _

from annotate import failpoints
from annotate.errors import BudgetReached, GoldloopError, RunCancelled, RunLost, RunPaused
from annotate.models import Budget, Item, LedgerEntry, PromptVersion
from annotate.models.write_lock import sqlite_write_lock
from annotate.money import budgets, ledger
from annotate.money.ledger import Ask, End, State
from annotate.providers.client import Client
from annotate.providers.openai import Attempted, Endpoint, most_micros
from annotate.providers.outbound import OutboundError
from annotate.providers.retries import CircuitBreaker, wait_before_retry
from annotate.runs.attempt import Attempt
from annotate.silver import connections, prompts
from models_ml.llm import chat
from models_ml.llm.chat import Message
from models_ml.types import Failure

_SECONDS_BETWEEN_COMMITS = 0.05  # a commit takes about 4 ms, so that many answers at a time share one
_MANY = 8  # on their way: fewer do not wait for each other
_WAIT_SECONDS = 0.25  # for an answer, before looking at the clock and at what people wish
_LOOK_SECONDS = 1.0  # between looks at the kill switch and the connection
_GRACE_SECONDS = 1.5  # for what is on its way when the run stops; then it is broken off and written off


class _Failed(OutboundError):
    """The server, not the items, is why the run ends."""


@dataclass(frozen=True)
class _Try:
    """One item to be asked, for the `number`-th time."""

    item: Item
    messages: Sequence[Message] = field(repr=False)
    number: int = 1


class Asking:
    """One attempt's work: `run` returns when every pending item was asked, and raises what stopped it otherwise."""

    def __init__(
        self, *, attempt: Attempt, prompt: PromptVersion, endpoint: Endpoint, rng: np.random.Generator | None = None
    ) -> None:
        self._attempt, self._prompt, self._endpoint = attempt, prompt, endpoint
        self._project = attempt.run.project
        self._budget = budgets.of(self._project, Budget.Kind.MACHINE)
        self._rng = rng or np.random.default_rng()
        self._breaker = CircuitBreaker(max_concurrency=endpoint.max_concurrency)
        self._fresh = self._tries()
        self._ready: deque[_Try] = deque()
        self._later: list[tuple[float, int, _Try]] = []  # a heap: when, in which order, what
        self._order = itertools.count()
        self._out: dict[int, tuple[LedgerEntry, _Try]] = {}  # by the entry's id
        self._back: list[Attempted] = []  # ended, not yet in the ledger
        self._answers: list[tuple[Item, Failure]] = []  # of items that need not be asked
        self._stop: GoldloopError | None = None
        self._stop_at = 0.0  # when what is on its way is broken off
        self._is_blocked = False  # the cap refused; what comes back may make room
        self._n_done = 0
        self._last_commit = self._last_look = 0.0
        self._alert: int | None = None
        self._n_total = prompts.pending(self._project, prompt).count()

    def run(self) -> None:
        with Client(self._endpoint, n_labels=self._prompt.schema.labels.count()) as client:
            while self._stop is None and not self._is_finished():
                self._turn(client)
            self._wind_up(client)
        if self._stop is not None:
            raise self._stop

    def _turn(self, client: Client) -> None:
        self._look()
        self._fetch(client)
        self._commit_and_send(client)

    def _is_finished(self) -> bool:
        self._fill(1)
        return not (self._ready or self._later or self._out or self._back or self._answers)

    def _tries(self) -> Iterator[_Try]:
        opening = prompts.opening(self._prompt.schema, self._prompt.guidelines)
        for items in prompts.chunks(self._project, self._prompt):
            for item in items:
                parts = prompts.parts_of(item)
                if failure := chat.without_asking(parts):
                    self._answers.append((item, failure))
                else:
                    yield _Try(item, chat.messages(opening, parts))

    # What comes back

    def _fetch(self, client: Client) -> None:
        """Results, not more often than commits are worth it."""
        if len(self._out) >= _MANY:
            time.sleep(max(0.0, self._last_commit + _SECONDS_BETWEEN_COMMITS - time.monotonic()))
        has_work = bool(self._ready) and client.n_free > 0 and not self._is_blocked
        self._take(client.results(0.0 if has_work else self._wait()))
        if not self._out and self._later and not has_work:
            time.sleep(self._wait())  # nothing to wait for but the clock

    def _wait(self) -> float:
        due = self._later[0][0] - time.monotonic() if self._later else _WAIT_SECONDS
        return min(max(due, 0.0), _WAIT_SECONDS)

    def _take(self, ended: list[Attempted]) -> None:
        for one in ended:
            self._back.append(one)
            self._breaker.record(one)
            if one.answer is None and self._stop is None:
                self._again(one)
        if self._breaker.why and self._stop is None:
            self._halt(_Failed(self._breaker.why))

    def _again(self, ended: Attempted) -> None:
        """Ask once more later, by a reservation of its own; or leave the item without an answer."""
        before = self._out[_key(ended)][1]
        wait = wait_before_retry(before.number, ended, self._rng)
        if wait is not None:
            due = replace(before, number=before.number + 1)
            heapq.heappush(self._later, (time.monotonic() + wait, next(self._order), due))

    # What goes out

    def _fill(self, n: int) -> None:
        """Make up to `n` ready: those whose time has come first, then new ones unless too many wait already."""
        now = time.monotonic()
        while len(self._ready) < n and self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if len(self._later) < 4 * self._endpoint.max_concurrency:
            self._ready.extend(itertools.islice(self._fresh, max(0, n - len(self._ready))))

    def _commit_and_send(self, client: Client) -> None:
        n_free = 0 if self._stop else client.n_free
        self._fill(n_free)
        wanted = [] if self._is_blocked and not self._back else list(itertools.islice(self._ready, n_free))
        if not (wanted or self._back or self._answers):
            return
        entries = self._commit(wanted)
        failpoints.hit("prelabel.reserved")
        for entry in entries:
            one = self._ready.popleft()
            self._out[entry.pk] = entry, one
            client.submit(entry.pk, one.messages)
        failpoints.hit("prelabel.sent")

    def _commit(self, wanted: Sequence[_Try]) -> list[LedgerEntry]:
        """End what came back, store what was answered, reserve for what goes out: all of it, or none."""
        ends = [self._end_of(one) for one in self._back]
        answered = [(self._out[_key(one)][1].item, one.answer) for one in self._back if one.answer is not None]
        answered += self._answers
        n_done = self._n_done + len(answered)
        try:
            with sqlite_write_lock(), transaction.atomic():
                self._attempt.write(n_done, self._n_total)
                ledger.end(self._budget, ends)
                prompts.store(prompt=self._prompt, items=[i for i, _a in answered], answers=[a for _i, a in answered])
                entries = self._reserve(wanted) if self._stop is None else []
                failpoints.hit("prelabel.commit")
        except (RunPaused, RunCancelled) as wish:  # nothing was written: what is here is ended once more below
            self._halt(wish)
            return self._commit([])
        for one in self._back:
            del self._out[_key(one)]
        self._back, self._answers, self._n_done = [], [], n_done
        self._last_commit = time.monotonic()
        return entries

    def _reserve(self, wanted: Sequence[_Try]) -> list[LedgerEntry]:
        asks = [Ask(most_micros(self._endpoint, one.messages), one.item.pk) for one in wanted]
        try:
            entries = ledger.reserve(self._budget, asks, run=self._attempt.run, prompt=self._prompt)
        except BudgetReached as refused:
            # Each reservation is far above what its call will cost: what is on its way may leave room.
            self._is_blocked = True
            if len(self._out) == len(self._back):
                self._halt(RunPaused(str(refused)))
            return []
        self._is_blocked = False
        return entries

    def _end_of(self, one: Attempted) -> End:
        entry, _asked = self._out[_key(one)]
        tokens = (one.usage.n_input_tokens, one.usage.n_output_tokens) if one.usage else (None, None)
        if one.is_settled:
            return End(entry, State.SETTLED, one.cost_micros, *tokens)
        if one.is_released:
            return End(entry, State.RELEASED, reason=one.reason)
        return End(entry, State.WRITTEN_OFF, reason=one.reason or _("The server did not say what it used."))

    # Why and how it stops

    def _look(self) -> None:
        """At what people wish: cancel, pause, the kill switch, a connection that was switched off or taken back."""
        try:
            self._attempt.beat(self._n_done, self._n_total)
            if time.monotonic() - self._last_look >= _LOOK_SECONDS:
                self._last_look = time.monotonic()
                connections.of_project(self._project)
                self._look_at_budget()
        except RunLost:
            raise  # nothing of this is ours any more
        except BudgetReached as stopped:
            self._halt(RunPaused(str(stopped)))
        except GoldloopError as why:
            self._halt(why)

    def _look_at_budget(self) -> None:
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
            self._attempt.obeyed()  # what is left to do now is to end what was reserved
            self._ready.clear()
            self._later.clear()

    def _wind_up(self, client: Client) -> None:
        """Nothing more goes out: what is on its way ends by itself or is broken off, and all of it is booked."""
        while self._out and (left := self._stop_at - time.monotonic()) > 0:
            self._take(client.results(min(left, _WAIT_SECONDS)))
            if self._back:
                self._commit([])
        client.close()
        self._take(client.results(0.0))
        if self._back or self._answers:
            self._commit([])
        if self._out:  # a loop that does not stop; nothing can be known of these any more
            unknown = [End(entry, State.WRITTEN_OFF, reason=_("It did not end.")) for entry, _t in self._out.values()]
            with transaction.atomic():
                self._attempt.write(self._n_done, self._n_total)
                ledger.end(self._budget, unknown)
            self._out.clear()


def _key(ended: Attempted) -> int:
    assert isinstance(ended.key, int)
    return ended.key
