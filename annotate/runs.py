"""Life of a Run: one of a kind alive per project, queued or running, the lost taken over, every one ended."""

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models import QuerySet

from annotate.errors import GoldloopError, RunBusy, RunLost
from annotate.models import Project, Run, User
from annotate.models.base import database_now

Show = Callable[[int, int | None], None]  # (done, total) for a progress bar

_SECONDS_BETWEEN_BEATS = 2.0  # each beat is a durable commit of about 4 ms
SILENT_SECONDS = 3_600  # work that reports nothing for so long is taken for hung, and loses its lease
MAX_ATTEMPTS = 3  # a run that kills its worker must not go on for ever
_ALIVE = (Run.State.QUEUED, Run.State.RUNNING)
_BY_HAND = {"by_hand": True}  # parameters of a run that a command performs: no worker may repeat it


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

    def beat(self, done: int, total: int | None = None, *, force: bool = False) -> None:
        """Report progress; raises RunLost if somebody else works on this run now.

        Unless forced it writes nothing itself, so it may be called inside a read snapshot: the heartbeat does.
        """
        if self._show:
            self._show(done, total)
        self._progress, self._last_word = (done, total), time.monotonic()
        if self._is_lost:
            raise RunLost(self._lost_sentence)
        if force:
            self._renew()

    def write(self, done: int, total: int | None = None) -> None:
        """Call inside the transaction of an effect: it commits only while this attempt is the one."""
        self.beat(done, total, force=True)

    def step(self, name: str) -> None:
        """Say what is done now; progress starts again at nothing."""
        self._progress, self._last_word = (0, None), time.monotonic()
        self._renew(step=name)

    def finish(self, state: str, *, message: str = "", trace: str = "") -> None:
        now = database_now()
        done, total = self._progress
        result = self.result if state == Run.State.SUCCEEDED else {}
        _mine(self.run).update(
            state=state, message=message, trace=trace, result=result, n_done=done, n_total=total,
            finished_at=now, heartbeat_at=now,
        )  # fmt: skip

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
        if (self._progress == self._stored and not is_due) or is_hung:
            return
        try:
            self._renew()
        except DatabaseError:
            connection.close()  # busy or away; there is time for another try before the lease ends

    def _renew(self, **changes: str) -> None:
        done, total = self._progress
        changed = _mine(self.run).update(**_lease(), n_done=done, n_total=total, **changes)
        if changed != 1:
            self._is_lost = True
            raise RunLost(self._lost_sentence)
        self._stored, self._last_renewal = (done, total), time.monotonic()

    @property
    def _lost_sentence(self) -> str:
        return f"This {self.run.kind} was taken over by another worker; nothing more was written."


_performing: ContextVar[Attempt | None] = ContextVar("performing", default=None)


def enqueue(*, kind: str, project: Project, by: User, parameters: dict[str, Any] | None = None) -> Run:
    """A run that waits for a worker. Asked for the same again (a double click), the one alive is returned.

    RunBusy while one of this kind with other parameters is alive; InvalidInput names what no worker can do.
    """
    from annotate import tasks  # the one arrow that points up: only tasks knows what a worker can do

    wanted = tasks.prepare(kind=kind, project=project, by=by, parameters=parameters or {})
    try:
        with transaction.atomic():
            return Run.objects.create(project=project, kind=kind, parameters=wanted, started_by=by)
    except IntegrityError:
        alive = Run.objects.filter(project=project, kind=kind, state__in=_ALIVE).first()
    if alive is not None and alive.parameters == wanted:
        return alive
    raise RunBusy(_busy_sentence(alive, kind, project))


@contextmanager
def start(*, kind: str, project: Project, by: User | None, show: Show | None = None) -> Iterator[Attempt]:
    """Run the body as one attempt: succeeded at its end, failed on a GoldloopError, errored on a crash.

    Inside a run of the same project the body belongs to that run: one Run covers training and its estimate.
    """
    outer = _performing.get()
    if outer is not None and outer.run.project_id == project.pk:
        yield outer
        return
    with _performed(Attempt(_claim(kind, project, by), show)) as attempt:
        yield attempt


@contextmanager
def resume(*, public_id: str, attempt: int) -> Iterator[Attempt]:
    """Perform a run that a worker has claimed for this process; RunLost if it is no longer this attempt's."""
    run = Run.objects.select_related("project", "started_by").filter(public_id=public_id).first()
    if run is None or _mine(run).filter(attempt=attempt).update(**_lease(), **_here()) != 1:
        raise RunLost(f"Attempt {attempt} of run {public_id} is not to be performed any more.")
    with _performed(Attempt(run)) as mine:
        yield mine


