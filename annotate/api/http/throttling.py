"""How often a program may ask: each token has a rate and a burst for each kind of request (settings.API_THROTTLES).

Requests are counted in Redis where REDIS_URL names one, for all machines together, and else by each machine for itself.
A Redis that does not answer takes nothing down: each machine counts for itself until Redis is back. What makes much
work is counted by its rows instead (hourly.py).
"""

import math
import sqlite3
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ErrorDetail, Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from annotate.api.http import machine_counter
from annotate.api.http.operations import operation_of
from annotate.api.http.rates import Rate


class Unavailable(APIException):
    """Nobody knows how many requests came; what costs money is not done then."""

    status_code = 503
    wait = 5


class TooOften(Throttled):
    """`wait` in seconds, and a sentence with %(n)d for them."""

    def __init__(self, wait: float, sentence: str = "") -> None:
        super().__init__()
        self.wait = max(1, math.ceil(wait))
        sentence = sentence or _("Too many requests at once. Try again in %(n)d s.")
        self.detail = ErrorDetail(sentence % {"n": self.wait})


class TokenThrottle(BaseThrottle):
    """Counts a request of one token and one kind (`Operation.throttle`).

    Where requests cannot be counted, an operation that costs money (`may_fail` is False) is refused with a 503, and all
    others go on, so that people go on labeling.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        operation = operation_of(view, request)
        kind = operation.throttle if operation else "request"
        rate = Rate(*settings.API_THROTTLES[kind])
        who: Any = request.auth or request.user  # a session has no token
        if not rate.per_second:
            return True
        try:
            self._seconds = _count(f"{kind} {who.public_id}", rate)
        except (OSError, sqlite3.Error):
            if operation is None or operation.may_fail:
                return True
            raise Unavailable(_("Requests cannot be counted at the moment; what costs money waits.")) from None
        return self._seconds <= 0

    def wait(self) -> float:
        return self._seconds


def _count(key: str, rate: Rate) -> float:
    """Count one request; seconds until the next may come, 0 where this one is within its rate."""
    if settings.REDIS_URL:
        from annotate.api.http import redis_counter  # here: its libraries take a third of a second to import

        seconds = redis_counter.hit(settings.REDIS_URL, key, rate)
        if seconds is not None:
            return seconds
    return machine_counter.hit(Path(settings.API_THROTTLE_FILE), key, rate)
