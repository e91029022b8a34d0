"""manage.py change_labels: change a project's labels, see before what would follow, or take the last change back."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotate import label_changes, projects
from annotate.errors import InvalidInput
from annotate.label_changes import Fate, NextLabel, Preview
from annotate.management.base import GoldloopCommand
from annotate.management.commands.create_project import read_json


class Command(GoldloopCommand):
    help = (
        "Change a project's labels by a JSON file: a list of names, or of objects with name, definition and examples. "
        'Beside them an object may have "was" (names of today: one renames, several merge, a name in several labels is '
        'split; left out: the label of the same name, else a new one), "new_meaning" (true: gold of it becomes void), '
        '"machine_labels" (true for the part of a split label that machine labels read as) and "takes_from" (of a new '
        "label: names whose items may belong to it; left out: all). A label of today that stands nowhere is retired. "
        "What each does is in docs/labels.md; --preview says it in counts and stores nothing."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, nargs="?", metavar="LABELS.json", help="all labels of the next version")
        parser.add_argument("--preview", action="store_true", help="only say what would follow")
        parser.add_argument("--undo", action="store_true", help="take the last change back, if nothing followed it yet")

    def run(self, options: dict[str, Any]) -> None:
        path, is_preview = options["file"], options["preview"]
        if options["undo"] == (path is not None) or (options["undo"] and is_preview):
            raise InvalidInput("Give a file of labels, or --undo, not both.")
        if options["undo"]:
            schema = label_changes.undo(project=self.project, by=self.by)
            self.say(f"Taken back: version {schema.version} of the labels of {self.project.slug} is in force again.")
            return
        new = label_changes.parse(read_json(path), projects.current_schema(self.project))
        self._tell(label_changes.preview(project=self.project, new=new, by=self.by))
        if not is_preview:
            self._change(new)

    def _change(self, new: list[NextLabel]) -> None:
        before = projects.current_schema(self.project).version
        schema = label_changes.save(project=self.project, new=new, by=self.by, base=before)
        is_new = schema.version != before
        self.say(f"The labels of {self.project.slug} are {'now' if is_new else 'still'} version {schema.version}.")

    def _tell(self, effect: Preview) -> None:
        for fate in effect.fates:
            self.say(_line(fate))
        for name in effect.added:
            self.say(f"{name}: new")
        self.say(
            f"Void: {effect.n_void:,} gold labels. Asked again: "
            f"{'at most ' if effect.is_at_most else ''}{effect.n_asked_again:,} items of the samples. "
            f"Settled: {effect.n_settled:,} disputes. "
            f"Models {'go on delivering' if effect.keeps_models else 'deliver again after training'}."
        )


def _line(fate: Fate) -> str:
    becomes = " + ".join(fate.becomes) or "retired"
    gold = f"{fate.n_gold:,} gold labels {'stay' if fate.keeps_gold else 'become void'}"
    machine = (
        f"{fate.n_silver:,} machine labels {f'read as {fate.reads_as}' if fate.reads_as else 'are no valid answer'}"
    )
    return f"{fate.name}: {becomes}; {gold}; {machine}"
