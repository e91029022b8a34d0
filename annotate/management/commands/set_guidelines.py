"""manage.py set_guidelines: store guidelines from a file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotate import projects
from annotate.errors import InvalidInput
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Set a project's guidelines from a Markdown file. Each text is a version of its own; answers and "
        "predictions remember which one was in force."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.md", help="the guidelines, Markdown, UTF-8")

    def run(self, options: dict[str, Any]) -> None:
        path: Path = options["file"]
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path} is not UTF-8 (byte {error.start}).") from None
        guidelines = projects.set_guidelines(project=self.project, markdown=text, by=self.by)
        self.say(f"The guidelines of {self.project.slug} are version {guidelines.version}.")
