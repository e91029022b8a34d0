"""The methods that a project may train with."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation
from annotate.learning import method_choice


class ParameterOutput(Output):
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=["number", "integer", "choice"])
    default = serializers.JSONField()
    sentence = serializers.CharField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    choices = serializers.ListField(child=serializers.CharField())
    tries = serializers.ListField(
        child=serializers.JSONField(), help_text="What the search compares where the parameter is left out."
    )


class MethodOutput(Output):
    """`missing`: what of `needs` the project lacks; such a method cannot be chosen yet."""

    name = serializers.CharField()
    title = serializers.CharField()
    sentence = serializers.CharField()
    reference = serializers.CharField(source="method_source", help_text="The paper.")
    reproduces = serializers.ChoiceField(choices=["bits", "seed"])
    needs = serializers.ListField(child=serializers.CharField())
    missing = serializers.ListField(child=serializers.CharField())
    parameters = ParameterOutput(many=True)


class MethodsOutput(Output):
    methods = MethodOutput(many=True)


class Methods(Endpoint):
    @operation("List methods of training", scope="read", needs="evidence", returns=MethodsOutput)
    def get(self, request: Request) -> Any:
        """A run of the kind `train` takes the name of a method and values for its parameters."""
        return {"methods": [_shown(offer) for offer in method_choice.offers(self.member.project)]}


def _shown(offer: method_choice.Offer) -> dict[str, Any]:
    return {**vars(offer.method), "method_source": offer.method.source, "missing": offer.missing}
