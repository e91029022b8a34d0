"""manage.py sample: draw a round."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import orjson
from django.db.models import Count

from annotate import files, projects, rounds
from annotate.errors import InvalidInput
from annotate.management.base import GoldloopCommand
from annotate.modalities import modality
from annotate.models import Label, Round
from annotate.reports import round_sizes


class Command(GoldloopCommand):
    help = (
        "Draw the next round: which items people are asked next. The first round is four fifths reference sample "
        "(to learn how the machine errs) and one fifth audit (to report accuracy); later rounds are mostly the "
        "items where the machine is least sure. Write the questions to a file with --questions, have people "
        "answer them, and read the answers with import_annotations."
    )

    def add(self, parser: ArgumentParser) -> None:
        size = parser.add_mutually_exclusive_group()
        size.add_argument("--batch", type=int, default=100, help="how many questions (default 100)")
        size.add_argument(
            "--everything", action="store_true", help="ask every item that has no gold yet, for a pool labeled whole"
        )
        size.add_argument(
            "--items",
            type=Path,
            metavar="FILE",
            help="ask the items whose ids stand in FILE, one per line, chosen by what they say: a list made by arm, "
            "split or random number would bend the audit; the samples are drawn besides",
        )
        parser.add_argument(
            "--request",
            metavar="LABEL",
            help="ask only about items that this label is predicted for, drawn at random: for a label with little gold",
        )
        parser.add_argument(
            "--questions",
            type=Path,
            metavar="FILE.jsonl",
            help="write the questions there, one per line, without any machine's answer",
        )

    def run(self, options: dict[str, Any]) -> None:
        if options["request"] is not None and (options["everything"] or options["items"]):
            raise InvalidInput("A round asks for items of a label, for everything or for the items of a file.")
        label = self._label(options["request"]) if options["request"] is not None else None
        current = rounds.draw_round(
            project=self.project,
            batch=options["batch"],
            everything=options["everything"],
            names=_ids(options["items"]) if options["items"] else (),
            request=label,
            by=self.by,
        )
        arms = dict(current.draws.values_list("arm").annotate(n=Count("id")))
        described = ", ".join(f"{n} {arm}" for arm, n in sorted(arms.items()))
        self.say(
            f"Round {current.index} of {self.project.slug} is open: {current.queue.count()} questions ({described})."
        )
        size = round_sizes.facts(self.project, current.index)
        if said := round_sizes.briefly(size, current.queue.count()):
            self.say(said)
        if options["questions"]:
            files.write_whole(options["questions"].resolve(), questions(current))
            self.say(f"The questions are in {options['questions']}.")

    def _label(self, name: str) -> Label:
        labels = projects.labels_of(projects.current_schema(self.project))
        found = next((label for label in labels if label.name == name), None)
        if found is None:
            names = ", ".join(label.name for label in labels[:12])
            raise InvalidInput(f"{name!r} is not one of the labels: {names}")
        return found


def _ids(path: Path) -> list[str]:
    """The ids in a file, one per line, without blank lines and blanks around ids; InvalidInput if it has none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as text: {error}.") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise InvalidInput(f"{path} names no item.")
    return found


def questions(current: Round) -> list[bytes]:
    """A JSON line per question, in the order of asking, without arm and machine label, so that answers are blind."""
    entries = current.queue.select_related("item__content").order_by("position")
    return [
        orjson.dumps(
            {
                "id": entry.item.external_id,
                "item": entry.item.public_id,
                **dict(
                    zip(
                        modality(entry.item.modality).FIELDS,
                        modality(entry.item.modality).contents(entry.item.content.payload),
                        strict=True,
                    )
                ),
            }
        )
        + b"\n"
        for entry in entries
    ]
