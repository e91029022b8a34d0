"""manage.py set_budget: set a cap."""

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError

from annotate.management.base import GoldloopCommand
from annotate.models import Budget
from annotate.money import budgets


class Command(GoldloopCommand):
    help = "Set what a project may spend in all on machines or on people; it is never exceeded."

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", choices=Budget.Kind.values, help="machine or human")
        parser.add_argument("cap", metavar="AMOUNT", help="in the project's currency, for instance 5.00; or none")

    def run(self, options: dict[str, Any]) -> None:
        budget = budgets.set_cap(
            project=self.project, kind=options["kind"], cap_micros=micros(options["cap"]), by=self.by
        )
        figures = {"spent": budget.spent_micros, "reserved": budget.reserved_micros}
        told = ", ".join(f"{budgets.amount(n, self.project.currency)} {name}" for name, n in figures.items())
        cap = "no cap"
        if budget.cap_micros is not None:
            cap = f"a cap of {budgets.amount(budget.cap_micros, self.project.currency)}"
        self.say(f"{self.project.slug}: {cap} for {options['kind']} money; {told}.")


def micros(text: str) -> int | None:
    """A typed amount in micro-units; None for "none", which removes the cap."""
    if text.lower() == "none":
        return None
    try:
        amount = Decimal(text) * 1_000_000
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount != amount.to_integral_value():
        raise CommandError(f"{text!r} is no amount; give for instance 5 or 0.25, with at most six decimals.")
    return int(amount)
