"""manage.py train: train a model version."""

from argparse import ArgumentParser
from typing import Any

from annotate.errors import InvalidInput
from annotate.learning import method_choice, training
from annotate.management.base import GoldloopCommand
from models_ml import methods


class Command(GoldloopCommand):
    help = (
        "Train a classifier on gold and on silver corrected by the noise matrix that the reference sample shows. It "
        "becomes the champion if it is the first, if labels or silver have changed since, if it was trained by the "
        "same method and settings on more gold than the champion, or if it predicts the reference sample better."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--method",
            default=method_choice.DEFAULT,
            choices=[method.name for method in methods.describe()],
            help="; ".join(f"{method.name}: {method.sentence}" for method in methods.describe()),
        )

        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a parameter of the method, for instance gold_weight=20; the search chooses those left out",
        )

    def run(self, options: dict[str, Any]) -> None:
        model = training.train(
            project=self.project,
            by=self.by,
            method=options["method"],
            parameters=dict(map(_parameter, options["set"])),
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


def _parameter(text: str) -> tuple[str, Any]:
    """NAME=VALUE; a value is a number where it reads as one."""
    name, is_there, value = text.partition("=")
    if not is_there:
        raise InvalidInput(f"--set takes NAME=VALUE, not {text!r}.")
    return name.strip(), methods.parsed(value)
