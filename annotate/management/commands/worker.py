"""manage.py worker: perform queued runs."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from annotate import tasks
from annotate.management import processes, readiness
from annotate.management.base import GoldloopCommand
from annotate.management.embedded import Lanes
from annotate.management.performer import Performer
from annotate.management.sealer import Sealer
from annotate.runs import lanes, worker_alive


class Command(GoldloopCommand):
    help = (
        "Do the long work that pages ask for, in three lanes that do not wait for each other, each run in a process "
        "of its own. Stopped (Ctrl-C, SIGTERM), it gives its runs back; killed, the next worker takes them over. "
        "`manage.py serve` starts one. WORKER_LLM_RUNS (4), WORKER_IO_RUNS (2) and WORKER_ML_RUNS (1) say how many "
        "runs of a lane it does at a time. "
        "WORKER_POLL_SECONDS says how often it looks for work (1). It needs no broker, and works beside Celery."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="end when nothing waits any more")
        parser.add_argument(
            "--queue",
            action="append",
            choices=lanes.LANES,
            help="only work of this lane: llm (waits for LLM servers), io (imports, counts, closing rounds) or ml "
            "(models; the whole pool in memory); may be given several times; default: all",
        )

    def run(self, options: dict[str, Any]) -> None:
        if obstacle := readiness.folder_obstacle() or readiness.database_obstacle():
            raise CommandError(obstacle)
        asked = processes.asked_to_stop()
        performer = Performer(asked, self.stderr.write)
        mine = Lanes(performer, options["queue"] or lanes.LANES)
        sealer = Sealer(self.stderr.write)
        if not options["once"]:
            sealer.start()
        with processes.alarm() as wait:
            while not asked.is_set():
                worker_alive.worker_lives()
                mine.clear()
                performer.patiently(tasks.sweep)
                mine.fill()
                if options["once"] and mine.are_empty:
                    break
                performer.hourly_cleanup()
                wait(performer.poll_seconds)
        mine.stop()
        sealer.stop()
        worker_alive.worker_ends()
