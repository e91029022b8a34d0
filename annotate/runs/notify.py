"""Tells workers that a run waits. Only a doorbell: the row is the truth, and a sweeper rings again."""

import logging

from django.conf import settings
from django.db import transaction

from annotate.models import Run
from annotate.models.base import database_now

_log = logging.getLogger(__name__)


def on_commit(run: Run) -> None:
    """Ring once the row can be seen by others; nobody who asked for the run notices when that fails."""
    transaction.on_commit(lambda: notify_workers(run), robust=True)


def notify_workers(run: Run) -> None:
    """Through the broker where there is one; without one workers look by themselves."""
    if not settings.REDIS_URL:
        return
    Run.objects.filter(pk=run.pk).update(notified_at=database_now())
    from labelapp.celery import app  # here: a process that never rings never loads it

    try:
        app.send_task("annotate.perform", args=[run.public_id], queue=run.queue, retry=False)
    except Exception as error:  # a broker that is away, whatever its driver calls that
        _log.warning("The broker cannot be reached (%s); run %s is found by the sweeper.", error, run.public_id)
