"""Who a token speaks for."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from annotate.accounts import addresses
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation
from annotate.models import MailState, Proof


class MeOutput(Output):
    id = serializers.CharField(source="user.public_id")
    name = serializers.CharField(source="user.name")
    email = serializers.CharField(source="user.email")
    is_site_owner = serializers.BooleanField(source="user.is_site_owner")
    proof = serializers.ChoiceField(source="user.proof", choices=Proof.choices)
    token = serializers.CharField(source="name", help_text="What this token is called.")
    scope = serializers.CharField()
    expires_at = serializers.DateTimeField()


class AddressLinkOutput(Output):
    email = serializers.CharField(source="mailed_to")
    mail = serializers.ChoiceField(source="mail_state", choices=MailState.choices)
    expires_at = serializers.DateTimeField()


class Me(Endpoint):
    @operation("Who this token speaks for", scope="read", returns=MeOutput)
    def get(self, request: Request) -> Any:
        return request.auth


class MyAddress(Endpoint):
    @operation(
        "Mail me a link that proves my address",
        scope="manage",
        returns=AddressLinkOutput,
        status=201,
        makes=True,
        may_fail=False,
    )
    def post(self, request: Request) -> Any:
        """I open it in a browser, signed in. Refused where the address is proven, or the site sends no mail."""
        return addresses.send_link(by=self.me)
