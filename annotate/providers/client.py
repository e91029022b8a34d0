"""Decides when each of many concurrent requests to an LLM server starts: an event loop in its own thread sends them.

The caller's thread keeps the ledger: it commits a reservation, submits the attempt, and ends the reservation by what
`results` returns. Each submitted attempt gives exactly one result, also if `close` or a fault breaks it off.
"""

import asyncio
import queue
import threading
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self, cast

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import Conflict
from annotate.providers import openai
from annotate.providers.openai import Attempted, Endpoint
from annotate.providers.outbound import AddressRefused, Outbound, Trip, base_problem
from annotate.providers.retries import MOST_WAIT_SECONDS
from models_ml.llm.chat import Message
from models_ml.llm.reading import Options

_CLOSE_SECONDS = 4.0  # a run must stop within 5 s
_BROKEN_OFF = gettext_lazy("The attempt was broken off because the run stopped.")


class Client:
    """Sends attempts to one endpoint. Use it from one thread, as a context manager; any thread may call `close`.

    At most twice `max_concurrency` attempts are out (submitted, result not yet fetched): `max_concurrency` being sent,
    and as many ready to follow. `n_free` says how many more fit; `submit` never blocks. AddressRefused if the
    endpoint's address may not be used. `labels`: the names of the options, in the order of their codes.
    """

    def __init__(self, endpoint: Endpoint, *, labels: Sequence[str]) -> None:
        if problem := base_problem(endpoint.base_url, allow_private=endpoint.allow_private):
            raise AddressRefused(_("The server's address %(problem)s.") % {"problem": problem})
        self._endpoint = endpoint
        self._results: queue.SimpleQueue[Attempted] = queue.SimpleQueue()
        self._n_out = 0
        self._door = threading.Lock()  # held while something is given to the loop: nothing after it was told to stop
        self._is_closed = False
        self._work = _Work(endpoint, Options.of(labels), self._results)
        self._thread = threading.Thread(target=self._work.run, name="llm-client", daemon=True)
        self._thread.start()

    @property
    def n_free(self) -> int:
        """How many attempts can be submitted now."""
        return 2 * self._endpoint.max_concurrency - self._n_out

    def submit(self, key: Hashable, messages: Sequence[Message]) -> None:
        """Send these messages; the caller has reserved most_micros for them. Conflict if the client is closed or full.

        `key` comes back with the result; it need not be unique.
        """
        if self.n_free <= 0:
            raise Conflict(_("Too many attempts are out; fetch results first."))
        with self._door:
            if self._is_closed:
                raise Conflict(_("The LLM client is closed."))
            self._work.loop.call_soon_threadsafe(self._work.start, key, messages)
        self._n_out += 1

    def results(self, timeout: float) -> list[Attempted]:
        """The attempts that have ended, in that order: waits up to `timeout` seconds for the first, then takes all.

        Empty if none ended in time or none is out. Works after close() too.
        """
        ended: list[Attempted] = []
        with suppress(queue.Empty):
            if self._n_out and timeout > 0:
                ended.append(self._results.get(timeout=timeout))
            while True:
                ended.append(self._results.get_nowait())
        self._n_out -= len(ended)
        return ended

    def recall(self) -> None:
        """Take back what was submitted and not yet sent; its results, which say so, come at once.

        What is being sent goes on. Something submitted later is sent as usual.
        """
        with self._door:
            if not self._is_closed:
                self._work.loop.call_soon_threadsafe(self._work.recall)

    def close(self) -> None:
        """Break off all attempts, within five seconds; `results(0)` then returns each that was still out."""
        with self._door:
            if not self._is_closed:
                self._is_closed = True
                self._work.loop.call_soon_threadsafe(self._work.stop.set)
        self._thread.join(_CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Work:
    """The part that runs in the loop's thread: `start` is called once per attempt, until `stop` is set."""

    def __init__(self, endpoint: Endpoint, options: Options, results: queue.SimpleQueue[Attempted]) -> None:
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self._endpoint, self._options, self._results = endpoint, options, results
        self._tasks: dict[asyncio.Task[Attempted], tuple[Hashable, Trip, int]] = {}
        self._unsent: set[asyncio.Task[Attempted]] = set()  # those of _tasks that wait for a slot or for their turn
        self._slots = asyncio.Semaphore(endpoint.max_concurrency)
        self._seconds_between = 60 / endpoint.requests_per_minute if endpoint.requests_per_minute else 0.0
        self._next_start = self._hold_until = 0.0  # on the loop's clock
        self._server: asyncio.Future[Outbound] = self.loop.create_future()

    def run(self) -> None:
        try:
            self.loop.run_until_complete(self._until_stopped())
        finally:
            self.loop.close()  # does not wait for a DNS lookup in progress

    async def _until_stopped(self) -> None:
        async with openai.connection(self._endpoint) as server:
            self._server.set_result(server)
            await self.stop.wait()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(list(self._tasks))  # their results are in the queue before this returns

    def start(self, key: Hashable, messages: Sequence[Message]) -> None:
        trip, most = Trip(), openai.most_micros(self._endpoint, messages)
        task = self.loop.create_task(self._attempted(key, messages, trip))
        self._tasks[task] = key, trip, most
        self._unsent.add(task)
        task.add_done_callback(self._ended)  # called also for a task that is cancelled before it began

    def recall(self) -> None:
        for task in self._unsent:
            task.cancel()

    def _ended(self, task: asyncio.Task[Attempted]) -> None:
        key, trip, most = self._tasks.pop(task)
        is_recalled = task in self._unsent and task.cancelled()
        self._unsent.discard(task)
        is_broken = task.cancelled() or task.exception() is not None
        lost = replace(openai.lost(key, trip, most, str(_BROKEN_OFF)), is_recalled=is_recalled) if is_broken else None
        self._results.put(lost or task.result())

    async def _attempted(self, key: Hashable, messages: Sequence[Message], trip: Trip) -> Attempted:
        server = await asyncio.shield(self._server)
        async with self._slots:
            await self._turn()
            self._unsent.discard(cast("asyncio.Task[Attempted]", asyncio.current_task()))
            attempted, _ = await openai.attempt(
                self._endpoint, server, key=key, messages=messages, options=self._options, trip=trip
            )
        if attempted.status in (429, 503) and attempted.retry_after is not None:  # about all requests, so all wait
            hold = self.loop.time() + min(attempted.retry_after, MOST_WAIT_SECONDS)
            self._hold_until = max(self._hold_until, hold)
        return attempted

    async def _turn(self) -> None:
        """Wait until the requests per minute allow one more request and the server's Retry-After is over."""
        now = self.loop.time()
        start = max(self._next_start, now)
        self._next_start = start + self._seconds_between
        await asyncio.sleep(start - now)
        while (wait := self._hold_until - self.loop.time()) > 0:
            await asyncio.sleep(wait)
