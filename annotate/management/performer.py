"""Decides how a worker performs a run: in a child process that it watches, and what becomes of the run at its end."""

import os
import subprocess
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from annotate import outages, tasks
from annotate.management import processes
from annotate.models import Run
from annotate.runs import lifecycle, worker_alive

_GRACE_SECONDS = 5.0
_HOUR = 3_600.0
_T = TypeVar("_T")


class Flag(Protocol):
    """The part of threading.Event and multiprocessing.Event that is used here."""

    def is_set(self) -> bool: ...


class Performer:
    """Performs one run at a time until it is asked to stop."""

    def __init__(self, asked: Flag, complain: Callable[[str], object]) -> None:
        self.poll_seconds = _positive("WORKER_POLL_SECONDS", 1.0)
        self._asked, self._complain = asked, complain
        self._last_cleared = -_HOUR  # so that the first call cleans up

    def perform(self, run: Run) -> None:
        """Perform a claimed run in a child process until it ends, loses its lease, or this worker is asked to stop.

        The child may be killed at any moment: each of its writes is whole or absent.
        """
        child = processes.spawn(processes.manage("perform_run", run.public_id, str(run.attempt)))
        while not self._asked.is_set() and self._is_running(child):
            worker_alive.worker_lives()
            if self.patiently(lambda: lifecycle.is_held(run)) is False:
                # The run has ended but the child hangs, or the child was silent for so long that the lease ran out.
                break
        processes.stop(child, seconds=_GRACE_SECONDS)
        # Both change nothing if the child has ended the run itself.
        self.patiently(lambda: lifecycle.return_to_queue(run) if self._asked.is_set() else lifecycle.requeue_lost(run))

    def hourly_cleanup(self) -> None:
        """Run the hourly cleanup if an hour has passed; workers call this between two runs."""
        if time.monotonic() - self._last_cleared >= _HOUR:
            self._last_cleared = time.monotonic()
            self.patiently(tasks.hourly_cleanup)

    def patiently(self, ask: Callable[[], _T]) -> _T | None:
        """The result of `ask`, or None after an error of database or disk, which is reported: the child goes on."""
        try:
            return ask()
        except (DatabaseError, OSError) as error:
            connection.close()
            if outage := outages.of(error):
                outages.report(outage, error)  # once a minute: it meets every look for work
            else:
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
