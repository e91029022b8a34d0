"""manage.py import_items: a JSON Lines file becomes items."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotate import ingest
from annotate.errors import InvalidInput
from annotate.intake import IMPORTED
from annotate.management.base import GoldloopCommand
from annotate.models import Gold, Import, Prediction, RejectedRow

_SHOWN = 10


class Command(GoldloopCommand):
    help = (
        'Import a JSON Lines file (one {"id": ..., "text": ...} per line, plain or gzip) into a project; in a '
        'project of pairs {"id": ..., "text_a": ..., "text_b": ...}. '
        "Lines that cannot be used are set aside with their reason; exact duplicates become one item. "
        "Nothing is visible before all of it is there. If it is interrupted, the same command goes on."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the file: .jsonl or .jsonl.gz")
        parser.add_argument(
            "--gold-field",
            metavar="F",
            help="column with labels that are right: they train, and no figure is reported from them",
        )
        parser.add_argument(
            "--silver-field",
            metavar="F",
            help="column with a machine's labels: what Goldloop checks and corrects",
        )
        parser.add_argument(
            "--silver-confidence-field",
            metavar="F",
            help="column with the machine's confidence in its label, 0 to 1; used where there are two labels",
        )
        parser.add_argument(
            "--abandon",
            action="store_true",
            help="give up an import that was interrupted: its items, which nobody saw yet, are deleted",
        )

    def run(self, options: dict[str, Any]) -> None:
        if options["abandon"]:
            n_items = ingest.abandon_import(project=self.project, by=self.by)
            self.say(f"The unfinished import was abandoned; {n_items:,} hidden items were deleted.")
            if not options["file"]:
                return
        if not options["file"]:
            raise InvalidInput("Which file? Give its path, or --abandon.")
        done = ingest.import_items(
            project=self.project,
            path=options["file"],
            by=self.by,
            gold_field=options["gold_field"],
            silver_field=options["silver_field"],
            silver_confidence_field=options["silver_confidence_field"],
            show=self.progress("Import", "lines"),
        )
        self._tell(done, options)

    def _tell(self, done: Import, options: dict[str, Any]) -> None:
        self.say(
            f"{done.n_items:,} new items, {done.n_revived:,} brought back, {done.n_duplicates:,} duplicates, "
            f"{done.n_rejected:,} rejected lines from {done.file_name}."
        )
        if not done.n_items and not done.n_revived and not done.n_duplicates:
            self.say("Nothing in this file could be used; the reasons are below.")
        rejected = done.rejected_rows.filter(kind=RejectedRow.Kind.REJECTED).order_by("line")
        for row in rejected[:_SHOWN]:
            self.say(f"  line {row.line:,}: {row.reason}")
        if done.n_rejected > _SHOWN:
            self.say(f"  ... and {done.n_rejected - _SHOWN:,} more")
        self._tell_labels(done, options)

    def _tell_labels(self, done: Import, options: dict[str, Any]) -> None:
        """A column name with a typing error would otherwise pass in silence."""
        if field := options["gold_field"]:
            n_gold = Gold.objects.filter(item__source=done, rule=IMPORTED).count()
            self.say(f"{n_gold:,} of the new items came with a gold label in {field!r}.")
        if field := options["silver_field"]:
            silver = Prediction.objects.filter(item__source=done, prompt__annotator=IMPORTED, status="ok")
            self.say(f"{silver.count():,} of the new items came with a machine's label in {field!r}.")
