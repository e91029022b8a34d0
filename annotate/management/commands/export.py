"""manage.py export: the labeled dataset as files."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotate.dataset import export
from annotate.learning import delivery, estimation
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Write the labeled dataset: every item with its label, gold where there is one, else the machine's, "
        "and where that label came from. A manifest beside it says how accurate the labels are, how that is "
        "known, and holds the checksums (check them with `manage.py verify PROJECT --export MANIFEST`)."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--out",
            metavar="DIR",
            type=Path,
            help="folder for the files (default: exports/PROJECT among the product's own files)",
        )
        parser.add_argument(
            "--format",
            dest="formats",
            action="append",
            choices=export.FORMATS,
            help="give it once per format; default: jsonl and csv, which alter nothing and are for programs. For a "
            "spreadsheet, which could run cells of csv as formulas, there is csv-spreadsheet",
        )

    def run(self, options: dict[str, Any]) -> None:
        # First the figures, so that the manifest states the error of exactly this version.
        frozen = delivery.current(project=self.project, by=self.by)
        estimation.estimate(project=self.project, by=self.by, frozen=frozen)
        path = export.export(
            delivered=frozen.row,
            directory=options["out"],
            formats=options["formats"] or export.USUAL,
            by=self.by,
            show=self.progress("Export", "rows"),
        )
        self.say(f"Exported {frozen.row} of {self.project.slug}; what it is: {path}")
