"""Decides how a worker performs a run: in a child process that it watches, and what becomes of the run at its end."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Performance:
    """A claimed run and the child process that performs it.

    The child may be killed at any moment: each of its writes is whole or absent.
    """

    run: Run
    child: subprocess.Popen[bytes]


class Performer:
    """Performs runs until it is asked to stop."""

    def __init__(self, asked: Flag, complain: Callable[[str], object]) -> None:
        self.poll_seconds = _positive("WORKER_POLL_SECONDS", 1.0)
        self._asked, self._complain = asked, complain
        self._last_cleared = -_HOUR  # so that the first call cleans up

    def perform(self, run: Run) -> None:
        """Perform a claimed run until it ends, loses its lease, or this worker is asked to stop."""
        one = self.begin(run)
        while not self._asked.is_set() and self._is_running(one.child):
            worker_alive.worker_lives()
            if self.is_over(one):
                break
        self.end(one)

    def begin(self, run: Run) -> Performance:
        """Start the child that performs a claimed run."""
        return Performance(run, processes.spawn(processes.manage("perform_run", run.public_id, str(run.attempt))))

    def is_over(self, one: Performance) -> bool:
        """Whether the child has ended, or should: its run has ended but the child hangs, or its lease ran out."""
        return one.child.poll() is not None or self.patiently(lambda: lifecycle.is_held(one.run)) is False

    def end(self, *performances: Performance) -> None:
        """Stop these children where they still run, all at once, and return to the queue what they have not ended."""
        processes.stop(*(one.child for one in performances), seconds=_GRACE_SECONDS)
        for one in performances:
            self.patiently(lambda run=one.run: self._release(run))  # type: ignore[misc]

    def hourly_cleanup(self) -> None:
        """Run the hourly cleanup if an hour has passed; workers call this now and then."""
        if time.monotonic() - self._last_cleared >= _HOUR:
            self._last_cleared = time.monotonic()
            self.patiently(tasks.hourly_cleanup)

    def patiently(self, ask: Callable[[], _T]) -> _T | None:
        """The result of `ask`, or None after an error of database or disk, which is reported; the children go on."""
        try:
            return ask()
        except (DatabaseError, OSError) as error:
            connection.close()
            if outage := outages.of(error):
                outages.report(outage, error)  # once a minute: it meets every look for work
            else:
                self._complain(f"worker: {error}")
            return None

    def _release(self, run: Run) -> bool:
        """Both change nothing if the child has ended the run itself."""
        return lifecycle.return_to_queue(run) if self._asked.is_set() else lifecycle.requeue_lost(run)

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
