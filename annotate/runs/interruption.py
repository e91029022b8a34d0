"""Decides in which state a run goes on whose site was restored from a backup: no process of this site works on it."""

from django.db.models import QuerySet

from annotate.models import Run
from annotate.runs import lifecycle
from annotate.runs.attempt import write_line


def pause(runs: QuerySet[Run], message: str) -> list[Run]:
    """Pause those of the runs that are queued or running, whatever was asked of them; returns those."""
    nobody = {"host": "", "pid": None, "lease_until": None, "heartbeat_at": None}
    paused = []
    for run in runs.filter(state__in=Run.AT_WORK).order_by("pk"):
        unchanged = Run.objects.filter(pk=run.pk, state=run.state, attempt=run.attempt)
        # The next attempt has another number, so that no call of the present one counts as its own.
        changes = {"state": Run.State.PAUSED, "attempt": run.attempt + (run.state == Run.State.RUNNING)}
        if unchanged.update(message=message, requested_action=Run.Action.NONE, **changes, **nobody):
            write_line(run, message)
            paused.append(run)
    return paused


def give_back(runs: QuerySet[Run]) -> int:
    """Queue those of the runs again that are running; a command's run ends. Returns how many."""
    n_changed = 0
    for run in runs.filter(state=Run.State.RUNNING).order_by("pk"):
        is_workers = run.performer == Run.Performer.WORKER and run.requested_action not in Run.TO_PAUSE
        n_changed += lifecycle.return_to_queue(run) if is_workers else lifecycle.requeue_lost(run)
    return n_changed
