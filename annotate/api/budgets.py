"""Money: caps, the switch that stops spending, and the ledger. Amounts are integers in micro-units."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Input, Integer, Output, PageQuery
from annotate.api.http.operations import operation
from annotate.models import Budget, LedgerEntry
from annotate.money import budgets
from annotate.silver import quotes


class BudgetOutput(Output):
    kind = serializers.ChoiceField(choices=Budget.Kind.choices)
    currency = serializers.CharField(source="project.currency")
    cap_micros = serializers.IntegerField(allow_null=True, help_text="Null: none. Machines are not paid without one.")
    reserved_micros = serializers.IntegerField()
    settled_micros = serializers.IntegerField()
    written_off_micros = serializers.IntegerField()
    left_micros = serializers.IntegerField(allow_null=True)
    is_stopped = serializers.BooleanField()
    alert = serializers.SerializerMethodField(help_text="The threshold that is passed: 50, 80 or 100 percent, or null.")

    def get_alert(self, budget: Budget) -> int | None:
        return budgets.alert(budget)


class CapInput(Input):
    cap_micros = Integer(allow_null=True, max_value=budgets.MAX_MICROS)


class EntryOutput(Output):
    """One attempt to spend, which ends exactly once."""

    id = serializers.CharField(source="public_id")
    kind = serializers.CharField(source="budget.kind")
    state = serializers.ChoiceField(choices=LedgerEntry.State.choices)
    reserved_micros = serializers.IntegerField()
    final_micros = serializers.IntegerField(allow_null=True, help_text="Null while it is reserved.")
    n_input_tokens = serializers.IntegerField(allow_null=True)
    n_output_tokens = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    run = serializers.CharField(source="run.public_id", allow_null=True, default=None)
    item = serializers.CharField(source="item.public_id", allow_null=True, default=None)
    person = serializers.CharField(source="lease.annotator.public_id", allow_null=True, default=None)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class LedgerQuery(PageQuery):
    kind = serializers.ChoiceField(choices=Budget.Kind.choices, required=False)
    state = serializers.ChoiceField(choices=LedgerEntry.State.choices, required=False)
    run = serializers.CharField(max_length=20, required=False)
    item = serializers.CharField(max_length=20, required=False)


class RangeOutput(Output):
    low = serializers.IntegerField()
    likely = serializers.IntegerField()
    high = serializers.IntegerField(help_text="Cannot be passed by one attempt for each item.")


class QuoteQuery(Input):
    failed_again = serializers.BooleanField(
        required=False, default=False, help_text="Of the items whose answer failed instead of those without one."
    )


class QuoteOutput(Output):
    """A dry run: nothing was sent, nothing was reserved."""

    n_items = serializers.IntegerField(help_text="That have no answer yet.")
    n_read = serializers.IntegerField(help_text="Of these, on which the figures rest.")
    input_tokens = RangeOutput()
    output_tokens = RangeOutput()
    micros = RangeOutput()
    most_micros = serializers.IntegerField(help_text="For the dearest item: what has to be free for a start.")
    cap_micros = serializers.IntegerField(allow_null=True)
    left_micros = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField()
    refusal = serializers.CharField(allow_null=True, help_text="Why not even one item would be asked now.")
    fits = serializers.BooleanField(help_text="Whether all of it stays below the cap, at its likely price.")


class Quote(Endpoint):
    @operation("See what pre-labeling would cost", scope="read", needs="manage", query=QuoteQuery, returns=QuoteOutput)
    def get(self, request: Request) -> Any:
        """409 where this project has no connection that can be asked."""
        return quotes.quote(project=self.member.project, by=self.me, n_previews=0, **self.query)


class Budgets(Endpoint):
    @operation("List budgets", scope="read", needs="money", returns=BudgetOutput, is_paged=True, newest_first=False)
    def get(self, request: Request) -> Any:
        return self.member.project.budgets.select_related("project")


class OneBudget(Endpoint):
    @operation("Read a budget", scope="read", needs="money", returns=BudgetOutput)
    def get(self, request: Request, kind: str) -> Any:
        return budgets.of(self.member.project, kind)

    @operation("Set the cap of a budget", scope="manage", needs="manage", body=CapInput, returns=BudgetOutput)
    def put(self, request: Request, kind: str) -> Any:
        """Never below what is spent and reserved already."""
        return budgets.set_cap(project=self.member.project, kind=kind, by=self.me, **self.body)


class StopSpending(Endpoint):
    @operation("Stop all spending of this kind", scope="manage", needs="manage", returns=BudgetOutput)
    def post(self, request: Request, kind: str) -> Any:
        """Nothing more is reserved, so nothing more is sent or handed out."""
        return budgets.stop(project=self.member.project, kind=kind, by=self.me)


class ResumeSpending(Endpoint):
    @operation("Let money be spent again", scope="manage", needs="manage", returns=BudgetOutput, may_fail=False)
    def post(self, request: Request, kind: str) -> Any:
        return budgets.resume_spending(project=self.member.project, kind=kind, by=self.me)


class Ledger(Endpoint):
    @operation("List the ledger", scope="read", needs="money", query=LedgerQuery, returns=EntryOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        names = ("kind", "state", "run", "item")
        return budgets.entries(self.member.project, **{name: self.query.get(name) for name in names})
