"""How right the labels are, with intervals, as stored when they were computed."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output, PageQuery
from annotate.api.http.operations import operation
from annotate.models import Estimate


class EstimateOutput(Output):
    """One figure about one delivered version, with its interval or the reason why there is none."""

    estimand = serializers.ChoiceField(choices=Estimate.Estimand.choices)
    label = serializers.IntegerField(source="label.index", allow_null=True, default=None)  # type: ignore[assignment]
    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()
    n_unresolved = serializers.IntegerField()
    n_had_file = serializers.IntegerField(
        allow_null=True,
        help_text="Answers by people who had the machine's labels in a file or list; null: was not counted.",
    )
    share_had_file = serializers.FloatField(allow_null=True, help_text="Of the answers, n without n_unresolved.")
    population = serializers.IntegerField(allow_null=True, help_text="Null: items still to come, without end.")
    method = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    delivered_version = serializers.IntegerField(source="delivered_version.version")
    round = serializers.IntegerField(source="round.index", allow_null=True, default=None)
    created_at = serializers.DateTimeField()


class EstimateQuery(PageQuery):
    estimand = serializers.ChoiceField(choices=Estimate.Estimand.choices, required=False)
    delivered_version = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)


class Estimates(Endpoint):
    @operation(
        "List estimates", scope="read", needs="evidence", query=EstimateQuery, returns=EstimateOutput, is_paged=True
    )
    def get(self, request: Request) -> Any:
        names = {"estimand": "estimand", "delivered_version": "delivered_version__version"}
        wanted = {field: self.query[name] for name, field in names.items() if name in self.query}
        rows = self.member.project.estimates.filter(**wanted).select_related("label", "round", "delivered_version")
        return rows.defer("delivered_version__delivery")
