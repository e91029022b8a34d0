"""manage.py perform_run: what a worker starts for each run."""

from argparse import ArgumentParser
from typing import Any

from annotate import tasks
from annotate.errors import GoldloopError
from annotate.management.base import GoldloopCommand
from annotate.runs import lifecycle


class Command(GoldloopCommand):
    help = (
        "Perform one claimed run in this process, which ends with it, so that its memory returns. `manage.py worker` "
        "starts this. Killed at any moment it leaves nothing half done: the run is taken up again."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("public_id", metavar="RUN")
        parser.add_argument("attempt", metavar="ATTEMPT", type=int)

    def run(self, options: dict[str, Any]) -> None:
        try:
            with lifecycle.taken_up(public_id=options["public_id"], attempt=options["attempt"]) as attempt:
                tasks.perform(attempt)
        except GoldloopError as error:  # its row says so to people; to the worker it is no failure
            self.stderr.write(f"run {options['public_id']}: {error}")
