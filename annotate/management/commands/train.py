"""manage.py train: train a model version."""

from argparse import ArgumentParser
from typing import Any

from annotate.learning import training
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Train a classifier on gold and on silver corrected by the noise matrix that the reference sample shows. It "
        "becomes the champion if it predicts the reference sample better, out of fold, than the present one."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--method",
            default="corrected",
            choices=sorted(training.METHODS),
            help="corrected (default), or one of the plain controls to compare with",
        )

    def run(self, options: dict[str, Any]) -> None:
        model = training.train(
            project=self.project,
            by=self.by,
            method=options["method"],
            show_encoding=self.progress("Reading the items", "items"),
            show=self.progress("Training", "fits"),
        )
        facts = model.metrics
        verdict = "is the champion" if model.is_champion else "is not better than the champion"
        self.say(
            f"Model v{model.version} of {self.project.slug} {verdict}: trained on {facts['n_gold']:,} gold and "
            f"{facts['n_silver']:,} silver labels, checked on {facts['n_reference']:,} reference items."
        )
        n_needed = max(50, 5 * model.schema.labels.count())
        if facts["n_reference"] < n_needed:
            self.say(
                f"Careful: {facts['n_reference']} reference gold labels are few; below {n_needed} the noise "
                "matrix, and what rests on it, is uncertain."
            )
