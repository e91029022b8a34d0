"""What can be answered, and how to decide it: versions of labels and of guidelines."""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate import projects
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Input, Output, Text
from annotate.api.http.operations import operation
from annotate.errors import NotFound
from annotate.projects import NewLabel


class LabelOutput(Output):
    index = serializers.IntegerField(help_text="Names the label in answers, and its column in probabilities.")
    name = serializers.CharField()
    key = serializers.CharField(allow_null=True, help_text="The key that answers it on the screen.")
    colour = serializers.IntegerField(help_text="Of a palette of twelve.")
    definition = serializers.CharField()
    examples = serializers.ListField(child=serializers.CharField())


class SchemaOutput(Output):
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    labels = LabelOutput(many=True, source="labels.all")


class LabelInput(Input):
    name = Text(max_length=100)
    definition = Text(max_length=20_000, allow_blank=True, default="")
    examples = serializers.ListField(child=Text(max_length=20_000), max_length=100, default=list)


class SchemaInput(Input):
    labels = LabelInput(many=True, min_length=2, max_length=projects.MAX_LABELS)  # type: ignore[call-arg]


class GuidelinesOutput(Output):
    version = serializers.IntegerField()
    markdown = serializers.CharField()
    created_at = serializers.DateTimeField()


class GuidelinesInput(Input):
    markdown = Text(max_length=500_000)


class Schemas(Endpoint):
    @operation("List versions of the labels", scope="read", needs="view", returns=SchemaOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        return self.member.project.schemas.prefetch_related("labels")

    @operation(
        "Set the labels", scope="manage", needs="manage", body=SchemaInput, returns=SchemaOutput, status=201, makes=True
    )
    def post(self, request: Request) -> Any:
        """The next version, in force at once; only before anything was answered with an older one."""
        labels = new_labels(self.body["labels"])
        return projects.add_schema(project=self.member.project, labels=labels, by=self.me)


class OneSchema(Endpoint):
    @operation("Read one version of the labels", scope="read", needs="view", returns=SchemaOutput)
    def get(self, request: Request, version: int) -> Any:
        return _version(self.member.project.schemas, version)


class Guidelines(Endpoint):
    @operation("List versions of the guidelines", scope="read", needs="view", returns=GuidelinesOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        return self.member.project.guidelines.all()

    @operation(
        "Set the guidelines",
        scope="manage",
        needs="manage",
        body=GuidelinesInput,
        returns=GuidelinesOutput,
        status=201,
        makes=True,
    )
    def post(self, request: Request) -> Any:
        """The next version, in force at once; the same text again is no new version."""
        return projects.set_guidelines(project=self.member.project, by=self.me, **self.body)


class OneGuidelines(Endpoint):
    @operation("Read one version of the guidelines", scope="read", needs="view", returns=GuidelinesOutput)
    def get(self, request: Request, version: int) -> Any:
        return _version(self.member.project.guidelines, version)


def new_labels(rows: Sequence[dict[str, Any]]) -> list[NewLabel]:
    return [NewLabel(row["name"], row["definition"], tuple(row["examples"])) for row in rows]


def _version(rows: Any, version: int) -> Any:
    found = rows.filter(version=version).first()
    if found is None:
        raise NotFound(_("There is no such version."))
    return found
