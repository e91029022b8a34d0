"""Decides whether an LLM server counts as away, when one call looks whether it is back, and when a run stops waiting.

Calls that are in flight when a server goes away break one after the other and say the same thing, so they are one
outage. While it lasts nothing is sent but one call at a time, after waits that double; the first answer ends it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from django.utils.translation import gettext as _

from annotate.providers import retries
from annotate.providers.openai import Attempted, Outcome

_FAILURES = 5  # attempts without an answer in a row that are taken for an outage, not for the items' own fault
_WAVES = 3  # times all concurrent requests got 429 in a row, without an answer in between


@dataclass(frozen=True)
class Waiting:
    """What people are told of an outage while it lasts."""

    since: datetime
    again_at: datetime  # when it is asked again
    reason: str

    def facts(self) -> dict[str, str]:
        """The same as JSON, for a run's result."""
        return {"since": self.since.isoformat(), "again_at": self.again_at.isoformat(), "reason": self.reason}


class Outages:
    """Whether the server of one run answers, judged by the attempts of this run alone.

    An outage begins with a connection that could not be made, a 503 that says when to come back, five attempts in a
    row without an answer, or three waves of "too many requests" (429). It ends with any answer, or after
    `most_seconds`, when `gave_up` says so. `why`: every other item would fail alike, so the run ends at once.
    """

    def __init__(
        self,
        *,
        max_concurrency: int,
        most_seconds: float,
        rng: np.random.Generator,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.why: str | None = None
        self.gave_up: str | None = None
        self.waiting: Waiting | None = None
        self._most_slowed = max(_FAILURES, _WAVES * max_concurrency)
        self._most_seconds, self._rng, self._clock = most_seconds, rng, clock
        self._n_failed = self._n_slowed = self._n_waits = 0
        self._began = self._again = 0.0  # on the clock

    @property
    def is_away(self) -> bool:
        return self.waiting is not None

    @property
    def seconds_left(self) -> float:
        """Until one call may look whether the server is back; 0 where it may now, or where there is no outage."""
        return max(0.0, self._again - self._clock()) if self.waiting else 0.0

    def record(self, attempted: Attempted, *, is_probe: bool = False) -> None:
        """Count the result of one attempt; `is_probe`: it was sent to look whether the server is back."""
        if attempted.is_recalled:
            return
        if attempted.stops_run:
            self.why = self.why or attempted.reason
        elif attempted.outcome is Outcome.ANSWERED or attempted.answer is not None:
            self.waiting = None
            self._n_failed = self._n_slowed = self._n_waits = 0
        elif self.waiting is None:
            self._count(attempted)
        elif is_probe:
            self._wait(attempted)

    def _count(self, attempted: Attempted) -> None:
        if attempted.status == 429:
            self._n_slowed += 1
        else:
            self._n_failed += 1
        is_said = attempted.outcome is Outcome.NOT_SENT and attempted.is_retryable
        is_said |= attempted.status == 503 and attempted.retry_after is not None
        if is_said or self._n_failed >= _FAILURES or self._n_slowed >= self._most_slowed:
            self._began = self._clock()
            self._wait(attempted)

    def _wait(self, attempted: Attempted) -> None:
        now, end = self._clock(), self._began + self._most_seconds
        wait = retries.back_off(self._n_waits, self._rng)
        self._n_waits += 1
        asked = now + (attempted.retry_after or 0.0)  # the server's own wish
        self._again = max(asked, min(now + wait, end))  # the last look is at the end, unless that is too early for it
        moment = datetime.now(UTC)
        since = self.waiting.since if self.waiting else moment
        self.waiting = Waiting(since, moment + timedelta(seconds=self._again - now), attempted.reason)
        if now >= end or asked > end:
            self.gave_up = _(
                "The server has not answered for %(seconds)d s. The last reason: %(reason)s Resume this when the "
                "server answers again; what was not answered is asked then."
            ) % {"seconds": now - self._began, "reason": attempted.reason}
