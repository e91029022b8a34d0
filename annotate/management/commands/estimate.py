"""manage.py estimate: accuracies with their intervals."""

import json
from argparse import ArgumentParser
from typing import Any

from annotate.learning import estimation
from annotate.management.base import GoldloopCommand
from annotate.management.tables import estimate_rows, table


class Command(GoldloopCommand):
    help = (
        "Say how accurate the LLM's, the model's and the delivered labels are, each with a 95 % interval, from the "
        "audit sample only. 'Accurate' means: agrees with the gold rule."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object per figure")
        parser.add_argument("--per-class", action="store_true", help="precision and recall per label too")

    def run(self, options: dict[str, Any]) -> None:
        rows = estimation.estimate(project=self.project, by=self.by)
        if not options["per_class"]:
            rows = [row for row in rows if row.label_id is None]
        if not options["json"]:
            self.say(table(estimate_rows(rows)))
            return
        for row in rows:
            names = (
                "estimand",
                "value",
                "low",
                "high",
                "n",
                "n_unresolved",
                "population",
                "method",
                "reason",
            )
            fields = {name: getattr(row, name) for name in names}
            label = row.label.name if row.label else None
            self.say(json.dumps({**fields, "label": label, "delivered_version": row.delivered_version.version}))
