"""The seals of a project: the heads that somebody may keep elsewhere (docs/seals.md)."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation
from annotate.models import Seal


class SealOutput(Output):
    """A link of the project's chain; the latest one is the head."""

    sequence = serializers.IntegerField(help_text="1, 2, 3, … without gaps.")
    hash = serializers.CharField(help_text="SHA-256. Kept elsewhere, it proves all that is sealed up to it.")
    previous = serializers.CharField(help_text="The hash of the seal before; zeros in the first.")
    n_rows = serializers.IntegerField(help_text="Rows and changes of rows that it seals.")
    is_vouched = serializers.BooleanField(help_text="False: its rows are older than the project's chain.")
    created_at = serializers.DateTimeField()


class Seals(Endpoint):
    @operation("List seals", scope="read", needs="evidence", returns=SealOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        """The head first. Rows that came since the head get a seal within about a minute."""
        return Seal.objects.filter(project=self.member.project)
