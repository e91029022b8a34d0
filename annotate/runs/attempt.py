"""Decides who may write for a run: one attempt holds the run by a lease, renews it by heartbeats, and ends it."""

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
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate import failpoints, outages
from annotate.errors import GoldloopError, RunCancelled, RunLost, RunPaused
from annotate.models import Run, RunLine
from annotate.models.base import database_now

Show = Callable[[int, int | None], None]  # called with (done, total), to draw a progress bar

_SECONDS_BETWEEN_BEATS = 2.0  # each heartbeat is a commit of about 4 ms
SILENT_SECONDS = 3_600  # work that reports no progress for so long counts as hung: its lease is not renewed
_MOST_LINES = 1_000  # in the log of one run
CANCELLED = gettext_lazy("Cancelled. What was finished is kept.")
PAUSED = gettext_lazy("Paused. It goes on from here when somebody resumes it.")


class Attempt:
    """The right of this process to work on a run; it ends when another attempt takes the run over."""

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
        """Report progress. Raises RunLost if another attempt took the run over, RunPaused or RunCancelled on request.

        The heartbeat's thread writes the progress, so that `beat` may be called inside a read snapshot; with `force`
        `beat` writes it at once.
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
        """Renew the lease and set the run's cursor to `done`, inside the transaction that stores a piece of work.

        It raises RunLost, and so undoes the transaction, if another attempt took the run over.
        """
        if self._show:
            self._show(done, total)
        self._progress, self._last_word = (done, total), time.monotonic()
        self._renew(cursor=done)
        self._obey()
        failpoints.hit("run.write")

    def step(self, name: str) -> None:
        """Begin the step of the work called `name`; its progress starts at 0."""
        self._progress, self._last_word = (0, None), time.monotonic()
        self._renew(step=name)
        self.say(f"{name}.")
        self._obey()

    def found(self, findings: dict[str, Any]) -> None:
        """Store what this attempt found out and will work by: later attempts go by it, whatever they would find."""
        self._renew(findings=findings)
        self.run.findings = findings

    def say(self, text: str) -> None:
        """Write a line into the run's log, for people: facts and counts, never the content of items."""
        write_line(self.run, text)

    def finish(self, state: str, *, message: str = "", trace: str = "") -> None:
        """End the run, or pause it; changes no row if another attempt took the run over."""
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
        """From now on requests to pause or cancel are ignored: the work is clearing away what a cancelled run left."""
        self._has_obeyed = True

    def obeys_again(self) -> None:
        """Requests are followed again: the one that was obeyed was taken back before the work had stopped."""
        self._has_obeyed = False

    @property
    def requested_action(self) -> str:
        """What people ask of the run, as the heartbeat read it last: one of Run.Action."""
        return self._requested_action

    def asked_with(self) -> str:
        """The sentence with which the run was asked to pause; empty where none was given."""
        asked = mine(self.run).filter(requested_action__in=Run.TO_PAUSE)
        return asked.values_list("message", flat=True).first() or ""

    def show_facts(self, facts: dict[str, Any]) -> None:
        """Show people these facts as the run's result while it is at work; its end replaces them."""
        mine(self.run).update(result=facts)

    def _obey(self) -> None:
        if self._has_obeyed:
            return
        if self._requested_action in Run.TO_CANCEL:
            raise RunCancelled(str(CANCELLED))
        if self._requested_action in Run.TO_PAUSE:
            raise RunPaused(str(PAUSED))

    def keep_alive(self, stop: threading.Event) -> None:
        """The heartbeat, run in a thread with its own database connection until `stop` is set.

        Every 2 s it writes changed progress and reads requests; a third of a lease after the last renewal it renews.
        """
        try:
            while not stop.wait(_SECONDS_BETWEEN_BEATS):
                self._beat_once()
        except RunLost:
            pass  # the working thread raises RunLost at its next beat
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
            connection.close()  # database busy or away; the next tries come before the lease ends

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
    """Run the body as the work of `attempt`, with a heartbeat, and end the run by how the body ends.

    Normal end: succeeded. GoldloopError: failed. RunPaused and RunCancelled: paused, cancelled. A disk or database that
    takes nothing: paused, with a sentence, so that it goes on from there when there is room. Where not even that can be
    stored the run keeps its state until it counts as lost, as after other database errors, when nobody knows what was
    stored. Other exceptions: errored.
    """
    token = performing.set(attempt)
    try:
        with _heartbeat(attempt):
            yield attempt
    except RunLost:
        raise
    except RunPaused as error:
        attempt.finish(Run.State.PAUSED, message=attempt.asked_with() or str(error))
        raise
    except RunCancelled as error:
        attempt.finish(Run.State.CANCELLED, message=str(error))
        raise
    except (DatabaseError, InterfaceError, OSError) as error:
        outage = outages.of(error)
        if outage and outage.is_lasting:
            _pause_for(outage, attempt)
            raise RunPaused(outage.sentence) from error
        if not isinstance(error, OperationalError | InterfaceError):
            _end_errored(attempt, error)
            raise
        connection.close()
        with suppress(DatabaseError):
            attempt.say(f"The database broke off: {error}")
        raise
    except GoldloopError as error:
        attempt.finish(Run.State.FAILED, message=str(error))
        raise
    except BaseException as error:
        # KeyboardInterrupt too: otherwise the next start would wait until the lease runs out.
        _end_errored(attempt, error)
        raise
    else:
        attempt.finish(Run.State.SUCCEEDED)
    finally:
        performing.reset(token)


def _pause_for(outage: outages.Outage, attempt: Attempt) -> None:
    if not connection.in_atomic_block:
        connection.close()
    with suppress(DatabaseError):
        said = _("Paused. What was finished is kept; it goes on from there when somebody resumes it.")
        attempt.finish(Run.State.PAUSED, message=f"{said} {outage.sentence}")


def _end_errored(attempt: Attempt, error: BaseException) -> None:
    attempt.finish(Run.State.ERRORED, message=repr(error)[:500], trace=traceback.format_exc())


@contextmanager
def _heartbeat(attempt: Attempt) -> Iterator[None]:
    """Renew the lease in a thread, also while the body reports no progress (up to SILENT_SECONDS)."""
    if connection.in_atomic_block:  # the run's row is not committed, so no other process can take it
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
    """The run's row as long as it belongs to this attempt: an update changes one row, or none if the run was lost."""
    return Run.objects.filter(pk=run.pk, attempt=run.attempt, state=Run.State.RUNNING)


def lease() -> dict[str, Any]:
    """The columns of a lease that begins or is renewed now."""
    now = database_now()
    return {"heartbeat_at": now, "lease_until": now + timedelta(seconds=settings.RUN_LEASE_SECONDS)}


def here() -> dict[str, Any]:
    """The columns that name this process as the run's performer."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def write_line(run: Run, text: str) -> None:
    """Append a line to the run's log, up to _MOST_LINES lines."""
    if RunLine.objects.filter(run=run).count() < _MOST_LINES:
        RunLine.objects.create(run=run, attempt=run.attempt, text=text[:500], at=database_now())
