"""Counts requests for all machines together, in Redis, through the library limits: one script per request.

The library's moving window lets `Rate.per_window` requests through in any `Rate.window_seconds`: the same burst and, in
the long run, the same rate as rate_rows.py, which spaces requests evenly.
"""

import logging
import time
from functools import cache

from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

_ANSWER_SECONDS = 0.5  # a request waits no longer for Redis
_PAUSE_SECONDS = 5.0  # after a failure, so that it is not every request that waits
_log = logging.getLogger(__name__)


class _Counter:
    """One Redis, and whether it is worth asking."""

    def __init__(self, url: str) -> None:
        storage = RedisStorage(
            url,
            key_prefix="goldloop-throttle",
            wrap_exceptions=True,
            socket_connect_timeout=_ANSWER_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._ask_again_at = 0.0

    def hit(self, key: str, n: int, seconds: int) -> float | None:
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            return self._counted(key, n, seconds)
        except StorageError as error:
            self._ask_again_at = time.monotonic() + _PAUSE_SECONDS
            reason = error.storage_error
            _log.warning("Redis does not answer (%s); requests are counted in rows meanwhile.", reason)
            return None

    def _counted(self, key: str, n: int, seconds: int) -> float:
        item = RateLimitItemPerSecond(n, seconds)
        if self._limiter.hit(item, key):
            return 0.0
        oldest_leaves_at = self._limiter.get_window_stats(item, key).reset_time
        return max(oldest_leaves_at - time.time(), 0.001)


_counter = cache(_Counter)  # by address


def hit(url: str, key: str, n: int, seconds: int) -> float | None:
    """Count one request of `key`, which may make `n` in any `seconds`; seconds to wait, 0 where it is within that.

    None where Redis does not answer.
    """
    return _counter(url).hit(key, n, seconds)
