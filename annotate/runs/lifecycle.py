"""Decides in which state a run is: at most one of a kind alive in a project, lost runs taken over, all of them ended.

A run is queued, running, paused, or ended (succeeded, failed, errored, cancelled). What a kind of run does is in
annotate/tasks.py; here only rows of Run change."""

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
from annotate.models import Project, Run, RunLine, Upload, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.runs import lanes, notify, starter
from annotate.runs.attempt import PAUSED, Attempt, Show, here, lease, mine, performed, performing, write_line

__all__ = ["Attempt", "Show"]  # the rest is defined here


def create_queued(
    *,
    kind: str,
    project: Project,
    by: User,
    parameters: dict[str, Any],
    queue: str,
    retry_of: Run | None = None,
    continues_commands: bool = False,
) -> Run:
    """Create a run that waits for a worker.

    If a run of this kind with the same parameters is alive (a double click), that run is returned, resumed if it
    was paused. RunBusy if the run that is alive has other parameters, or if `by` counts another file already.
    `continues_commands`: so is one that a command had begun and that was paused, since its row holds all that a worker
    needs to know.
    """
    fields = {"parameters": parameters, "queue": queue, "started_by": by, "retry_of": retry_of}
    try:
        with transaction.atomic():
            run = Run.objects.create(project=project, kind=kind, **fields)
            notify.on_commit(run)
            return run
    except IntegrityError:
        alive = Run.objects.filter(project=project, kind=kind, state__in=Run.ALIVE).first()
    if alive is None and (count := _count_of(by)):
        raise RunBusy(_counting_sentence(count))
    if alive is None or alive.parameters != parameters:
        raise RunBusy(_busy_sentence(alive, kind, project))
    is_paused = alive.state == Run.State.PAUSED
    if alive.performer == Run.Performer.COMMAND and not (continues_commands and is_paused):
        raise RunBusy(_busy_sentence(alive, kind, project))
    return resume(run=alive, by=by, queue=queue, continues_commands=continues_commands) if is_paused else alive


def find(*, project: Project, public_id: str) -> Run:
    """The run of this project with this public id; NotFound otherwise."""
    run = project.runs.select_related("started_by", "retry_of").filter(public_id=public_id).first()
    if run is None:
        raise NotFound(_("There is no such run."))
    return run


def log(run: Run) -> QuerySet[RunLine]:
    """The lines of the run's log, oldest first."""
    return run.lines.order_by("pk")


def pause(*, run: Run, by: User, now: bool = False) -> Run:
    """Pause a queued run, or ask a running one to pause at its next beat, within seconds; `resume` continues it.

    A run that asks an LLM server sends nothing more and waits for the calls in flight. `now`: it waits no longer.
    """
    access.require(by, run.project, to="manage")
    queued = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED)
    before = [Run.Action.NONE, Run.Action.PAUSE] if now else [Run.Action.NONE]
    running = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING, requested_action__in=before)
    is_paused = queued.update(state=Run.State.PAUSED, message=str(PAUSED))
    action = Run.Action.PAUSE_NOW if now else Run.Action.PAUSE
    if not is_paused and not running.update(requested_action=action):
        raise Conflict(_("This run does not work now, so it cannot be paused."))
    return _told(run, by, "paused")


@transaction.atomic
def pause_all_of(*, user: User, by: User | None, project: Project | None = None) -> list[Run]:
    """Pause each run that `user` started, in this project or in all; whoever resumes one performs it.

    Called where `user` may no longer act: a run is performed for somebody who manages its project.
    """
    paused = []
    # Locked: a worker that takes a queued run at this moment would be overlooked.
    for run in starter.unfinished(user, project).select_for_update(of=("self",)):
        run.message = starter.gone_sentence(user, is_deactivated=project is None)
        if run.state == Run.State.QUEUED:
            run.state = Run.State.PAUSED
        else:
            run.requested_action = Run.Action.PAUSE
        run.save(update_fields=["message", "state", "requested_action"])
        paused.append(_told(run, by, "paused"))
    return paused


def resume(*, run: Run, by: User, queue: str | None = None, continues_commands: bool = False) -> Run:
    """Queue a paused run again, which continues where it stopped; take back the request to pause of one that runs.

    It goes on in the name of `by` where whoever started it may no longer: a run is performed for somebody who manages.
    `queue`: the lane that it needs now. `continues_commands`: whoever began it, from now on it is a worker's.
    """
    access.require(by, run.project, to="manage")
    paused = Run.objects.filter(pk=run.pk, state=Run.State.PAUSED)
    pausing = Run.objects.filter(
        pk=run.pk, state__in=[Run.State.RUNNING, Run.State.QUEUED], requested_action__in=Run.TO_PAUSE
    )
    requeued = {"state": Run.State.QUEUED, "requested_action": Run.Action.NONE, "message": "", **_NOBODY, **_NOTHING}
    requeued |= {"queue": queue} if queue else {}
    requeued |= {"performer": Run.Performer.WORKER} if continues_commands else {}
    try:
        with transaction.atomic():
            if not paused.update(**requeued) and not pausing.update(requested_action=Run.Action.NONE, message=""):
                raise Conflict(_("This run is not paused."))
            starter.take_over(run, by)
            notify.on_commit(run)
            return _told(run, by, "resumed")
    except IntegrityError:  # a count; whoever started it counts another file by now
        raise RunBusy(_counting_sentence(_count_of(by) or _count_of(run.started_by))) from None


