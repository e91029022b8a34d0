"""Decides how much work that keeps a processor busy a web process does at once, so that its other threads go on.

Threads of a process share one interpreter: each that computes makes all others wait. What is computed while somebody
waits (previews) takes turns, therefore: one at a time, a few in line, and nobody more than two places.
"""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from annotate.errors import Busy

_RETRY_SECONDS = 2


class Turns:
    """Lets one thread work at a time. Those who wait in line have a thread each, so the line is short."""

    def __init__(self, *, n_waiting: int, n_each: int, seconds: float) -> None:
        self._n_waiting, self._n_each, self._seconds = n_waiting, n_each, seconds
        self._free = threading.Semaphore(1)
        self._guard, self._places = threading.Lock(), Counter[Hashable]()

    @contextmanager
    def taken(self, who: Hashable) -> Iterator[None]:
        """The body is done in a turn of `who`; Busy where the line is full, or where a turn did not come in time."""
        with self._guard:
            if self._places.total() > self._n_waiting or self._places[who] >= self._n_each:
                raise Busy(_sentence(), _RETRY_SECONDS)
            self._places[who] += 1
        try:
            if not self._free.acquire(timeout=self._seconds):
                raise Busy(_sentence(), _RETRY_SECONDS)
            try:
                yield
            finally:
                self._free.release()
        finally:
            with self._guard:
                self._places[who] -= 1
                self._places += Counter()  # forgets who has no place any more


HEAVY = Turns(n_waiting=5, n_each=2, seconds=3.0)


def _sentence() -> str:
    return _("Several previews are being made at this moment. Try again in a few seconds.")
