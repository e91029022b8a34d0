"""Decides whether and when an item is tried again, and when a run stops asking. Each try is reserved anew."""

from dataclasses import dataclass

import numpy as np
from django.utils.translation import ngettext

from annotate.providers.openai import Attempted, Outcome

MAX_ATTEMPTS = 3  # at one item, including the first
MOST_WAIT_SECONDS = 60.0
_FIRST_WAIT_SECONDS = 1.0
_JITTER_SECONDS = 0.5  # added to Retry-After, so that not all come back at once
_FAILURES = 5  # attempts without an answer in a row that open the breaker
_WAVES = 3  # times all concurrent requests got 429 in a row, without an answer in between


def wait_before_retry(attempt_number: int, attempted: Attempted, rng: np.random.Generator) -> float | None:
    """Seconds until the next attempt at the item; None if there should be none.

    attempt_number: of the attempt just made, from 1. The server's Retry-After is obeyed up to a minute, plus at most
    half a second; without it 1, 2, ... s, times 0.5 to 1.5 at random, so that not all come back at once.
    """
    if not attempted.is_retryable or attempted.stops_run or attempt_number >= MAX_ATTEMPTS:
        return None
    if attempted.retry_after is not None:
        return min(attempted.retry_after, MOST_WAIT_SECONDS) + float(rng.uniform(0, _JITTER_SECONDS))
    return float(min(_FIRST_WAIT_SECONDS * 2 ** (attempt_number - 1), MOST_WAIT_SECONDS) * rng.uniform(0.5, 1.5))


@dataclass
class CircuitBreaker:
    """Stops a run: opens after 5 attempts in a row without an answer, or at once if every item would fail alike.

    "Too many requests" (429) comes from a living server, and to all concurrent requests alike; it takes three times
    `max_concurrency` of these. The rejection of one item (too long, filtered) counts as an answer. Once open it
    stays open; the next run has a new breaker.
    """

    max_concurrency: int = 1
    why: str | None = None  # the reason for people, once it is open
    _n_failed: int = 0
    _n_slowed: int = 0

    @property
    def is_open(self) -> bool:
        return self.why is not None

    def record(self, attempted: Attempted) -> None:
        """Count the result of one attempt."""
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
            sentence = ngettext(
                "%(n)s attempt had no answer: %(reason)s",
                "%(n)s attempts in a row had no answer. The last: %(reason)s",
                n,
            )
            self.why = self.why or sentence % {"n": n, "reason": attempted.reason}