def cancel(*, run: Run, by: User, needs_tidying: bool, now: bool = False) -> Run:
    """Cancel a queued or paused run, or ask a running one to end at its next beat; committed work is kept.

    A run that asks an LLM server waits for the calls in flight. `now`: it waits no longer.
    `needs_tidying`: a run of this kind that has begun leaves rows that a worker must clear away, so it is queued once
    more with the request to cancel.
    """
    access.require(by, run.project, to="manage")
    ended = {"state": Run.State.CANCELLED, "message": _("Cancelled."), "finished_at": database_now()}
    requeued = {"state": Run.State.QUEUED, "requested_action": Run.Action.CANCEL, **_NOBODY, **_NOTHING}
    idle = Run.objects.filter(pk=run.pk, state__in=[Run.State.QUEUED, Run.State.PAUSED])
    has_begun = Q(attempt__gt=1) | Q(started_at__isnull=False)
    action = Run.Action.CANCEL_NOW if now else Run.Action.CANCEL
    running = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING)
    running = running if now else running.exclude(requested_action=Run.Action.CANCEL_NOW)
    with transaction.atomic():
        n_changed = (
            (idle.filter(has_begun).update(**requeued) if needs_tidying else 0)
            or idle.update(**ended)
            or running.update(requested_action=action)
        )
        if not n_changed:
            raise Conflict(_("This run has ended already."))
        if needs_tidying:
            starter.take_over(run, by)  # whoever left may not clear away what it leaves
        notify.on_commit(run)
        return _told(run, by, "cancelled")


def require_repeatable(run: Run) -> None:
    """Conflict unless the run ended without success and a worker (not only a command) can perform it."""
    if run.state not in (Run.State.FAILED, Run.State.ERRORED, Run.State.CANCELLED):
        raise Conflict(_("Only a run that did not succeed can be tried again."))
    if run.performer == Run.Performer.COMMAND:
        raise Conflict(_("This was started by a command on the server; start it there again."))


@contextmanager
def start(
    *,
    kind: str,
    project: Project,
    by: User | None,
    show: Show | None = None,
    parameters: dict[str, Any] | None = None,
) -> Iterator[Attempt]:
    """Run the body as one attempt at a run of this kind, started in this process; `performed` says how it ends.

    Inside the work of another run of the same project no run is made: the body is part of the outer run, as an
    estimate is part of a training. `parameters`: those of a kind whose commands store them (annotate/tasks.py).
    """
    outer = performing.get()
    if outer is not None and outer.run.project_id == project.pk:
        yield outer
        return
    with performed(Attempt(_claim(kind, project, by, parameters or {}), show)) as attempt:
        yield attempt


@contextmanager
def taken_up(*, public_id: str, attempt: int) -> Iterator[Attempt]:
    """Run the body as the given attempt at a run that a worker claimed; RunLost if a later attempt has the run."""
    run = Run.objects.select_related("project", "started_by").filter(public_id=public_id).first()
    if run is None or mine(run).filter(attempt=attempt).update(**lease(), **here()) != 1:
        raise RunLost(
            _("Attempt %(attempt)s of run %(public_id)s is not to be performed any more.")
            % {"attempt": attempt, "public_id": public_id}
        )
    failpoints.hit("run.taken_up")
    with performed(Attempt(run)) as performing_now:
        yield performing_now


def claim_next(queues: Sequence[str] = lanes.LANES, *, most_of_a_project: int | None = None) -> Run | None:
    """Claim the next queued run for this process, after lost runs were queued again; None where none is queued.

    The order is that of lanes.waiting.
    """
    sweep()
    for run in lanes.waiting(queues, most_of_a_project=most_of_a_project):
        if _take(run):
            return run
    return None


def change_queue(run: Run, queue: str) -> bool:
    """Put a queued run into another lane; False if a worker has taken it meanwhile."""
    if Run.objects.filter(pk=run.pk, state=Run.State.QUEUED).update(queue=queue) != 1:
        return False
    run.queue = queue
    notify.on_commit(run)
    return True


def claim(public_id: str) -> Run | None:
    """Claim the run that a broker's message named; None if it is not queued any more."""
    run = Run.objects.filter(public_id=public_id, state=Run.State.QUEUED).first()
    return run if run is not None and _take(run) else None


def notify_unheard() -> int:
    """Notify the broker again of each run that is still queued some time after it was notified; returns how many.

    The broker lost the message, or no worker was there.
    """
    before = database_now() - timedelta(seconds=1.5 * settings.RUN_SWEEP_SECONDS)
    unheard = Run.objects.filter(Q(notified_at__isnull=True) | Q(notified_at__lt=before), state=Run.State.QUEUED)
    n_rung = 0
    for run in unheard.filter(created_at__lt=before).order_by("created_at"):
        notify.notify_workers(run)
        n_rung += 1
    return n_rung


