"""How often a program may ask: each token has a rate and a burst for each kind of request (settings.API_THROTTLES).

Where nobody can count them, requests pass, so that reading never depends on a write and people go on labeling; what
costs money or begins long work waits. What makes much work is counted by its rows as well (hourly.py).
"""

import logging
import math
import time
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ErrorDetail, Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from annotate.accounts import rates
from annotate.api.http.operations import operation_of

_QUIET_SECONDS = 60.0
_log = logging.getLogger(__name__)
_said = {"at": -_QUIET_SECONDS}


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
        rate = rates.Rate(*settings.API_THROTTLES[kind])
        who: Any = request.auth or request.user  # a session has no token
        if not rate.per_second:
            return True
        try:
            self._seconds = rates.hit(f"{kind} {who.public_id}", rate)
        except rates.CannotCount as error:
            _complain(error)
            if operation is None or operation.may_fail:
                return True
            raise Unavailable(_("Requests cannot be counted at the moment; what costs money waits.")) from None
        return self._seconds <= 0

    def wait(self) -> float:
        return self._seconds


def _complain(error: rates.CannotCount) -> None:
    """Say it in the log, once a minute: it meets every request."""
    now = time.monotonic()
    if now - _said["at"] >= _QUIET_SECONDS:
        _said["at"] = now
        _log.warning("Requests are not counted, and pass: %s", error)
