"""manage.py simulate: play whole projects on labeled data."""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from annotate import projects, simulation
from annotate.errors import InvalidInput
from annotate.formats import jsonl
from annotate.management.base import GoldloopCommand
from annotate.management.commands.create_project import read_json
from annotate.management.tables import table
from annotate.modalities import modality_of
from annotate.models.project import Strategy
from models_ml.seeds import generator

Rows = list[dict[str, Any]]

_INSIDE = "GOLDLOOP_SIMULATION"  # set for the child process that works in the temporary database


class Command(GoldloopCommand):
    help = (
        "Run whole projects on labeled data with simulated people, in a database of its own that is thrown away: what "
        "would the loop cost and reach on data like mine? Files are JSON Lines with id, label and text, or text_a and "
        "text_b. Prints the state after each round: true accuracies (known from the labels), and the product's own "
        "estimates beside them."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--train", required=True, nargs="+", type=Path, metavar="F", help="the pool, plain or .gz")
        parser.add_argument("--test", type=Path, metavar="F", help="items outside the pool, for the model's accuracy")
        parser.add_argument("--items", type=int, metavar="N", help="a seeded sample of the pool instead of all")
        machine = parser.add_mutually_exclusive_group()
        machine.add_argument(
            "--annotator", default="offline", choices=["offline"], help="who pre-labels (default: offline)"
        )
        machine.add_argument(
            "--noisy-field",
            metavar="FIELD",
            help="take machine labels from this column instead; annotations:majority or annotations:NAME: from the "
            "annotators in the column annotations",
        )
        parser.add_argument(
            "--labels", type=Path, metavar="FILE", help="label definitions (JSON); default: names in the data"
        )
        parser.add_argument("--human-accuracy", type=float, default=1.0, metavar="P", help="share of right answers (1)")
        parser.add_argument("--human-price", type=float, default=0.0, metavar="P", help="price of one answer (0)")
        parser.add_argument(
            "--strategy", default=Strategy.MARGIN, choices=Strategy.values, help="how to choose (margin)"
        )
        parser.add_argument("--batch", type=int, default=100, metavar="B", help="questions per round (100)")
        parser.add_argument("--rounds", type=int, default=5, metavar="R", help="rounds (5)")
        parser.add_argument(
            "--audit-share", type=float, metavar="A", help="audited share of each round (.20, later .25)"
        )
        parser.add_argument("--seeds", default="1", metavar="S", help="5 means 1-5; 101-110 a range (default 1)")
        parser.add_argument("--json", action="store_true", help="one JSON object per seed and round")

    def run(self, options: dict[str, Any]) -> None:
        if os.environ.get(_INSIDE) != str(settings.DATABASES["default"]["NAME"]):
            self._start_inside()
            return
        call_command("migrate", verbosity=0)
        rows, tests = self._rows(options["train"]), self._rows([options["test"]] if options["test"] else [])
        labels = self._labels(options, rows)
        kind = modality_of(rows[0]).NAME
        simulation.check_rows(rows, labels, "the pool", kind)
        simulation.check_rows(tests, labels, "the test file", kind)
        if options["noisy_field"]:
            simulation.check_noisy_field(rows, labels, options["noisy_field"])
        if not options["json"]:
            self.say("Simulated people answer from the data's labels; the accuracies are true, not estimated.")
            self.say(table([_HEAD]))
        for seed in seeds_of(options["seeds"]):
            self._simulate(self._setup(options, rows, tests, labels, seed), seed, options["json"])

    def _start_inside(self) -> None:
        """Run this command in a child process with a temporary database and folder, never the site's own."""
        with tempfile.TemporaryDirectory(prefix="goldloop-") as folder:
            database = str(Path(folder) / "simulation.sqlite3")
            environment = {
                **os.environ,
                "VAR_DIR": folder,
                "FILES_DIR": str(Path(folder) / "files"),
                "DATABASE_URL": f"sqlite:///{database}",
                "REMEMBER_VECTORS": "1",
                _INSIDE: database,
            }
            manage = Path(settings.BASE_DIR) / "manage.py"
            arguments = sys.argv[sys.argv.index("simulate") :]
            done = subprocess.run([sys.executable, str(manage), *arguments], env=environment, check=False)  # noqa: S603
        if done.returncode:
            raise CommandError("The simulation stopped; see above.", returncode=done.returncode)

    def _simulate(self, setup: simulation.Setup, seed: int, as_json: bool) -> None:
        started = time.monotonic()
        show = self.progress(f"Seed {seed}", "rounds")
        with tempfile.TemporaryDirectory() as folder:
            for record in simulation.simulate(setup, seed, Path(folder)):
                show(record["round"], setup.rounds)
                record["seconds"] = round(time.monotonic() - started, 1)
                self.say(json.dumps(record) if as_json else table([_line(record)]))

    def _setup(
        self, options: dict[str, Any], rows: Rows, tests: Rows, labels: tuple[projects.NewLabel, ...], seed: int
    ) -> simulation.Setup:
        for name in ("items", "batch", "rounds"):
            if options[name] is not None and options[name] < 1:
                raise InvalidInput(f"--{name} is at least 1.")
        if not 0 <= options["human_price"] < 1e6:
            raise InvalidInput("--human-price lies between 0 and 1,000,000.")
        if not 0 <= options["human_accuracy"] <= 1:
            raise InvalidInput("--human-accuracy is a share between 0 and 1.")
        if options["items"] is not None and options["items"] < len(rows):
            chosen = generator(seed, "items").choice(len(rows), size=options["items"], replace=False)
            rows = [rows[i] for i in sorted(chosen.tolist())]
        return simulation.Setup(
            rows=tuple(rows),
            test_rows=tuple(tests),
            labels=labels,
            modality=modality_of(rows[0]).NAME,
            noisy_field=options["noisy_field"],
            human_accuracy=options["human_accuracy"],
            strategy=options["strategy"],
            batch=options["batch"],
            rounds=options["rounds"],
            audit_share=options["audit_share"],
            human_price_micros=round(options["human_price"] * 1_000_000),
        )

    def _labels(self, options: dict[str, Any], rows: Rows) -> tuple[projects.NewLabel, ...]:
        if options["labels"]:
            return tuple(projects.parse_labels(read_json(options["labels"])))
        return tuple(projects.NewLabel(name) for name in sorted({str(row.get("label")) for row in rows}))

    def _rows(self, paths: list[Path]) -> Rows:
        return [row for path in paths for row in read_rows(path)]


_HEAD = [
    "seed",
    "round",
    "labels",
    "LLM   ",
    "model on test",
    "delivered",
    "estimate and interval ",
    "delivered by",
]


def _line(record: dict[str, Any]) -> list[str]:
    figure = record["delivered_estimate"]
    interval = f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})" if figure else "no figure"
    test = "-" if record["model_accuracy"] is None else f"{record['model_accuracy']:.1%}"
    cells = [
        str(record["seed"]),
        str(record["round"]),
        str(record["labels"]),
        f"{record['llm_accuracy']:.1%}",
        test,
        f"{record['delivered_accuracy']:.1%}",
        interval,
        record["delivered_by"],
    ]
    return [cell.ljust(len(head)) for cell, head in zip(cells, _HEAD, strict=True)]


def seeds_of(text: str) -> list[int]:
    """The seeds that an option names: '5' means 1 to 5, '101-110' the range with both ends."""
    first, dash, last = text.partition("-")
    try:
        seeds = list(range(int(first), int(last) + 1)) if dash else list(range(1, int(first) + 1))
    except ValueError:
        raise InvalidInput(f"--seeds {text!r}: give a count (5) or a range (101-110).") from None
    if not seeds:
        raise InvalidInput(f"--seeds {text!r} names no seed.")
    return seeds


def read_rows(path: Path) -> Rows:
    """The objects of a JSON Lines file, plain or gzipped; InvalidInput names the line that cannot be read."""
    rows: Rows = []
    with jsonl.opened(path) as file:
        jsonl.inspect(file, path)
        for number, line, is_whole in jsonl.lines(file):
            if not line.strip():
                continue
            try:
                rows.append(jsonl.parse(line if is_whole else b""))
            except InvalidInput as error:
                raise InvalidInput(f"{path}, line {number}: {error}.") from None
    return rows