def sweep() -> int:
    """Queue again, or end, each run whose worker is gone; returns how many."""
    running = Run.objects.filter(state=Run.State.RUNNING)
    return sum(requeue_lost(run) for run in running if _is_dead(run))


def requeue_lost(run: Run) -> bool:
    """Handle a run whose process is gone: queue it for its next attempt, or pause or end it; False if not running.

    It ends where a command performed it, which must be started again by hand, and after RUN_ATTEMPTS lost attempts.
    """
    if run.requested_action in Run.TO_PAUSE:
        return _end_lost(run, run.message or str(PAUSED), state=Run.State.PAUSED)
    if run.performer == Run.Performer.COMMAND:
        return _end_lost(run, f"The process of this {run.kind} is gone. Started again, it goes on from there.")
    if run.attempt >= settings.RUN_ATTEMPTS:
        return _end_lost(
            run,
            f"The worker or the database was lost {settings.RUN_ATTEMPTS} times during this {run.kind}; perhaps it "
            "needs more memory than there is. What was finished is kept.",
        )
    return _requeue(run, attempt=run.attempt + 1)


def return_to_queue(run: Run) -> bool:
    """Queue the run again because its worker stops; the attempt is not counted. Its process must have ended."""
    return _requeue(run, attempt=run.attempt)


def is_held(run: Run) -> bool:
    """Whether this attempt still holds the run, with a lease that has not run out."""
    return mine(run).filter(lease_until__gte=database_now()).exists()


def _claim(kind: str, project: Project, by: User | None, parameters: dict[str, Any]) -> Run:
    """Claim a run for this process: a new one, or the queued or dead one of this kind. RunBusy while one is at work."""
    # What the command was given it knows itself; of a run that waited for a worker it does not do what was asked.
    changes: dict[str, Any] = {"performer": Run.Performer.COMMAND, "parameters": parameters, "started_by": by}
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
        raise RunBusy(
            _("Another worker has just taken over this %(kind)s in %(project)s.") % {"kind": kind, "project": project}
        )
    return alive


def _take(run: Run, **changes: Any) -> bool:
    """Give the run to this process; False if another process changed it first."""
    unchanged = Run.objects.filter(pk=run.pk, attempt=run.attempt, state=run.state)
    changes |= {"state": Run.State.RUNNING, "message": "", "started_at": database_now(), **lease(), **here()}
    if unchanged.update(**changes) != 1:
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
        notify.on_commit(run)
        return True


def _end_lost(run: Run, message: str, state: str = Run.State.ERRORED) -> bool:
    ended = None if state == Run.State.PAUSED else database_now()
    if mine(run).update(state=state, message=message, finished_at=ended, requested_action=Run.Action.NONE) != 1:
        return False
    write_line(run, message)
    return True


def _told(run: Run, by: User | None, what: str) -> Run:
    """Note in the run's log and in the event log what `by` (None: a command) did; returns the run as stored."""
    run.refresh_from_db()
    write_line(run, f"{what.capitalize()} by {by or 'the server'}.")
    record(f"run.{what}", project=run.project, by=by, run=run.public_id, kind_of_run=run.kind)
    return run


def _busy_sentence(alive: Run | None, kind: str, project: Project) -> str:
    names = {"kind": kind, "project": project}
    if alive is None:
        return _("Another %(kind)s has just started in %(project)s.") % names
    names["a_kind"] = _a(kind)
    if alive.state == Run.State.PAUSED:
        return _("%(a_kind)s is paused in %(project)s; resume or cancel it first.") % names
    if alive.heartbeat_at is None:
        return _("%(a_kind)s is waiting to be done in %(project)s.") % names
    seconds = max(0, int((database_now() - alive.heartbeat_at).total_seconds()))
    return _("%(a_kind)s is running in %(project)s (last sign of life %(seconds)s s ago).") % {
        **names,
        "seconds": seconds,
    }


def _count_of(person: User | None) -> Run | None:
    """The count that this person has in the queue or at work, in whatever project."""
    at_work = Run.objects.filter(kind="count", state__in=Run.AT_WORK, started_by=person)
    return at_work.select_related("project").first() if person else None


def _counting_sentence(count: Run | None) -> str:
    """Why a person cannot count one more file now. `count`: theirs that is not done; None: it has just ended."""
    if count is None:
        return _("Another count has just ended. Try again.")
    sent = Upload.objects.filter(project=count.project, public_id=count.parameters.get("upload", "")).first()
    names = {"file": sent.file_name if sent else "?", "project": count.project, "run": count.public_id}
    sentence = _(
        "One file is counted at a time for each person, and you are counting %(file)s in %(project)s. Wait until that "
        "is done, or cancel it: on the preview of that file, or as run %(run)s through the API."
    )
    return sentence % names


def _a(kind: str) -> str:
    return f"{'An' if kind[0] in 'aeiou' else 'A'} {kind}"


def _is_dead(run: Run) -> bool:
    """Whether the run's lease ran out, or its process ran on this machine and is gone."""
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
