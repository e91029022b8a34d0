"""manage.py withdraw: items leave the pool."""

from argparse import ArgumentParser
from typing import Any

from annotate import items
from annotate.management.base import GoldloopCommand


class Command(GoldloopCommand):
    help = (
        "Withdraw items from a project: they are no longer drawn, labeled or exported. All of the named items "
        "or none. Nothing is deleted, and importing the same content again brings an item back."
    )

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", metavar="ID", nargs="+", help="the id that the item had in its file")
        parser.add_argument(
            "--public",
            action="store_true",
            help="the IDs are Goldloop's own, as in the column `id` of an export",
        )

    def run(self, options: dict[str, Any]) -> None:
        field = "public_ids" if options["public"] else "external_ids"
        n_items = items.withdraw(project=self.project, by=self.by, **{field: options["ids"]})
        self.say(f"{n_items:,} item{'' if n_items == 1 else 's'} withdrawn.")
