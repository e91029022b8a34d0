"""manage.py close_round: close the open round."""

from argparse import ArgumentParser
from typing import Any

from annotate import rounds
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Close the open round, once every question was answered or skipped. Its answers then count for training and "
        "estimates. With --force open questions become unresolved: audit items among them stay in the audit "
        "and widen its interval by their worst case."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--force", action="store_true", help="close it although questions are open")

    def run(self, options: dict[str, Any]) -> None:
        closed = rounds.close_round(project=self.project, by=self.by, force=options["force"])
        n_gold = closed.gold.filter(is_current=True).count()
        self.say(f"Round {closed.index} of {self.project.slug} is closed; it gave {n_gold:,} gold labels.")
