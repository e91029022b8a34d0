"""What can be answered, and how to decide it: versions of labels and of guidelines."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate import label_changes, projects
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Input, Output, Text
from annotate.api.http.operations import operation
from annotate.errors import NotFound
from annotate.label_changes import NextLabel
from annotate.models import Label, Project
from annotate.projects import NewLabel
from annotate.reports import label_versions


class LabelOutput(Output):
    index = serializers.IntegerField(help_text="Names the label in answers, and its column in probabilities.")
    name = serializers.CharField()
    key = serializers.CharField(allow_null=True, help_text="The key that answers it on the screen.")
    colour = serializers.IntegerField(help_text="Of a palette of twelve.")
    definition = serializers.CharField()
    examples = serializers.ListField(child=serializers.CharField())
    id = serializers.CharField(
        source="lasting_id", help_text="The same in all versions while the label keeps its meaning or takes others in."
    )
    was = serializers.SerializerMethodField(
        help_text="Names in the version before that became it; empty for a new label, and in versions that replaced "
        "labels which nothing had used."
    )

    def get_was(self, label: Label) -> list[str]:
        schema = label.schema
        context: Any = self.context  # one for all labels of an answer
        known = context.setdefault("label_versions", {})
        if schema.project_id not in known:
            found = label_versions.versions(schema.project)
            known[schema.project_id] = {one.schema.pk: one.was for one in found}
        was: list[str] = known[schema.project_id].get(schema.pk, {}).get(label.name, [])
        return was


class SchemaOutput(Output):
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    labels = LabelOutput(many=True, source="labels.all")


class LabelInput(Input):
    name = Text(max_length=100)
    definition = Text(max_length=20_000, allow_blank=True, default="")
    examples = serializers.ListField(child=Text(max_length=20_000), max_length=100, default=list)


class NextLabelInput(LabelInput):
    was = serializers.ListField(
        child=Text(max_length=100),
        max_length=projects.MAX_LABELS,
        required=False,
        help_text="Names of the version in force: one renames, several merge; a name in several labels is split. "
        "Left out: the label of the same name, else a new one. A name that stands nowhere is retired.",
    )
    takes_from = serializers.ListField(
        child=Text(max_length=100),
        max_length=projects.MAX_LABELS,
        required=False,
        help_text="Of a new label: names whose items may belong to it, and whose gold becomes void. Left out: all.",
    )
    new_meaning = serializers.BooleanField(
        default=False, help_text="The definition changed in meaning, not only in wording: gold becomes void."
    )
    machine_labels = serializers.BooleanField(
        default=False, help_text="Of the parts of a split label the one that machine labels read as."
    )


class SchemaInput(Input):
    labels = NextLabelInput(many=True, min_length=2, max_length=projects.MAX_LABELS)  # type: ignore[call-arg]
    base = serializers.IntegerField(
        min_value=1,
        max_value=2_000_000_000,
        required=False,
        help_text="The version that was edited; 409 where another is in force by now.",
    )


class FateOutput(Output):
    name = serializers.CharField(help_text="In the version in force.")
    becomes = serializers.ListField(
        child=serializers.CharField(), help_text="Names in the next version; none: retired."
    )
    reads_as = serializers.CharField(allow_null=True, help_text="What machine labels read as; null: no valid answer.")
    keeps_gold = serializers.BooleanField(help_text="False: gold of it becomes void.")
    keeps_probability = serializers.BooleanField(help_text="False: probabilities of machine labels become unknown.")
    n_gold = serializers.IntegerField()
    n_silver = serializers.IntegerField(help_text="Machine labels in force.")


class ChangePreviewOutput(Output):
    labels = FateOutput(many=True, source="fates")
    added = serializers.ListField(child=serializers.CharField())
    n_void = serializers.IntegerField(help_text="Gold labels that become void.")
    n_asked_again = serializers.IntegerField(
        help_text="Audit and reference items that the next rounds ask again; while a round is open: at most so many."
    )
    n_settled = serializers.IntegerField(help_text="Disputes that end, because the labels at odds are one now.")
    keeps_models = serializers.BooleanField(help_text="Whether the model in use delivers before it is trained again.")


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
        """The next version, in force at once. Labels in use are changed: ask for the preview first.

        Labels that are all the same as before make no new version.
        """
        new = _next_labels(self.member.project, self.body)
        return label_changes.save(project=self.member.project, new=new, by=self.me, base=self.body.get("base"))


class PreviewSchema(Endpoint):
    @operation(
        "Preview a change of the labels", scope="manage", needs="manage", body=SchemaInput, returns=ChangePreviewOutput
    )
    def post(self, request: Request) -> Any:
        """What setting these labels would do, in counts. Stores nothing."""
        new = _next_labels(self.member.project, self.body)
        return label_changes.preview(project=self.member.project, new=new, by=self.me)


class OneSchema(Endpoint):
    @operation("Read one version of the labels", scope="read", needs="view", returns=SchemaOutput)
    def get(self, request: Request, version: int) -> Any:
        return _version(self.member.project.schemas, version)

    @operation("Take the last change of the labels back", scope="manage", needs="manage", returns=SchemaOutput)
    def delete(self, request: Request, version: int) -> Any:
        """The version before is in force again, and is the answer; 409 once anything followed the change."""
        _version(self.member.project.schemas, version)
        return label_changes.undo(project=self.member.project, by=self.me, version=version)


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


def _next_labels(project: Project, body: Mapping[str, Any]) -> list[NextLabel]:
    return label_changes.parse(body["labels"], projects.current_schema(project))


def _version(rows: Any, version: int) -> Any:
    found = rows.filter(version=version).first()
    if found is None:
        raise NotFound(_("There is no such version."))
    return found
