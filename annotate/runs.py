"""Life of a Run: one of a kind alive per project, heartbeats, a lost one taken over, every one ended."""

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from annotate.errors import GoldloopError, RunBusy, RunLost
from annotate.models import Project, Run, User
from annotate.models.base import database_now

Show = Callable[[int, int | None], None]  # (done, total) for a progress bar

_SECONDS_BETWEEN_BEATS = 2.0  # each beat is a durable commit of about 4 ms


class Attempt:
    """The right to work on a run, lost as soon as another attempt has taken it over."""

    def __init__(self, run: Run, show: Show | None) -> None:
        self.run = run
        self._show = show
        self._last_beat = time.monotonic()

    def beat(self, done: int, total: int | None = None, *, force: bool = False) -> None:
        """Report progress and renew the lease; raises RunLost if somebody else works on this run now."""
        if self._show:
            self._show(done, total)
        if force or time.monotonic() - self._last_beat >= _SECONDS_BETWEEN_BEATS:
            self._renew(done, total)

    def write(self, done: int, total: int | None = None) -> None:
        """Call inside the transaction of an effect: it commits only while this attempt is the one."""
        self.beat(done, total, force=True)

    def finish(self, state: str, *, message: str = "", trace: str = "") -> None:
        now = database_now()
        self._mine().update(state=state, message=message, trace=trace, finished_at=now, heartbeat_at=now)

    def _renew(self, done: int, total: int | None) -> None:
        now = database_now()
        lease = now + timedelta(seconds=settings.RUN_LEASE_SECONDS)
        changed = self._mine().update(heartbeat_at=now, lease_until=lease, n_done=done, n_total=total)
        if changed != 1:
            raise RunLost(f"This {self.run.kind} was taken over by another worker; nothing more was written.")
        self._last_beat = time.monotonic()

    def _mine(self) -> QuerySet[Run]:
        return Run.objects.filter(pk=self.run.pk, attempt=self.run.attempt, state=Run.State.RUNNING)


@contextmanager
def start(*, kind: str, project: Project, by: User | None, show: Show | None = None) -> Iterator[Attempt]:
    """Run the body as one attempt: succeeded at its end, failed on a GoldloopError, errored on a crash."""
    attempt = Attempt(_claim(kind, project, by), show)
    try:
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
    attempt.finish(Run.State.SUCCEEDED)


def _claim(kind: str, project: Project, by: User | None) -> Run:
    """A new run, or the dead one of the same kind as its next attempt; RunBusy while one is alive."""
    now = database_now()
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "heartbeat_at": now,
        "lease_until": now + timedelta(seconds=settings.RUN_LEASE_SECONDS),
    }
    alive = Run.objects.filter(project=project, kind=kind, state=Run.State.RUNNING).first()
    if alive is None:
        try:
            with transaction.atomic():
                return Run.objects.create(project=project, kind=kind, state=Run.State.RUNNING, started_by=by, **mine)
        except IntegrityError:
            raise RunBusy(f"Another {kind} has just started in {project}.") from None
    if not _is_dead(alive):
        seconds = max(0, int((now - alive.heartbeat_at).total_seconds()))
        raise RunBusy(f"A {kind} is running in {project} (last sign of life {seconds} s ago).")
    taken = Run.objects.filter(pk=alive.pk, attempt=alive.attempt, state=Run.State.RUNNING).update(
        attempt=alive.attempt + 1, started_by=by, **mine
    )
    if taken != 1:
        raise RunBusy(f"Another worker has just taken over this {kind} in {project}.")
    alive.refresh_from_db()
    return alive


def _is_dead(run: Run) -> bool:
    """Its lease ran out, or its process was on this machine and is gone: then nobody need wait."""
    if run.lease_until < database_now():
        return True
    if run.host != socket.gethostname():
        return False
    if run.pid == os.getpid():
        return False
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
