"""How often a program may ask: a rate in the two forms in which it is counted, and who counts.

Requests are counted in Redis where REDIS_URL names one, else in rows (rate_rows.py). A Redis that does not answer takes
nothing down: rows count until it is back.
"""

import math
from dataclasses import dataclass

from django.conf import settings

from annotate.accounts import rate_rows
from annotate.accounts.rate_rows import CannotCount

__all__ = ["CannotCount", "Rate", "hit"]


@dataclass(frozen=True)
class Rate:
    """`per_second` requests in the long run, `burst` of them at once; 0 a second: no limit."""

    per_second: float
    burst: int

    @property
    def gap(self) -> float:
        """Seconds between two requests that come evenly."""
        return 1 / self.per_second

    @property
    def window_seconds(self) -> int:
        """In this time a burst recovers; whole seconds, which is what the counter in Redis takes."""
        return max(1, math.ceil(round(self.burst / self.per_second, 6)))

    @property
    def per_window(self) -> int:
        """Requests that pass in any `window_seconds`."""
        return max(self.burst, int(self.per_second * self.window_seconds))


def hit(key: str, rate: Rate) -> float:
    """Count one request of `key`; seconds until the next may come, 0 where this one is within its rate.

    CannotCount where neither Redis nor a row takes it.
    """
    if settings.REDIS_URL:
        from annotate.accounts import rate_redis  # here: its libraries take a third of a second to import

        seconds = rate_redis.hit(settings.REDIS_URL, key, rate.per_window, rate.window_seconds)
        if seconds is not None:
            return seconds
    return rate_rows.hit(key, rate.gap, rate.burst)
