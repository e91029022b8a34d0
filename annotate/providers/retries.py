"""Whether and when to ask again, and when to stop asking at all. Each attempt is a reservation of its own."""

from dataclasses import dataclass

import numpy as np

from annotate.providers.openai import Attempted, Outcome

MAX_ATTEMPTS = 3  # for one item, the first one counted
MOST_WAIT_SECONDS = 60.0
_FIRST_WAIT_SECONDS = 1.0
_JITTER_SECONDS = 0.5  # after Retry-After: later, never sooner
_FAILURES = 5  # in a row: nobody is there
_WAVES = 3  # of all concurrent requests, each told to slow down, with no answer between


def wait_before_retry(attempt_number: int, attempted: Attempted, rng: np.random.Generator) -> float | None:
    """Seconds until the next attempt at the item; None where there should be none.

    attempt_number: of the attempt just made, from 1. Retry-After is kept up to a minute, plus at most half a
    second; without it 1, 2, ... s, spread over half to one and a half of that, so that not all come back at once.
    """
    if not attempted.is_retryable or attempted.stops_run or attempt_number >= MAX_ATTEMPTS:
        return None
    if attempted.retry_after is not None:
        return min(attempted.retry_after, MOST_WAIT_SECONDS) + float(rng.uniform(0, _JITTER_SECONDS))
    return float(min(_FIRST_WAIT_SECONDS * 2 ** (attempt_number - 1), MOST_WAIT_SECONDS) * rng.uniform(0.5, 1.5))


@dataclass
class CircuitBreaker:
    """Opens after 5 attempts in a row without an answer, or at once where every item would meet the same.

    "Too many requests" says that the server is there, and comes to all concurrent requests alike, so of these it
    takes three whole waves. A rejection of one item for what it is (too long, filtered) is an answer. It stays
    open: the next run begins with a new one.
    """

    max_concurrency: int = 1
    why: str | None = None  # a sentence once it is open
    _n_failed: int = 0
    _n_slowed: int = 0

    @property
    def is_open(self) -> bool:
        return self.why is not None

    def record(self, attempted: Attempted) -> None:
        if attempted.stops_run:
            self.why = self.why or attempted.reason
        elif attempted.outcome is Outcome.ANSWERED or attempted.answer is not None:
            self._n_failed = self._n_slowed = 0
        else:
            self._count(attempted)

    def _count(self, attempted: Attempted) -> None:
        if attempted.status == 429:
            self._n_slowed += 1
        else:
            self._n_failed += 1
        if self._n_failed >= _FAILURES or self._n_slowed >= max(_FAILURES, _WAVES * self.max_concurrency):
            n = self._n_failed + self._n_slowed
            self.why = self.why or f"{n} attempts in a row had no answer. The last: {attempted.reason}"
