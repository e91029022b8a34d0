"""How a worker performs a run: in a process of its own, watched, and given back or lost when that ends."""

import os
import subprocess
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from annotate import tasks
from annotate.management import processes
from annotate.models import Run
from annotate.runs import lifecycle, worker_alive

_GRACE_SECONDS = 5.0
_HOUR = 3_600.0
_T = TypeVar("_T")


class Flag(Protocol):
    """An event of threads or of processes."""

    def is_set(self) -> bool: ...


class Performer:
    """Performs one run at a time until it is asked to stop."""

    def __init__(self, asked: Flag, complain: Callable[[str], object]) -> None:
        self.poll_seconds = _positive("WORKER_POLL_SECONDS", 1.0)
        self._asked, self._complain = asked, complain
        self._last_cleared = -_HOUR  # when it begins, too

    def perform(self, run: Run) -> None:
        """In a child, which may be killed at any moment: all it writes is whole or absent."""
        child = processes.spawn(processes.manage("perform_run", run.public_id, str(run.attempt)))
        while not self._asked.is_set() and self._is_running(child):
            worker_alive.worker_lives()
            if self.patiently(lambda: lifecycle.is_held(run)) is False:
                # Its run is over and it hangs, or it was silent for so long that it lost its lease.
                break
        processes.stop(child, seconds=_GRACE_SECONDS)
        # Changes nothing where the child ended its run itself.
        self.patiently(lambda: lifecycle.return_to_queue(run) if self._asked.is_set() else lifecycle.requeue_lost(run))

    def hourly_cleanup(self) -> None:
        """Every hour, between two runs."""
        if time.monotonic() - self._last_cleared >= _HOUR:
            self._last_cleared = time.monotonic()
            self.patiently(tasks.hourly_cleanup)

    def patiently(self, ask: Callable[[], _T]) -> _T | None:
        """The answer, or None while the database is busy or away: a run in progress need not die of that."""
        try:
            return ask()
        except DatabaseError as error:
            connection.close()
            self._complain(f"worker: {error}")
            return None

    def _is_running(self, child: subprocess.Popen[bytes]) -> bool:
        try:
            child.wait(timeout=self.poll_seconds)
        except subprocess.TimeoutExpired:
            return True
        return False


def _positive(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number <= 3_600:
        raise CommandError(f"{name} is {text!r}; give seconds, for instance 1.")
    return number
