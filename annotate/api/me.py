"""Who a token speaks for."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation


class MeOutput(Output):
    id = serializers.CharField(source="user.public_id")
    name = serializers.CharField(source="user.name")
    email = serializers.CharField(source="user.email")
    is_site_owner = serializers.BooleanField(source="user.is_site_owner")
    token = serializers.CharField(source="name", help_text="What this token is called.")
    scope = serializers.CharField()
    expires_at = serializers.DateTimeField()


class Me(Endpoint):
    @operation("Who this token speaks for", scope="read", returns=MeOutput)
    def get(self, request: Request) -> Any:
        return request.auth
