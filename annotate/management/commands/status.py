"""manage.py status: where the loop of a project stands."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from annotate import access
from annotate.management.base import GoldloopCommand
from annotate.management.tables import estimate_rows, money, table
from annotate.models import Project
from annotate.reports import next_step, progress


class Command(GoldloopCommand):
    help = "Say where the loop stands: items, labels, money, accuracy, what to do next. Without a project: list all."
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", nargs="?", metavar="PROJECT", help="short name or public id")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def run(self, options: dict[str, Any]) -> None:
        if not options["project"]:
            self._list()
            return
        owner = self._acting(options["project"], None)
        project = access.project_for(owner, options["project"], to="view")
        now = progress.progress(project)
        step = next_step.choose(project, now)
        version, estimates = progress.latest_estimates(project)
        if options["json"]:
            self.say(
                json.dumps(
                    {**asdict(now), "round": now.round.index if now.round else None, "next": step},
                    default=str,
                )
            )
            return
        simulated = "  (simulated: answers come from a file, not from people)" if project.is_simulated else ""
        self.say(f"{project.name} [{project.slug}]{simulated}")
        self.say(f"  items    {now.n_items:,} ({now.n_withdrawn:,} withdrawn)")
        self.say(f"  silver   {now.n_silver:,}, and {now.n_failed:,} answers that give no label")
        self.say(f"  gold     {now.n_gold:,} that train, {now.n_audit_gold:,} that only audit")
        self.say(f"  answers  {now.n_answers:,}, skips {now.n_skips:,}")
        self.say(f"  money    {money(now.human_micros, project)} people, {money(now.machine_micros, project)} machine")
        if now.round:
            self.say(f"  round    {now.round.index}, {now.round.state}, {now.n_waiting:,} questions wait")
        if version:
            self.say(f"  accuracy of {version}, frozen {version.frozen_at:%Y-%m-%d %H:%M} UTC:")
            self.say(table(estimate_rows(estimates), indent=4))
        self.say(f"  key      SHA-256 {project.key_commitment}")
        self.say(f"Next: {step}")

    def _list(self) -> None:
        rows = [
            [project.slug, project.name, f"{project.created_at:%Y-%m-%d}"]
            for project in Project.objects.order_by("slug")
        ]
        if not rows:
            self.say("There are no projects yet. Make one with `manage.py create_project`, or run `make demo`.")
            return
        self.say(table([["project", "name", "made"], *rows]))
