"""manage.py import_annotations: answers of people, from a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from annotate.labeling import from_file
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Read answers of named people to the open round's questions from a JSON Lines file. The same rules hold as on "
        "the screen: members only, overlap, one answer per person, later lines change earlier ones. "
        'Each line: {"id": "ticket-17", "annotator": "ann@example.org", "label": "refund"}, or "skip": "unclear" '
        'instead of the label; "item" (public id) may stand for "id"; "seconds" is optional. '
        "Reading the same file twice changes nothing."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.jsonl", help="the answers, plain or .gz")

    def run(self, options: dict[str, Any]) -> None:
        result = from_file.import_annotations(
            project=self.project,
            path=options["file"],
            by=self.by,
            show=self.progress("Reading answers", "answers"),
        )
        self.say(
            f"{result.n_stored:,} answers stored, {result.n_known:,} were there already, "
            f"{len(result.refused):,} lines refused."
        )
        for line, reason in result.refused[:20]:
            self.stderr.write(f"  line {line}: {reason}")
        if len(result.refused) > 20:
            self.stderr.write(f"  and {len(result.refused) - 20:,} more")
        if result.refused:
            raise CommandError("Some lines were refused; correct them and read the file again.")
