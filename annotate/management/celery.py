"""Decides what a Celery worker does: it performs the runs that messages name, and sweeps in its main process."""

import logging
import multiprocessing
import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError, connection

from annotate import restored, tasks
from annotate.management.performer import Performer
from annotate.management.sealer import Sealer
from annotate.runs import lifecycle, worker_alive

_log = logging.getLogger(__name__)
_sealer = Sealer(_log.warning)
_stopping = multiprocessing.Event()  # made before the pool forks, so that its processes share it


@shared_task(name="annotate.perform")  # type: ignore[untyped-decorator]
def perform(public_id: str) -> None:
    """The Celery task: perform the run if it is still queued; a second message about it finds nothing to do."""
    performer = Performer(_stopping, _log.warning)
    run = performer.patiently(lambda: lifecycle.claim(public_id))
    if run is not None:
        performer.perform(run)


@worker_init.connect  # type: ignore[untyped-decorator]
def refuse_unfinished(**_: Any) -> None:
    """End the worker with a sentence where a restore has not ended; Celery only notes an ordinary exception here."""
    if sentence := restored.unfinished_sentence():
        raise SystemExit(sentence)


@worker_ready.connect  # type: ignore[untyped-decorator]
def start_sweeper(**_: Any) -> None:
    """Start the sweeper's thread in the main process, which outlives the processes of its pool."""
    threading.Thread(target=_sweep, name="sweeper", daemon=True).start()
    _sealer.start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def stop(**_: Any) -> None:
    """Tell performers to return their runs to the queue within seconds, instead of finishing them."""
    _stopping.set()
    _sealer.stop()
    worker_alive.worker_ends()


def _sweep() -> None:
    """Queue lost runs again, notify the broker of forgotten ones, and clean up every hour, until the worker stops."""
    performer = Performer(_stopping, _log.warning)
    while not _stopping.wait(settings.RUN_SWEEP_SECONDS):
        worker_alive.worker_lives()
        performer.hourly_cleanup()
        try:
            tasks.sweep()
            lifecycle.notify_unheard()
        except DatabaseError as error:
            connection.close()
            _log.warning("sweeper: %s", error)
