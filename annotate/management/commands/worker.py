"""manage.py worker: perform queued runs."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from annotate import tasks
from annotate.management import processes, readiness
from annotate.management.base import GoldloopCommand
from annotate.management.performer import Performer
from annotate.management.sealer import Sealer
from annotate.runs import lifecycle, worker_alive


class Command(GoldloopCommand):
    help = (
        "Do the long work that pages ask for: one run at a time, each in a process of its own. Stopped (Ctrl-C, "
        "SIGTERM), it gives its run back; killed, the next worker takes the run over. `manage.py serve` starts one. "
        "WORKER_POLL_SECONDS says how often it looks for work (1). It needs no broker, and works beside Celery."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="end when nothing waits any more")
        parser.add_argument(
            "--queue",
            action="append",
            choices=lifecycle.QUEUES,
            help="only work of this queue: io (imports, LLM servers) or ml (models); may be given twice; default: all",
        )

    def run(self, options: dict[str, Any]) -> None:
        if obstacle := readiness.folder_obstacle() or readiness.database_obstacle():
            raise CommandError(obstacle)
        asked = processes.asked_to_stop()
        performer = Performer(asked, self.stderr.write)
        queues = options["queue"] or lifecycle.QUEUES
        sealer = Sealer(self.stderr.write)
        if not options["once"]:
            sealer.start()
        while not asked.is_set():
            worker_alive.worker_lives()
            performer.patiently(tasks.sweep)
            run = performer.patiently(lambda: lifecycle.claim_next(queues))
            if run is not None:
                performer.perform(run)
            elif options["once"]:
                break
            else:
                performer.hourly_cleanup()
                asked.wait(performer.poll_seconds)
        sealer.stop()
        worker_alive.worker_ends()
