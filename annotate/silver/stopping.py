"""Decides how long a run that stops waits for the calls in flight: their answers are paid for, whoever reads them.

Usually for PRELABEL_FINISH_SECONDS at most, since each call has a time limit of its own. An emergency (the kill switch,
a connection that was switched off or taken back) waits for seconds only, and "stop now" for none.
"""

import time
from collections.abc import Callable

from django.conf import settings

from annotate.errors import GoldloopError, RunCancelled, RunPaused
from annotate.models import Run
from annotate.runs.attempt import CANCELLED

EMERGENCY_SECONDS = 3.0  # so that, with the second until it is noticed, all ends within five


class Stopping:
    """Why a run stops, once there is a reason, and until when it waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.why: GoldloopError | None = None
        self._clock, self._until, self._is_requested = clock, 0.0, False

    @property
    def seconds_left(self) -> float:
        """Until the calls in flight are broken off."""
        return max(0.0, self._until - self._clock())

    def begin(self, why: GoldloopError, *, is_emergency: bool = False, is_requested: bool = False) -> bool:
        """Stop for this reason; False if it stops already. An emergency shortens the wait in any case."""
        is_new = self.why is None
        if is_new:
            self.why, self._is_requested = why, is_requested
            self._until = self._clock() + settings.PRELABEL_FINISH_SECONDS
        if is_emergency:
            self._until = min(self._until, self._clock() + EMERGENCY_SECONDS)
        return is_new

    def follow(self, action: str) -> bool:
        """Follow what people ask while it stops; True if they took the request back, so that the run goes on."""
        if action in Run.AT_ONCE:
            self._until = self._clock()
        if action in Run.TO_CANCEL and isinstance(self.why, RunPaused):
            self.why = RunCancelled(str(CANCELLED))
        if self._is_requested and not action and isinstance(self.why, RunPaused):
            self.why, self._is_requested = None, False
            return True
        return False
