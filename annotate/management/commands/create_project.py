"""manage.py create_project: make a project from a file of labels."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotate import modalities, projects
from annotate.errors import InvalidInput
from annotate.management.base import GoldloopCommand, find_user
from annotate.models.project import GoldRule, Strategy

_FIELDS = (
    "modality",
    "seed",
    "overlap",
    "gold_rule",
    "agree_k",
    "strategy",
    "audit_target",
    "audit_share",
    "reference_target",
    "target_accuracy",
    "currency",
)


class Command(GoldloopCommand):
    help = (
        "Make a project from a JSON file of labels: a list of names, or of objects with name, definition and "
        "examples. Definitions make the offline annotator better: it compares items with them. "
        'Example: [{"name": "refund", "definition": "asks for money back", "examples": ["I want it back"]}, "other"]'
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the project is called; its short name is made from it")
        parser.add_argument("labels", type=Path, metavar="LABELS.json", help="the labels, two or more")
        parser.add_argument("--owner", required=True, metavar="EMAIL", help="who owns it (see create_user)")
        parser.add_argument("--slug", default="", help="short name for commands and addresses (a-z, 0-9, hyphens)")
        parser.add_argument(
            "--modality",
            metavar="M",
            help=f"what an item is: {' or '.join(modalities.NAMES)} (default text); a pair has text_a and text_b",
        )
        parser.add_argument("--seed", type=int, help="decides the order of questions; default: random")
        parser.add_argument("--overlap", type=int, help="how many people answer each question (default 1)")
        parser.add_argument(
            "--gold-rule",
            choices=GoldRule.values,
            help="when answers become gold: one trusted person (default), or agree-k people",
        )
        parser.add_argument("--agree-k", type=int, help="how many must agree under agree_k (default 2)")
        parser.add_argument(
            "--strategy", choices=Strategy.values, help="how the uncertain items are chosen (default: margin)"
        )
        parser.add_argument("--audit-target", type=int, help="size at which the audit sample is large enough (200)")
        parser.add_argument(
            "--audit-share", type=float, help="share of each round that is audited (default: .20 then .25)"
        )
        parser.add_argument("--reference-target", type=int, help="size of the reference sample (150)")
        parser.add_argument("--target-accuracy", type=float, help="what you want to reach, for instance 0.95")
        parser.add_argument("--currency", help="three letters (USD)")
        parser.add_argument("--human-price", type=float, help="price of one human label, in the currency")

    def run(self, options: dict[str, Any]) -> None:
        settings = {field: options[field] for field in _FIELDS if options[field] is not None}
        if options["human_price"] is not None:
            if not 0 <= options["human_price"] < 1e6:
                raise InvalidInput("A price lies between 0 and 1,000,000.")
            settings["human_price_micros"] = round(options["human_price"] * 1_000_000)
        project = projects.create(
            name=options["name"],
            slug=options["slug"],
            labels=projects.parse_labels(read_json(options["labels"])),
            by=find_user(options["owner"]),
            **settings,
        )
        self.say(f"Made the project {project.slug} (id {project.public_id}).")
        self.say(f"Its secret key is committed to: SHA-256 {project.key_commitment}")


def read_json(path: Path) -> object:
    """The content of a JSON file; InvalidInput says what is wrong and where."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}, line {error.lineno}: {error.msg}.") from None
    except RecursionError:
        raise InvalidInput(f"{path} is nested too deeply.") from None
