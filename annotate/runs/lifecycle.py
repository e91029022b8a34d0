"""Life of a Run: one of a kind alive per project, the lost taken over, every one ended."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate import access, failpoints
from annotate.errors import Conflict, NotFound, RunBusy, RunLost
from annotate.models import Project, Run, RunLine, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.runs import notify
from annotate.runs.attempt import Attempt, Show, here, lease, mine, performed, performing, write_line

__all__ = ["Attempt", "Show"]  # the rest is defined here

QUEUES = ("io", "ml")


def create_queued(
    *,
    kind: str,
    project: Project,
    by: User,
    parameters: dict[str, Any],
    queue: str,
    retry_of: Run | None = None,
) -> Run:
    """A run that waits for a worker. Asked for the same again (a double click), the run that is alive is returned.

    A paused run goes on. RunBusy while a run of this kind with other parameters is alive.
    """
    fields = {"parameters": parameters, "queue": queue, "started_by": by, "retry_of": retry_of}
    try:
        with transaction.atomic():
            run = Run.objects.create(project=project, kind=kind, **fields)
            notify.ring_on_commit(run)
            return run
    except IntegrityError:
        alive = Run.objects.filter(project=project, kind=kind, state__in=Run.ALIVE).first()
    if alive is None or alive.performer == Run.Performer.COMMAND or alive.parameters != parameters:
        raise RunBusy(_busy_sentence(alive, kind, project))
    return resume(run=alive, by=by) if alive.state == Run.State.PAUSED else alive


def find(*, project: Project, public_id: str) -> Run:
    """The run of this project; other projects' are not found."""
    run = project.runs.select_related("started_by", "retry_of").filter(public_id=public_id).first()
    if run is None:
        raise NotFound(_("There is no such run."))
    return run


def log(run: Run) -> QuerySet[RunLine]:
    """What happened, oldest first."""
    return run.lines.order_by("pk")


def pause(*, run: Run, by: User) -> Run:
    """It stops at its next beat, within seconds, and waits for somebody to resume it."""
    access.require(by, run.project, to="manage")
    waiting = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED)
    working = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING, wish=Run.Wish.NONE)
    message = _("Paused. It goes on from here when somebody resumes it.")
    if not waiting.update(state=Run.State.PAUSED, message=message) and not working.update(wish=Run.Wish.PAUSE):
        raise Conflict(_("This run does not work now, so it cannot be paused."))
    return _told(run, by, "paused")


def resume(*, run: Run, by: User) -> Run:
    """A paused run waits for a worker again and goes on where it stopped; one that was asked to pause does not."""
    access.require(by, run.project, to="manage")
    paused = Run.objects.filter(pk=run.pk, state=Run.State.PAUSED)
    asked = Run.objects.filter(pk=run.pk, state__in=[Run.State.RUNNING, Run.State.QUEUED], wish=Run.Wish.PAUSE)
    again = {"state": Run.State.QUEUED, "wish": Run.Wish.NONE, "message": "", **_NOBODY, **_NOTHING}
    with transaction.atomic():
        if not paused.update(**again) and not asked.update(wish=Run.Wish.NONE):
            raise Conflict(_("This run is not paused."))
        notify.ring_on_commit(run)
        return _told(run, by, "resumed")


def cancel(*, run: Run, by: User, needs_tidying: bool) -> Run:
    """The run ends, at its next beat where a worker is at it; what was finished is kept.

    `needs_tidying`: a run of this kind that has begun leaves something for a worker to clear away.
    """
    access.require(by, run.project, to="manage")
    ended = {"state": Run.State.CANCELLED, "message": _("Cancelled."), "finished_at": database_now()}
    # Clearing away is work: a worker takes the run once more to end it.
    again = {"state": Run.State.QUEUED, "wish": Run.Wish.CANCEL, **_NOBODY, **_NOTHING}
    still = Run.objects.filter(pk=run.pk, state__in=[Run.State.QUEUED, Run.State.PAUSED])
    has_begun = Q(attempt__gt=1) | Q(started_at__isnull=False)
    with transaction.atomic():
        n_changed = (
            (still.filter(has_begun).update(**again) if needs_tidying else 0)
            or still.update(**ended)
            or Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(wish=Run.Wish.CANCEL)
        )
        if not n_changed:
            raise Conflict(_("This run has ended already."))
        notify.ring_on_commit(run)
        return _told(run, by, "cancelled")


