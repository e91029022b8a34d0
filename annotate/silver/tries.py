"""Decides which item is asked next: first those that wait for another try, then those that were never asked.

What a failed attempt says about its item shows only later. If an answer comes next, the server was well and the failure
counts against the item; if the server turns out to be away, it does not.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from annotate.models import Item
from annotate.providers.openai import Attempted, Outcome
from annotate.providers.retries import MAX_BREAKS, back_off, wait_before_retry
from models_ml.llm.chat import Message


@dataclass(frozen=True)
class Try:
    """A request about one item, `number` of its kind from 1; `n_breaks`: how often an outage cut one off before."""

    item: Item
    messages: Sequence[Message] = field(repr=False)
    number: int = 1
    n_breaks: int = 0


class Tries:
    """The tries of one attempt at a run that are not in flight. An item is in one place only."""

    def __init__(
        self,
        first: Iterator[Try],
        *,
        most_waiting: int,
        rng: np.random.Generator,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ready: deque[Try] = deque()
        self._first, self._most_waiting, self._rng, self._clock = first, most_waiting, rng, clock
        self._later: list[tuple[float, int, Try]] = []  # a heap: due time, number that breaks ties, try
        self._order = itertools.count()
        self._suspects: list[tuple[Try, Attempted]] = []  # failed since the last answer

    def fill(self, n: int) -> None:
        """Make up to `n` tries ready: those that are due, then first tries, unless many wait already."""
        now = self._clock()
        while len(self.ready) < n and self._later and self._later[0][0] <= now:
            self.ready.append(heapq.heappop(self._later)[2])
        if len(self._later) < self._most_waiting:
            self.ready.extend(itertools.islice(self._first, max(0, n - len(self.ready))))
        if n and not self.ready and not self._later:
            self.blame()  # nothing else is left to ask, so no answer will tell

    @property
    def is_empty(self) -> bool:
        return not (self.ready or self._later or self._suspects)

    @property
    def seconds_left(self) -> float | None:
        """Until the next try that waits is due; None where none waits."""
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None

    def failed(self, one: Try, attempted: Attempted, *, is_away: bool) -> None:
        """Take back a try whose attempt gave no answer; `is_away`: the server is, so it is not the item's fault."""
        if attempted.is_recalled:
            self.ready.appendleft(one)
        elif is_away:
            self._plan_broken(one, attempted)
        else:
            self._suspects.append((one, attempted))

    def blame(self) -> None:
        """The server answers: what failed before counts against its items, which are asked again or left."""
        for one, attempted in self._suspects:
            wait = wait_before_retry(one.number, attempted, self._rng)
            if wait is not None:
                self._plan(wait, replace(one, number=one.number + 1))
        self._suspects.clear()

    def forgive(self) -> None:
        """The server is away: what failed lately is asked again, whatever number it had."""
        for one, attempted in self._suspects:
            self._plan_broken(one, attempted)
        self._suspects.clear()

    def _plan_broken(self, one: Try, attempted: Attempted) -> None:
        """Later ones first next time: an item that makes the server crash must not be the one that always looks."""
        if attempted.outcome is not Outcome.UNKNOWN:
            self._plan(0.0, one)
        elif attempted.is_retryable and one.n_breaks + 1 < MAX_BREAKS:
            self._plan(back_off(one.n_breaks, self._rng), replace(one, n_breaks=one.n_breaks + 1))

    def _plan(self, wait: float, one: Try) -> None:
        heapq.heappush(self._later, (self._clock() + wait, next(self._order), one))
