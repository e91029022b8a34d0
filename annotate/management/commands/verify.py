"""manage.py verify: recompute what must be true of a project."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from annotate import verification
from annotate.dataset import export
from annotate.learning import delivery
from annotate.management.base import GoldloopCommand
from annotate.verification import Outcome

_REWRITE = "a rewrite of the whole chain: it shows only against a head kept elsewhere (--head HASH)"
_HEAD = "a kept head stands in the chain"


class Command(GoldloopCommand):
    help = (
        "Recompute from the rows what must be true: the chain of seals and the rows against it, random numbers, folds "
        "and samples from the key, answers within the overlap, no audit gold in any training, figures from their "
        "inputs, files with their checksums. Says of each check 'ok', 'WRONG' with the row, or 'not checked' with the "
        "reason; ends with an error if anything is wrong."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="train every model again and compare it as its method promises; compute the delivered labels in force "
            "again (slow)",
        )
        parser.add_argument(
            "--export",
            type=Path,
            metavar="MANIFEST.json",
            help="check the files of an export against its manifest, and the head that it carries",
        )
        parser.add_argument(
            "--head",
            action="append",
            default=[],
            metavar="HASH",
            help="a head of the chain that was kept elsewhere: proves that nothing sealed was rewritten since",
        )

    def run(self, options: dict[str, Any]) -> None:
        self._wrong: list[str] = []
        self._n_not_checked = 0
        for name, check in verification.CHECKS.items():
            self._report(name, verification.outcome(check, self.project))
        if options["rebuild"]:
            self._rebuild()
        heads = list(options["head"])
        if options["export"]:
            heads += self._export(options["export"])
        self._heads(heads)
        self._end()

    def _rebuild(self) -> None:
        models = self.project.model_versions.order_by("version")
        for model in models:
            self._say_found(f"{model} can be made again", verification.rebuild_problem(model))
        if not models:
            self._not_checked("models can be made again", "no model is trained yet")
        if row := delivery.existing(self.project):
            self._say_found(f"{row} can be made again", verification.refreeze_problem(row))
        else:
            self._not_checked("delivered labels can be made again", "no version is of the project as it is now")

    def _export(self, path: Path) -> list[str]:
        """Check the export; returns the head of the chain that its manifest carries, if it does."""
        problems = export.verify_export(path) or export.verify_origin(path, self.project)
        self._say_found(f"export {path.name}", problems[0] if problems else None)
        return export.heads(path)

    def _heads(self, heads: list[str]) -> None:
        for head in heads:
            seal = verification.kept_head(self.project, head)
            problem = None if seal else f"no seal has the hash {head}: the chain was written anew since it was kept"
            self._say_found(f"{_HEAD}: {seal} of {seal.created_at:%Y-%m-%d %H:%M} UTC" if seal else _HEAD, problem)
        if not heads:
            self._not_checked(_HEAD, _REWRITE)

    def _report(self, name: str, found: Outcome) -> None:
        for problem in found.problems:
            self._say_found(name, problem)
        if found.is_ok:
            self.say(f"  ok  {name}")
        elif not found.problems and all(one.is_part for one in found.not_checked):
            self.say(f"  ok in part  {name}")
        for one in found.not_checked:
            self._not_checked(name, one.reason)

    def _say_found(self, name: str, problem: str | None) -> None:
        if problem is None:
            self.say(f"  ok  {name}")
            return
        self._wrong.append(f"{name}: {problem}")
        self.say(f"  WRONG  {name}: {problem}")

    def _not_checked(self, name: str, reason: str) -> None:
        self._n_not_checked += 1
        self.say(f"  not checked  {name}: {reason}")

    def _end(self) -> None:
        slug, n = self.project.slug, len(self._wrong)
        if n:
            raise CommandError(f"{self._wrong[0]} ({n} problems in all)" if n > 1 else self._wrong[0])
        self.say(f"{slug}: everything that was checked holds; {self._n_not_checked} not checked.")
