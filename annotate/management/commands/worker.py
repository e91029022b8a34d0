"""manage.py worker"""

import os
import subprocess
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from annotate import liveness, runs
from annotate.management import processes
from annotate.management.base import GoldloopCommand
from annotate.models import Run

_GRACE_SECONDS = 5.0
_T = TypeVar("_T")


class Command(GoldloopCommand):
    help = (
        "Do the long work that pages ask for: one run at a time, each in a process of its own. Stopped (Ctrl-C, "
        "SIGTERM), it gives its run back; killed, the next worker takes the run over. `manage.py serve` starts one. "
        "WORKER_POLL_SECONDS says how often it looks for work (1)."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="end when nothing waits any more")

    def run(self, options: dict[str, Any]) -> None:
        self._poll_seconds = _positive("WORKER_POLL_SECONDS", 1.0)
        self._asked = processes.asked_to_stop()
        while not self._asked.is_set():
            liveness.worker_lives()
            run = self._patiently(runs.claim_next)
            if run is not None:
                self._perform(run, self._asked)
            elif options["once"]:
                break
            else:
                self._asked.wait(self._poll_seconds)
        liveness.worker_ends()

    def _perform(self, run: Run, asked: threading.Event) -> None:
        """In a child, which may be killed at any moment: all it writes is whole or absent."""
        child = processes.spawn(processes.manage("perform_run", run.public_id, str(run.attempt)))
        while not asked.is_set() and self._is_running(child):
            liveness.worker_lives()
            if self._patiently(lambda: runs.is_held(run)) is False:
                # Its run is over and it hangs, or it was silent for so long that it lost its lease.
                break
        processes.stop(child, seconds=_GRACE_SECONDS)
        # Changes nothing where the child ended its run itself.
        self._patiently(lambda: runs.give_back(run) if asked.is_set() else runs.lose(run))

    def _is_running(self, child: subprocess.Popen[bytes]) -> bool:
        try:
            child.wait(timeout=self._poll_seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _patiently(self, ask: Callable[[], _T]) -> _T | None:
        """The answer, or None while the database is busy or away: a run in progress need not die of that."""
        try:
            return ask()
        except DatabaseError as error:
            connection.close()
            self.stderr.write(f"worker: {error}")
            return None


def _positive(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number <= 3_600:
        raise CommandError(f"{name} is {text!r}; give seconds, for instance 1.")
    return number
