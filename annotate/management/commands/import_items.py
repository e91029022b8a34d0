"""manage.py import_items: a CSV or JSON Lines file becomes items."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotate.dataset import downloads, manifest
from annotate.errors import InvalidInput
from annotate.formats import detection, streams
from annotate.formats.columns import propose
from annotate.formats.dialect import DELIMITERS, ENCODINGS, FORMATS, Dialect
from annotate.formats.reader import reader_of
from annotate.imports import confidence, ingest
from annotate.imports.writer import IMPORTED
from annotate.management.base import GoldloopCommand
from annotate.modalities import modality
from annotate.models import Gold, Import, Prediction, RejectedRow

_SHOWN = 10
_ON_OFF = {"on": True, "off": False}
_YES_NO = {"yes": 1, "no": 0}
_DELIMITERS = {name: sign for sign, name in DELIMITERS.items()}


class Command(GoldloopCommand):
    help = (
        'Import a file into a project, plain or gzip: JSON Lines (one {"id": ..., "text": ...} per line), a JSON array '
        "of such objects, a table (CSV, TSV), or lines of text; which of them it is, its content tells, unless you do. "
        "In a project of pairs the columns are text_a and text_b. Columns of content and id are found by their names "
        "unless they are given; a field of an object in a row is named by its path: data.text. A column of labels is "
        "taken as such only if you name it and say what its labels are: --gold-column, --silver-column. "
        "Lines that cannot be used are set aside with their reason; exact duplicates become one item. "
        "Nothing is visible before all of it is there. If it is interrupted, the same command goes on."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", nargs="?", type=Path, help="the file: JSON Lines or CSV, plain or .gz"
        )
        self._add_reading(parser)
        parser.add_argument(
            "--gold-field",
            "--gold-column",
            metavar="F",
            help="column with labels that are right: they train, and no figure is reported from them",
        )
        parser.add_argument(
            "--silver-field",
            "--silver-column",
            metavar="F",
            help="column with a machine's labels: what Goldloop checks and corrects",
        )
        parser.add_argument(
            "--silver-confidence-field",
            "--confidence-column",
            metavar="F",
            help="column with the machine's confidence in its label, 0 to 1; used where there are two labels",
        )
        parser.add_argument(
            "--abandon",
            action="store_true",
            help="give up an import that was interrupted: its items, which nobody saw yet, are deleted",
        )

    def _add_reading(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, help="how the file is written (default: its content tells)")
        parser.add_argument("--encoding", choices=ENCODINGS, help="of a table (default: its content tells)")
        parser.add_argument(
            "--delimiter", choices=_DELIMITERS, help="of a table; none: a line is one cell (default: its content tells)"
        )
        parser.add_argument(
            "--header", choices=_YES_NO, help="whether the first line names the columns (default: its content tells)"
        )
        parser.add_argument(
            "--quoting",
            choices=_ON_OFF,
            help="whether double quotes enclose cells, or are characters like others (default: its content tells)",
        )
        parser.add_argument("--text-column", metavar="C", help="column with the text")
        parser.add_argument("--text-a-column", metavar="C", help="column with the first text of a pair")
        parser.add_argument("--text-b-column", metavar="C", help="column with the second text of a pair")
        parser.add_argument("--id-column", metavar="C", help="column with your own id of the row")

    def run(self, options: dict[str, Any]) -> None:
        if options["abandon"]:
            n_items = ingest.abandon_import(project=self.project, by=self.by)
            self.say(f"The unfinished import was abandoned; {n_items:,} hidden items were deleted.")
            if not options["file"]:
                return
        if not options["file"]:
            raise InvalidInput("Which file? Give its path, or --abandon.")
        dialect = self._dialect(options)
        done = ingest.import_items(
            project=self.project,
            path=options["file"],
            by=self.by,
            dialect=dialect,
            columns=self._columns(options, dialect),
            gold_field=options["gold_field"],
            silver_field=options["silver_field"],
            silver_confidence_field=options["silver_confidence_field"],
            show=self.progress("Import", "lines"),
        )
        downloads.of_import(done, by=self.by)
        self._tell(done)

    def _dialect(self, options: dict[str, Any]) -> Dialect:
        """The file's dialect as detected, except for what the command's options set."""
        choices: dict[str, Any] = {name: options[name] for name in ("format", "encoding") if options[name]}
        for name, option, known in (
            ("delimiter", "delimiter", _DELIMITERS), ("header_line", "header", _YES_NO), ("quoting", "quoting", _ON_OFF)
        ):  # fmt: skip
            if options[option]:
                choices[name] = known[options[option]]
        if choices.get("format") == "jsonl":
            return Dialect.from_json(choices)
        columns = [value for name, value in options.items() if name.endswith(("_column", "_field")) and value]
        with streams.opened(options["file"]) as file:
            found = detection.detect(file, options["file"], choices=choices, columns=columns)
        for note in found.notes:
            self.say(note)
        return found.dialect

    def _columns(self, options: dict[str, Any], dialect: Dialect) -> dict[str, str | None]:
        """The columns of content and id: from the options, else proposed by the names of the file's columns."""
        if dialect.export:
            return self._of_export(options)
        fields = modality(self.project.modality).FIELDS
        given = {name: options[f"{name}_column"] for name in (*fields, "id") if options[f"{name}_column"]}
        with streams.opened(options["file"]) as file:
            names = reader_of(dialect).names(file)
        proposed = propose(names, fields)
        if dialect.format != "csv":  # objects have our names, unless one alone fits better
            return {name: column for name, column in proposed.items() if self._fits(name, column, names)} | given
        columns = {name: given.get(name) or proposed[name] for name in (*fields, "id")}
        told = ", ".join(f"{name} from {column!r}" for name, column in columns.items() if column)
        self.say(f"Reading {FORMATS[dialect.format]} in {ENCODINGS[dialect.encoding]}: {told or 'no column fits'}.")
        if not dialect.header_line:
            self.say(
                f"No line names the columns, so they are numbered: {', '.join(map(repr, names[:20]))}. If the first "
                "line does, say --header yes."
            )
        return columns

    def _fits(self, role: str, column: str | None, names: list[str]) -> bool:
        """Whether a field of content or id stands under another name in the file, and that is told."""
        if role not in (*modality(self.project.modality).FIELDS, "id") or column is None or role in names:
            return False
        self.say(f"Reading {role} from {column!r}.")
        return True

    def _of_export(self, options: dict[str, Any]) -> dict[str, str | None]:
        """The columns that the options set; the others are found as exports call them. Says what the manifest says."""
        for sentence in manifest.beside(options["file"]):
            self.say(sentence)
        fields = modality(self.project.modality).FIELDS
        return {name: options[f"{name}_column"] for name in (*fields, "id") if options[f"{name}_column"]}

    def _tell(self, done: Import) -> None:
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
        self._tell_labels(done)
        for warning in done.options.get("warnings", []):
            self.say(warning)

    def _tell_labels(self, done: Import) -> None:
        """Print how many labels came in, so that a mistyped column name is noticed."""
        fields = done.options["fields"]
        if field := fields["gold"]:
            n_gold = Gold.objects.filter(item__source=done, rule=IMPORTED).count()
            self.say(f"{n_gold:,} of the new items came with a gold label in {field!r}.")
        if field := fields["silver"]:
            silver = Prediction.objects.filter(item__source=done, prompt__annotator=IMPORTED, status="ok")
            self.say(f"{silver.count():,} of the new items came with a machine's label in {field!r}.")
        for note in confidence.report(done):
            self.say(note)
