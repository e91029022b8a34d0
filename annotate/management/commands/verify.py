"""manage.py verify: recompute what must be true of a project."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from annotate import verification
from annotate.dataset import export
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Recompute from the rows what must be true: random numbers, folds and samples from the key, answers within "
        "the overlap, no audit gold in any training, files with their checksums. Ends with an error on the first "
        "violation, naming rows."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="train every model again and compare it as its method promises (slow)",
        )
        parser.add_argument(
            "--export",
            type=Path,
            metavar="MANIFEST.json",
            help="check the files of an export against its manifest",
        )

    def run(self, options: dict[str, Any]) -> None:
        for name, check in verification.CHECKS.items():
            self._report(name, verification.first_problem(check, self.project))
        if options["rebuild"]:
            for model in self.project.model_versions.order_by("version"):
                self._report(f"{model} can be made again", verification.rebuild_problem(model))
        if options["export"]:
            path = options["export"]
            problems = export.verify_export(path) or export.verify_origin(path, self.project)
            self._report(f"export {options['export'].name}", problems[0] if problems else None)
        self.say(f"{self.project.slug}: everything holds.")

    def _report(self, name: str, problem: str | None) -> None:
        if problem:
            raise CommandError(f"{name}: {problem}")
        self.say(f"  ok  {name}")