def require_repeatable(run: Run) -> None:
    """Conflict unless the run has ended without success and a worker can do the same once more."""
    if run.state not in (Run.State.FAILED, Run.State.ERRORED, Run.State.CANCELLED):
        raise Conflict(_("Only a run that did not succeed can be tried again."))
    if run.performer == Run.Performer.COMMAND:
        raise Conflict(_("This was started by a command on the server; start it there again."))


@contextmanager
def start(*, kind: str, project: Project, by: User | None, show: Show | None = None) -> Iterator[Attempt]:
    """Run the body as one attempt: succeeded at its end, failed on a GoldloopError, errored on a crash.

    Inside a run of the same project the body belongs to that run: one Run covers training and its estimate.
    """
    outer = performing.get()
    if outer is not None and outer.run.project_id == project.pk:
        yield outer
        return
    with performed(Attempt(_claim(kind, project, by), show)) as attempt:
        yield attempt


@contextmanager
def taken_up(*, public_id: str, attempt: int) -> Iterator[Attempt]:
    """Perform a run that a worker has claimed for this process; RunLost if it is no longer this attempt's."""
    run = Run.objects.select_related("project", "started_by").filter(public_id=public_id).first()
    if run is None or mine(run).filter(attempt=attempt).update(**lease(), **here()) != 1:
        raise RunLost(f"Attempt {attempt} of run {public_id} is not to be performed any more.")
    failpoints.point("run.taken_up")
    with performed(Attempt(run)) as performing_now:
        yield performing_now


def claim_next(queues: Sequence[str] = QUEUES) -> Run | None:
    """The oldest run that waits, now this process's to perform; None when there is none. Lost ones wait again."""
    sweep()
    for run in Run.objects.filter(state=Run.State.QUEUED, queue__in=queues).order_by("created_at", "pk"):
        if _take(run):
            return run
    return None


def claim(public_id: str) -> Run | None:
    """The run that a broker told of, now this process's to perform; None where it does not wait any more."""
    run = Run.objects.filter(public_id=public_id, state=Run.State.QUEUED).first()
    return run if run is not None and _take(run) else None


def ring_unheard() -> int:
    """Ring again for every run that waits though it was rung for: the broker lost it, or nobody was there."""
    before = database_now() - timedelta(seconds=1.5 * settings.RUN_SWEEP_SECONDS)
    unheard = Run.objects.filter(Q(rung_at__isnull=True) | Q(rung_at__lt=before), state=Run.State.QUEUED)
    n_rung = 0
    for run in unheard.filter(created_at__lt=before).order_by("created_at"):
        notify.ring(run)
        n_rung += 1
    return n_rung


def sweep() -> int:
    """Deal with every run whose worker is gone; returns how many there were."""
    running = Run.objects.filter(state=Run.State.RUNNING)
    return sum(lose(run) for run in running if _is_dead(run))


def lose(run: Run) -> bool:
    """Its process is gone: it waits for the next attempt, or ends where another one would not help."""
    if run.wish == Run.Wish.PAUSE:
        return _end_lost(run, _("Paused. It goes on from here when somebody resumes it."), state=Run.State.PAUSED)
    if run.performer == Run.Performer.COMMAND:
        return _end_lost(run, f"The process of this {run.kind} is gone. Started again, it goes on from there.")
    if run.attempt >= settings.RUN_ATTEMPTS:
        return _end_lost(
            run,
            f"The worker or the database was lost {settings.RUN_ATTEMPTS} times during this {run.kind}; perhaps it "
            "needs more memory than there is. What was finished is kept.",
        )
    return _requeue(run, attempt=run.attempt + 1)