def claim_next() -> Run | None:
    """The oldest run that waits, now this process's to perform; None when there is none. Lost ones wait again."""
    sweep()
    for run in Run.objects.filter(state=Run.State.QUEUED).order_by("created_at", "pk"):
        if _take(run):
            return run
    return None


def sweep() -> int:
    """Deal with every run whose worker is gone; returns how many there were."""
    running = Run.objects.filter(state=Run.State.RUNNING)
    return sum(lose(run) for run in running if _is_dead(run))


def lose(run: Run) -> bool:
    """Its process is gone: it waits for the next attempt, or ends where another one would not help."""
    if run.parameters == _BY_HAND:
        return _end_lost(run, f"The process of this {run.kind} is gone. Started again, it goes on from there.")
    if run.attempt >= MAX_ATTEMPTS:
        return _end_lost(
            run,
            f"The worker was lost {MAX_ATTEMPTS} times during this {run.kind}; perhaps it needs more memory than "
            "there is. What was finished is kept.",
        )
    return _requeue(run, attempt=run.attempt + 1)


def give_back(run: Run) -> bool:
    """The worker stops: the run waits again, and this attempt was none. Its process must have ended."""
    return _requeue(run, attempt=run.attempt)


def is_held(run: Run) -> bool:
    """Whether this attempt is still the one, with a lease that has not run out."""
    return _mine(run).filter(lease_until__gte=database_now()).exists()


@contextmanager
def _performed(attempt: Attempt) -> Iterator[Attempt]:
    """The body works for this attempt, and the run ends as the body does."""
    token = _performing.set(attempt)
    try:
        with _heartbeat(attempt):
            yield attempt
    except RunLost:
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
        _performing.reset(token)


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


def _claim(kind: str, project: Project, by: User | None) -> Run:
    """A new run, or the queued or dead one of the same kind; RunBusy while one is alive."""
    mine: dict[str, Any] = {"parameters": _BY_HAND, "started_by": by}
    alive = Run.objects.filter(project=project, kind=kind, state__in=_ALIVE).first()
    if alive is None:
        mine |= {"started_at": database_now(), **_lease(), **_here()}
        try:
            with transaction.atomic():
                return Run.objects.create(project=project, kind=kind, state=Run.State.RUNNING, **mine)
        except IntegrityError:
            raise RunBusy(_busy_sentence(None, kind, project)) from None
    if alive.state == Run.State.RUNNING:
        if not _is_dead(alive):
            raise RunBusy(_busy_sentence(alive, kind, project))
        mine["attempt"] = alive.attempt + 1
    if not _take(alive, **mine):
        raise RunBusy(f"Another worker has just taken over this {kind} in {project}.")
    return alive


def _take(run: Run, **changes: Any) -> bool:
    """Make it this process's run; False if anybody else was faster."""
    as_seen = Run.objects.filter(pk=run.pk, attempt=run.attempt, state=run.state)
    changes |= {"state": Run.State.RUNNING, "started_at": database_now(), **_lease(), **_here()}
    if as_seen.update(**changes) != 1:
        return False
    run.refresh_from_db()
    return True


def _requeue(run: Run, *, attempt: int) -> bool:
    nobody = {"host": "", "pid": None, "lease_until": None, "heartbeat_at": None}
    nothing = {"step": "", "n_done": 0, "n_total": None}
    return _mine(run).update(state=Run.State.QUEUED, attempt=attempt, **nobody, **nothing) == 1


def _end_lost(run: Run, message: str) -> bool:
    return _mine(run).update(state=Run.State.ERRORED, message=message, finished_at=database_now()) == 1


def _mine(run: Run) -> QuerySet[Run]:
    """The row while it is this attempt's: whoever updates it changes one row, or has lost it."""
    return Run.objects.filter(pk=run.pk, attempt=run.attempt, state=Run.State.RUNNING)


def _lease() -> dict[str, Any]:
    now = database_now()
    return {"heartbeat_at": now, "lease_until": now + timedelta(seconds=settings.RUN_LEASE_SECONDS)}


def _here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _busy_sentence(alive: Run | None, kind: str, project: Project) -> str:
    if alive is None:
        return f"Another {kind} has just started in {project}."
    if alive.heartbeat_at is None:
        return f"A {kind} is waiting to be done in {project}."
    seconds = max(0, int((database_now() - alive.heartbeat_at).total_seconds()))
    return f"A {kind} is running in {project} (last sign of life {seconds} s ago)."


def _is_dead(run: Run) -> bool:
    """Its lease ran out, or its process was on this machine and is gone: then nobody need wait."""
    if run.lease_until is not None and run.lease_until < database_now():
        return True
    if run.host != socket.gethostname() or run.pid is None or run.pid == os.getpid():
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
