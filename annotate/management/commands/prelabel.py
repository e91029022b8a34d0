"""manage.py prelabel: ask the annotator for silver."""

from argparse import ArgumentParser
from typing import Any

from django.db.models import Count

from annotate.management.base import GoldloopCommand
from annotate.silver import prelabel


class Command(GoldloopCommand):
    help = (
        "Ask the annotator model for a label of every item that has none yet: silver. The offline annotator "
        "compares sentence vectors of the items with the labels' names, definitions and examples; it needs no "
        "network. Stopped or killed, it goes on where it was."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--failed-again",
            action="store_true",
            help="ask for all items whose answer was a failure instead, for instance after the model was mended; "
            "what got a label is not asked, nor paid, again",
        )

    def run(self, options: dict[str, Any]) -> None:
        prompt = prelabel.prelabel(
            project=self.project,
            by=self.by,
            failed_again=options["failed_again"],
            show_encoding=self.progress("Reading the items", "items"),
            show=self.progress("Pre-labeling", "items"),
        )
        counts = dict(prompt.predictions.current().values_list("status").annotate(n=Count("id")))
        n_ok = counts.pop("ok", 0)
        failures = ", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "none"
        self.say(f"{n_ok:,} items of {self.project.slug} have a silver label ({prompt}); failures: {failures}.")
