"""LLM servers: owners of the site keep and lend them, admins of a project choose one that was lent."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Choice, Flag, Input, Integer, Output, PublicId, Text
from annotate.api.http.operations import operation, site_operation
from annotate.errors import NotFound
from annotate.models import Connection, Project, User
from annotate.models.connection import LIMIT_NAMES
from annotate.silver import connections


class ConnectionOutput(Output):
    """A server with one model and its prices. Its key is never shown, only whether there is one and how it ends."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    base_url = serializers.CharField()
    model = serializers.CharField()
    currency = serializers.CharField()
    has_key = serializers.SerializerMethodField()
    key_hint = serializers.CharField(help_text="Its last characters.")
    input_price_micros = serializers.IntegerField(allow_null=True, help_text="Per million tokens; null: unknown.")
    output_price_micros = serializers.IntegerField(allow_null=True)
    max_concurrency = serializers.IntegerField()
    requests_per_minute = serializers.IntegerField(allow_null=True)
    timeout_seconds = serializers.IntegerField()
    allows_private = serializers.BooleanField()
    n_alternatives = serializers.IntegerField(help_text="Log-probabilities asked for; a test may lower it.")
    limit_name = serializers.CharField()
    sends_temperature = serializers.BooleanField()
    is_active = serializers.BooleanField()
    lent_to = serializers.SerializerMethodField(help_text="Projects, by slug.")
    created_at = serializers.DateTimeField()

    def get_lent_to(self, connection: Connection) -> list[str]:
        return sorted(project.slug for project in connection.lent_to.all())

    def get_has_key(self, connection: Connection) -> bool:
        return bool(connection.key_encrypted)


class ConnectionChangeInput(Input):
    name = Text(required=False, max_length=100)
    base_url = Text(required=False, max_length=500, help_text="As far as /v1.")
    key = Text(
        required=False,
        max_length=1_000,
        allow_blank=True,
        help_text="Kept encrypted, never shown; dropped where the address changes to another server.",
    )
    model = Text(required=False, max_length=200)
    currency = Text(required=False, min_length=3, max_length=3)
    input_price_micros = Integer(required=False, allow_null=True, max_value=connections.MAX_PRICE_MICROS)
    output_price_micros = Integer(required=False, allow_null=True, max_value=connections.MAX_PRICE_MICROS)
    max_concurrency = Integer(required=False, min_value=1, max_value=64)
    requests_per_minute = Integer(required=False, allow_null=True, min_value=1, max_value=1_000_000)
    timeout_seconds = Integer(required=False, min_value=1, max_value=600)
    allows_private = Flag(required=False)
    limit_name = Choice(required=False, choices=list(LIMIT_NAMES), help_text="What the model calls its limit.")
    sends_temperature = Flag(required=False, help_text="False for models that refuse a temperature.")


class ConnectionInput(ConnectionChangeInput):
    name = Text(max_length=100)
    base_url = Text(max_length=500, help_text="As far as /v1.")
    model = Text(max_length=200)


class ActiveInput(Input):
    is_active = Flag()


class ProbeOutput(Output):
    is_usable = serializers.BooleanField()
    is_reachable = serializers.BooleanField()
    latency_seconds = serializers.FloatField(allow_null=True)
    sentence = serializers.CharField()
    n_alternatives = serializers.IntegerField(help_text="Of how many labels it tells probabilities; 0: of none.")
    cost_micros = serializers.IntegerField()


class UsableOutput(Output):
    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    model = serializers.CharField()
    currency = serializers.CharField()
    input_price_micros = serializers.IntegerField(allow_null=True)
    output_price_micros = serializers.IntegerField(allow_null=True)


class AnnotatorOutput(Output):
    annotator = serializers.CharField()
    connection = serializers.CharField(source="connection.public_id", allow_null=True, default=None)


class AnnotatorInput(Input):
    annotator = Choice(choices=[connections.OFFLINE, connections.ANNOTATOR])
    connection = PublicId(required=False, allow_null=True, help_text="One that was lent to this project.")


