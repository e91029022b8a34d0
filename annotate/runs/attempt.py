"""One attempt at a run: the right to work on it, its heartbeat, and how it ends."""

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections
from django.db.models import QuerySet

from annotate import failpoints
from annotate.errors import GoldloopError, RunCancelled, RunLost, RunPaused
from annotate.models import Run, RunLine
from annotate.models.base import database_now

Show = Callable[[int, int | None], None]  # (done, total) for a progress bar

_SECONDS_BETWEEN_BEATS = 2.0  # each beat is a durable commit of about 4 ms
SILENT_SECONDS = 3_600  # work that reports nothing for so long is taken for hung, and loses its lease
_MOST_LINES = 1_000  # of one run's log


class Attempt:
    """The right to work on a run, lost as soon as another attempt has taken it over."""

    def __init__(self, run: Run, show: Show | None = None) -> None:
        self.run = run
        self.result: dict[str, Any] = {}  # facts for people, kept when the run succeeds
        self._show = show
        self._progress: tuple[int, int | None] = (run.n_done, run.n_total)
        self._stored = self._progress
        self._last_word = self._last_renewal = time.monotonic()
        self._is_lost = False
        self._requested_action: str = Run.Action.NONE
        self._has_obeyed = False

    def beat(self, done: int, total: int | None = None, *, force: bool = False) -> None:
        """Report progress; raises RunLost if somebody else works on this run now, and obeys who paused or cancelled it.

        Unless forced it writes nothing itself, so it may be called inside a read snapshot: the heartbeat does.
        """
        if self._show:
            self._show(done, total)
        self._progress, self._last_word = (done, total), time.monotonic()
        if self._is_lost:
            raise RunLost(self._lost_sentence)
        if force:
            self._renew()
        self._obey()

    def write(self, done: int, total: int | None = None) -> None:
        """Call inside the transaction of an effect: it commits only while this attempt is the one."""
        if self._show:
            self._show(done, total)
        self._progress, self._last_word = (done, total), time.monotonic()
        self._renew(cursor=done)
        self._obey()
        failpoints.hit("run.write")

    def step(self, name: str) -> None:
        """Say what is done now; progress starts again at nothing."""
        self._progress, self._last_word = (0, None), time.monotonic()
        self._renew(step=name)
        self.say(f"{name}.")
        self._obey()

    def say(self, text: str) -> None:
        """A line in the run's log, for people: facts and counts, never the content of items."""
        write_line(self.run, text)

    def finish(self, state: str, *, message: str = "", trace: str = "") -> None:
        failpoints.hit("run.finish")
        now = database_now()
        done, total = self._progress
        is_mine = mine(self.run).update(
            state=state, message=message, trace=trace, result=self.result, n_done=done, n_total=total,
            requested_action=Run.Action.NONE, heartbeat_at=now, finished_at=None if state == Run.State.PAUSED else now,
        )  # fmt: skip
        if is_mine:
            self.say(message or f"{Run.State(state).label}.")

    def obeyed(self) -> None:
        """Cancelled work is tidied up now: from here on nothing raises RunCancelled any more."""
        self._has_obeyed = True

    def _obey(self) -> None:
        if self._has_obeyed:
            return
        if self._requested_action == Run.Action.CANCEL:
            raise RunCancelled("Cancelled. What was finished is kept.")
        if self._requested_action == Run.Action.PAUSE:
            raise RunPaused("Paused. It goes on from here when somebody resumes it.")

    def keep_alive(self, stop: threading.Event) -> None:
        """The heartbeat, in a thread with a connection of its own: progress every 2 s, the lease every third of it."""
        try:
            while not stop.wait(_SECONDS_BETWEEN_BEATS):
                self._beat_once()
        except RunLost:
            pass  # whoever works hears of it at the next beat
        finally:
            connections.close_all()  # those of this thread

    def _beat_once(self) -> None:
        now = time.monotonic()
        is_due = now - self._last_renewal >= settings.RUN_LEASE_SECONDS / 3
        is_hung = now - self._last_word > SILENT_SECONDS
        try:
            self._requested_action = (
                mine(self.run).values_list("requested_action", flat=True).first() or Run.Action.NONE
            )
            if not is_hung and (is_due or self._progress != self._stored):
                self._renew()
        except DatabaseError:
            connection.close()  # busy or away; there is time for another try before the lease ends

    def _renew(self, **changes: Any) -> None:
        done, total = self._progress
        changed = mine(self.run).update(**lease(), n_done=done, n_total=total, **changes)
        if changed != 1:
            self._is_lost = True
            raise RunLost(self._lost_sentence)
        self._stored, self._last_renewal = (done, total), time.monotonic()

    @property
    def _lost_sentence(self) -> str:
        return f"This {self.run.kind} was taken over by another worker; nothing more was written."


performing: ContextVar[Attempt | None] = ContextVar("performing", default=None)


@contextmanager
def performed(attempt: Attempt) -> Iterator[Attempt]:
    """The body works for this attempt, and the run ends as the body does.

    Where the database was away nobody knows what it keeps of this attempt: the run is lost, and taken up again.
    """
    token = performing.set(attempt)
    try:
        with _heartbeat(attempt):
            yield attempt
    except RunLost:
        raise
    except RunPaused as error:
        attempt.finish(Run.State.PAUSED, message=str(error))
        raise
    except RunCancelled as error:
        attempt.finish(Run.State.CANCELLED, message=str(error))
        raise
    except (OperationalError, InterfaceError) as error:
        connection.close()
        with suppress(DatabaseError):
            attempt.say(f"The database broke off: {error}")
        raise
    except GoldloopError as error:
        attempt.finish(Run.State.FAILED, message=str(error))
        raise
    except BaseException as error:
        # Also an interrupt from the keyboard: the next start must not wait for a lease to run out.
        attempt.finish(Run.State.ERRORED, message=repr(error)[:500], trace=traceback.format_exc())
        raise
    else:
        attempt.finish(Run.State.SUCCEEDED)
    finally:
        performing.reset(token)


@contextmanager
def _heartbeat(attempt: Attempt) -> Iterator[None]:
    """Silent stretches (a fit, a freeze) keep the lease while the process lives, up to SILENT_SECONDS."""
    if connection.in_atomic_block:  # the row is not committed: nobody else can see or want it
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=attempt.keep_alive, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def mine(run: Run) -> QuerySet[Run]:
    """The row while it is this attempt's: whoever updates it changes one row, or has lost it."""
    return Run.objects.filter(pk=run.pk, attempt=run.attempt, state=Run.State.RUNNING)


def lease() -> dict[str, Any]:
    now = database_now()
    return {"heartbeat_at": now, "lease_until": now + timedelta(seconds=settings.RUN_LEASE_SECONDS)}


def here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def write_line(run: Run, text: str) -> None:
    """Append to the run's log, as long as it is not endless."""
    if RunLine.objects.filter(run=run).count() < _MOST_LINES:
        RunLine.objects.create(run=run, attempt=run.attempt, text=text[:500], at=database_now())
