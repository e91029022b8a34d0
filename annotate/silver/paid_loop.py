"""Decides when items are sent to a paid annotator: after their reservation is committed, which then ends exactly once.

One thread keeps the ledger. In each turn one transaction ends the reservations of attempts that have ended, stores
their answers, and reserves for the attempts to send next; these are sent after the commit. So a crash at any moment
leaves open reservations whose cost nobody knows, and the run's next attempt writes them off (annotate/money/ledger.py).
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from django.conf import settings
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
from annotate.providers.outages import Outages
from annotate.providers.outbound import OutboundError
from annotate.runs.attempt import Attempt
from annotate.silver import connections, prompts
from annotate.silver.stopping import Stopping
from annotate.silver.tries import Tries, Try
from annotate.silver.unusable import UnusableAnswers
from models_ml.llm import chat
from models_ml.types import Failure

_SECONDS_BETWEEN_COMMITS = 0.05  # a commit takes about 4 ms, so that many answers at a time share one
_MANY = 8  # with so many attempts in flight results wait for a shared commit, with fewer they do not
_WAIT_SECONDS = 0.25  # for a result, before the clock and people's requests are looked at again
_CHECK_SECONDS = 1.0  # between checks of the kill switch and the connection


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
        rng = rng or np.random.default_rng()
        self._outages = Outages(
            max_concurrency=endpoint.max_concurrency, most_seconds=settings.PRELABEL_OUTAGE_SECONDS, rng=rng
        )
        self._unusable = UnusableAnswers()
        self._tries = Tries(self._make_first_tries(), most_waiting=4 * endpoint.max_concurrency, rng=rng)
        self._in_flight: dict[int, tuple[LedgerEntry, Try]] = {}  # by the entry's id
        self._probe: int | None = None  # the id of the entry of the call that looks whether the server is back
        self._ended: list[Attempted] = []  # attempts whose reservations are to be ended
        self._answers: list[tuple[Item, Failure]] = []  # of items that are never sent, to be stored
        self._stopping = Stopping()
        self._is_blocked = False  # the cap refused a reservation; attempts that end may make room
        self._n_done = 0
        self._last_commit = self._last_check = self._last_told = 0.0
        self._told: dict[str, Any] = {}
        self._alert: int | None = None
        self._n_total = items.count()

    def run(self) -> None:
        """Return when each of the items was asked; raise what stopped the run before (paused, cancelled, failed)."""
        names = [label.name for label in prompts.label_specs(self._prompt.schema)]
        with Client(self._endpoint, labels=names) as client:
            while self._stopping.why is None and not self._is_finished():
                self._turn(client)
                if self._stopping.why is not None:
                    self._finish(client)  # and go on where the request to pause was taken back meanwhile
            self._break_off(client)
        if self._stopping.why is not None:
            raise self._stopping.why

    def _turn(self, client: Client) -> None:
        self._check_requests()
        self._fetch(client)
        self._commit_and_send(client)
        self._tell()

    def _is_finished(self) -> bool:
        self._tries.fill(1)
        return self._tries.is_empty and not (self._in_flight or self._ended or self._answers)

    def _make_first_tries(self) -> Iterator[Try]:
        opening = prompts.opening(self._prompt.schema, self._prompt.guidelines)
        for items in prompts.chunks(self._items):
            for item in items:
                parts = prompts.parts_of(item)
                if failure := chat.without_asking(parts):
                    self._answers.append((item, failure))
                else:
                    yield Try(item, chat.messages(opening, parts))

    # Attempts that have ended

    def _fetch(self, client: Client) -> None:
        """Take the results that have come; with many attempts in flight wait a little, so that more share a commit."""
        if len(self._in_flight) >= _MANY:
            time.sleep(max(0.0, self._last_commit + _SECONDS_BETWEEN_COMMITS - time.monotonic()))
        has_work = bool(self._tries.ready) and self._n_free(client) > 0 and not self._is_blocked
        self._take(client, client.results(0.0 if has_work else self._wait()))
        if not (has_work or self._in_flight or self._answers):
            time.sleep(self._wait())  # no result can come: wait for the next try

    def _n_free(self, client: Client) -> int:
        """How many more attempts may be sent now: one while the server is away, when it is time to look again."""
        n_out = len(self._in_flight) - len(self._ended)
        rooms = [client.n_free, self._unusable.room(n_out)]
        if self._outages.is_away:
            rooms.append(0 if self._probe is not None or self._outages.seconds_left else 1)
        return min(room for room in rooms if room is not None)

    def _wait(self) -> float:
        """Until something is due; what is due already waits for room, and so for a result."""
        return min(wait for wait in (self._tries.seconds_left, self._outages.seconds_left, _WAIT_SECONDS) if wait)

    def _take(self, client: Client, ended: list[Attempted]) -> None:
        for one in ended:
            self._ended.append(one)
            self._judge(one)
            if one.answer is not None and one.outcome is Outcome.ANSWERED:
                self._unusable.record(one.answer)
            if one.answer is None:
                tried = self._in_flight[_key(one)][1]
                self._tries.failed(tried, one, is_away=self._outages.is_away)
        if self._outages.is_away and ended:
            client.recall()  # what is not sent yet would only break, too
        if self._outages.why:
            self._halt(OutboundError(self._outages.why))  # whatever the items are
        if why := self._outages.gave_up or self._unusable.why:
            self._halt(RunPaused(why))

    def _judge(self, one: Attempted) -> None:
        """Whether the server is away, by one more attempt, and whose fault the failures before it were."""
        was_away, is_probe = self._outages.is_away, _key(one) == self._probe
        self._outages.record(one, is_probe=is_probe)
        self._probe = None if is_probe else self._probe
        if self._outages.is_away and not was_away:
            self._tries.forgive()
            self._attempt.say(_("The server does not answer: %(reason)s") % {"reason": one.reason})
        elif was_away and not self._outages.is_away:
            self._attempt.say(_("The server answers again."))
        elif one.answer is not None:
            self._tries.blame()

    # Attempts to send

    def _commit_and_send(self, client: Client) -> None:
        n_free = 0 if self._stopping.why else self._n_free(client)
        self._tries.fill(n_free)
        ready = self._tries.ready
        wanted = [] if self._is_blocked and not self._ended else [ready[n] for n in range(min(n_free, len(ready)))]
        if not (wanted or self._ended or self._answers):
            return
        entries = self._commit(wanted)
        failpoints.hit("prelabel.reserved")
        for entry in entries:
            one = ready.popleft()
            self._in_flight[entry.pk] = entry, one
            self._probe = entry.pk if self._outages.is_away else self._probe
            client.submit(entry.pk, one.messages)
        failpoints.hit("prelabel.sent")

    def _commit(self, wanted: Sequence[Try]) -> list[LedgerEntry]:
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
                entries = self._reserve(wanted) if self._stopping.why is None else []
                failpoints.hit("prelabel.commit")
        except (RunPaused, RunCancelled) as request:  # raised by `write`: the transaction was undone, so commit again
            self._halt(request, is_requested=True)
            return self._commit([])
        for one in self._ended:
            del self._in_flight[_key(one)]
        self._ended, self._answers, self._n_done = [], [], n_done
        self._last_commit = time.monotonic()
        return entries

    def _reserve(self, wanted: Sequence[Try]) -> list[LedgerEntry]:
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
        except (RunPaused, RunCancelled) as request:
            self._halt(request, is_requested=True)
        except BudgetReached as stopped:
            self._halt(RunPaused(str(stopped)), is_emergency=True)
        except GoldloopError as why:
            self._halt(why, is_emergency=True)

    def _check_budget(self) -> None:
        now = budgets.of(self._project, Budget.Kind.MACHINE)
        if now.is_stopped and (why := budgets.refusal(now, 0)):
            raise BudgetReached(why)
        alert = budgets.alert(now)
        if alert and alert != self._alert:
            self._attempt.say(_("%(percent)d %% of the cap is spent or reserved.") % {"percent": alert})
        self._alert = alert

    def _halt(self, why: GoldloopError, *, is_emergency: bool = False, is_requested: bool = False) -> None:
        if self._stopping.begin(why, is_emergency=is_emergency, is_requested=is_requested):
            self._attempt.obeyed()  # from here on requests change only how it stops

    def _finish(self, client: Client) -> None:
        """Let the calls in flight end and settle each at its price, for as long as `Stopping` waits."""
        client.recall()
        while self._in_flight and self._stopping.seconds_left > 0:
            self._tell()
            self._take(client, client.results(min(self._stopping.seconds_left, _WAIT_SECONDS)))
            if self._ended:
                self._commit([])
            self._check_requests()
            if self._stopping.follow(self._attempt.requested_action):
                self._attempt.obeys_again()
                return

    def _tell(self) -> None:
        """Let people see that the server is away, or how many calls are in flight while the run stops."""
        told: dict[str, Any] = {}
        if self._stopping.why is not None:
            told = {"finishing": len(self._in_flight)}
        elif (waiting := self._outages.waiting) is not None:
            told = {"waiting": waiting.facts()}
        now = time.monotonic()
        if told != self._told and now - self._last_told >= _CHECK_SECONDS / 2:
            self._told, self._last_told = told, now
            self._attempt.show_facts(told)

    def _break_off(self, client: Client) -> None:
        """Break off the calls that are still in flight, and end all reservations."""
        client.close()
        self._take(client, client.results(0.0))
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