class Connections(Endpoint):
    @site_operation(
        "List connections of the site", scope="read", returns=ConnectionOutput, is_paged=True, newest_first=False
    )
    def get(self, request: Request) -> Any:
        """For owners of the site."""
        return connections.all_of_site(self.me)

    @site_operation(
        "Register a connection", scope="manage", body=ConnectionInput, returns=ConnectionOutput, status=201, makes=True
    )
    def post(self, request: Request) -> Any:
        """For owners of the site; lent to nobody yet."""
        return _with_loans(connections.create(by=self.me, **self.body), self.me)


class OneConnection(Endpoint):
    @site_operation("Read a connection", scope="read", returns=ConnectionOutput)
    def get(self, request: Request, connection: str) -> Any:
        """For owners of the site."""
        return connections.find(public_id=connection, by=self.me)

    @site_operation("Change a connection", scope="manage", body=ConnectionChangeInput, returns=ConnectionOutput)
    def patch(self, request: Request, connection: str) -> Any:
        """For owners of the site. Only what is named changes."""
        found = connections.find(public_id=connection, by=self.me)
        return _with_loans(connections.change(connection=found, by=self.me, **self.body), self.me)


class SwitchConnection(Endpoint):
    @site_operation("Switch a connection on or off", scope="manage", body=ActiveInput, returns=ConnectionOutput)
    def put(self, request: Request, connection: str) -> Any:
        """For owners of the site. Switched off, nobody asks it any more, at once."""
        found = connections.find(public_id=connection, by=self.me)
        return _with_loans(connections.set_active(connection=found, by=self.me, **self.body), self.me)


class TryConnection(Endpoint):
    @site_operation("Ask a connection a small question", scope="manage", returns=ProbeOutput, may_fail=False)
    def post(self, request: Request, connection: str) -> Any:
        """For owners of the site, which pays. Takes up to ten seconds."""
        return connections.test(connection=connections.find(public_id=connection, by=self.me), by=self.me)


class LendConnection(Endpoint):
    @site_operation("Lend a connection to a project", scope="manage", status=204)
    def put(self, request: Request, connection: str, slug: str) -> Any:
        """For owners of the site."""
        found = connections.find(public_id=connection, by=self.me)
        connections.lend(connection=found, project=_project(slug), by=self.me)

    @site_operation("Take a connection back from a project", scope="manage", status=204)
    def delete(self, request: Request, connection: str, slug: str) -> Any:
        """For owners of the site. What it was answered stays."""
        found = connections.find(public_id=connection, by=self.me)
        connections.take_back(connection=found, project=_project(slug), by=self.me)


class UsableConnections(Endpoint):
    @operation(
        "List connections that this project may use",
        scope="read",
        needs="manage",
        returns=UsableOutput,
        is_paged=True,
        newest_first=False,
    )
    def get(self, request: Request) -> Any:
        return connections.usable(self.member.project)


class Annotator(Endpoint):
    @operation("Read who labels items first", scope="read", needs="manage", returns=AnnotatorOutput)
    def get(self, request: Request) -> Any:
        return self.member.project

    @operation(
        "Choose who labels items first", scope="manage", needs="manage", body=AnnotatorInput, returns=AnnotatorOutput
    )
    def put(self, request: Request) -> Any:
        """A connection that was lent, or without one the annotator in this process."""
        project, name = self.member.project, self.body.get("connection")
        found = connections.usable(project).filter(public_id=name).first() if name else None
        if name and found is None:
            raise NotFound(_("There is no such connection."))
        return connections.choose(project=project, connection=found, annotator=self.body["annotator"], by=self.me)


def _project(slug: str) -> Project:
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        raise NotFound(_("There is no such project."))
    return found


def _with_loans(connection: Connection, by: User) -> Connection:
    """The same connection, read again with the projects that it is lent to."""
    return connections.find(public_id=connection.public_id, by=by)
