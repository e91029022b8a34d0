"""Tells Celery workers, through the broker, that a run is queued. Only a hint: workers also look at the rows."""

import logging

from django.conf import settings
from django.db import transaction

from annotate.models import Run
from annotate.models.base import database_now

_log = logging.getLogger(__name__)


def on_commit(run: Run) -> None:
    """Notify workers of the run once the transaction commits. A failure is logged; the caller does not get it."""
    transaction.on_commit(lambda: notify_workers(run), robust=True)


def notify_workers(run: Run) -> None:
    """Send the run's id to the broker. Without a broker nothing is sent: `manage.py worker` polls the rows."""
    if not settings.REDIS_URL:
        return
    Run.objects.filter(pk=run.pk).update(notified_at=database_now())
    from labelapp.celery import app  # here, so that a process without a broker never loads Celery

    try:
        app.send_task("annotate.perform", args=[run.public_id], queue=run.queue, retry=False)
    except Exception as error:  # a broker that is away, whatever its driver calls that
        _log.warning("The broker cannot be reached (%s); run %s is found by the sweeper.", error, run.public_id)