def give_back(run: Run) -> bool:
    """The worker stops: the run waits again, and this attempt was none. Its process must have ended."""
    return _requeue(run, attempt=run.attempt)


def is_held(run: Run) -> bool:
    """Whether this attempt is still the one, with a lease that has not run out."""
    return mine(run).filter(lease_until__gte=database_now()).exists()


def _claim(kind: str, project: Project, by: User | None) -> Run:
    """A new run, or the queued or dead one of the same kind; RunBusy while one is alive."""
    # What the command was given it knows itself; of a run that waited for a worker it does not do what was asked.
    changes: dict[str, Any] = {"performer": Run.Performer.COMMAND, "parameters": {}, "started_by": by}
    alive = Run.objects.filter(project=project, kind=kind, state__in=Run.ALIVE).first()
    if alive is None:
        changes |= {"started_at": database_now(), **lease(), **here()}
        try:
            with transaction.atomic():
                return Run.objects.create(project=project, kind=kind, state=Run.State.RUNNING, **changes)
        except IntegrityError:
            raise RunBusy(_busy_sentence(None, kind, project)) from None
    if alive.state == Run.State.RUNNING:
        if not _is_dead(alive):
            raise RunBusy(_busy_sentence(alive, kind, project))
        changes["attempt"] = alive.attempt + 1
    if not _take(alive, **changes):
        raise RunBusy(f"Another worker has just taken over this {kind} in {project}.")
    return alive


def _take(run: Run, **changes: Any) -> bool:
    """Make it this process's run; False if anybody else was faster."""
    as_seen = Run.objects.filter(pk=run.pk, attempt=run.attempt, state=run.state)
    changes |= {"state": Run.State.RUNNING, "started_at": database_now(), **lease(), **here()}
    if as_seen.update(**changes) != 1:
        return False
    run.refresh_from_db()
    write_line(run, f"Attempt {run.attempt} on {run.host}.")
    return True


_NOBODY: dict[str, Any] = {"host": "", "pid": None, "lease_until": None, "heartbeat_at": None}
_NOTHING: dict[str, Any] = {"step": "", "n_done": 0, "n_total": None}


def _requeue(run: Run, *, attempt: int) -> bool:
    with transaction.atomic():
        if mine(run).update(state=Run.State.QUEUED, attempt=attempt, **_NOBODY, **_NOTHING) != 1:
            return False
        write_line(run, "Given back." if attempt == run.attempt else "The worker was lost; the run waits for another.")
        notify.ring_on_commit(run)
        return True


def _end_lost(run: Run, message: str, state: str = Run.State.ERRORED) -> bool:
    ended = None if state == Run.State.PAUSED else database_now()
    if mine(run).update(state=state, message=message, finished_at=ended, wish=Run.Wish.NONE) != 1:
        return False
    write_line(run, message)
    return True


def _told(run: Run, by: User, what: str) -> Run:
    """The run as it stands now, with a line in its log and an event."""
    run.refresh_from_db()
    write_line(run, f"{what.capitalize()} by {by}.")
    record(f"run.{what}", project=run.project, by=by, run=run.public_id, kind_of_run=run.kind)
    return run


def _busy_sentence(alive: Run | None, kind: str, project: Project) -> str:
    if alive is None:
        return f"Another {kind} has just started in {project}."
    if alive.state == Run.State.PAUSED:
        return f"{_a(kind)} is paused in {project}; resume or cancel it first."
    if alive.heartbeat_at is None:
        return f"{_a(kind)} is waiting to be done in {project}."
    seconds = max(0, int((database_now() - alive.heartbeat_at).total_seconds()))
    return f"{_a(kind)} is running in {project} (last sign of life {seconds} s ago)."


def _a(kind: str) -> str:
    return f"{'An' if kind[0] in 'aeiou' else 'A'} {kind}"


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
