"""Does small jobs after the request that asked for them, by two threads of this process; so far all of them are mails.

They end with the process, whatever waits: who asked sees by the rows that nothing came of it, or asks again.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.db import close_old_connections, connections, transaction

Job = Callable[[], object]

_log = logging.getLogger(__name__)
_MOST_WAITING = 1_000  # jobs of this process that no thread has begun; further ones are refused
_THREADS = 2  # one that waits for a slow server does not stop the other


def after_commit(job: Job, *, delay: float = 0.0) -> None:
    """Do the job `delay` seconds after the present transaction is committed; its failure is logged only."""
    transaction.on_commit(partial(_in_background, job, delay), robust=True)


def flush() -> None:
    """Wait until every job of this process was tried, those with a delay too."""
    if _desk is not None:
        _desk.join()


class _Desk:
    """The threads, and the jobs that wait for them in the order in which they are due."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Job]] = []  # a heap: due at, number, job
        self._numbers = itertools.count()
        self._n_open = 0  # waiting, or being done
        self._change = threading.Condition()
        for number in range(_THREADS):
            threading.Thread(target=self._work, name=f"mail-{number}", daemon=True).start()

    def put(self, job: Job, delay: float) -> bool:
        """Have the job done in `delay` seconds; False where too many wait."""
        with self._change:
            if len(self._waiting) >= _MOST_WAITING:
                return False
            heapq.heappush(self._waiting, (time.monotonic() + delay, next(self._numbers), job))
            self._n_open += 1
            self._change.notify_all()  # all: a thread that is told may be the one that then waits for a slow server
            return True

    def join(self) -> None:
        with self._change:
            self._change.wait_for(lambda: self._n_open == 0)

    def _work(self) -> None:
        while True:
            job = self._next()
            try:
                _done(job)
            finally:
                connections.close_all()
                with self._change:
                    self._n_open -= 1
                    self._change.notify_all()

    def _next(self) -> Job:
        """Wait until a job is due, and take it."""
        with self._change:
            while True:
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._change.wait(left)


_desk: _Desk | None = None
_making = threading.Lock()


def _in_background(job: Job, delay: float) -> None:
    global _desk
    if not settings.MAIL_IN_BACKGROUND:
        job()
        return
    with _making:  # at the first job, so after a web server's processes were forked
        _desk = _desk or _Desk()
    if not _desk.put(job, delay):
        _log.warning("Too many mails wait; one was not sent.")  # its row stays `waiting`


def _done(job: Job) -> None:
    close_old_connections()
    try:
        job()
    except Exception:
        _log.exception("A mail could not be prepared or noted.")
