"""What people skipped, flagged or remarked, with no word on which label they or a machine chose."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, Value
from rest_framework import serializers
from rest_framework.request import Request

from annotate.access import MAY
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output, PageQuery
from annotate.api.http.operations import operation
from annotate.api.labeling import content
from annotate.api.runs import ProvenPersonOutput
from annotate.models import Annotation, Member, QueueEntry, Round
from annotate.models.annotation import SkipReason


class RemarkOutput(Output):
    item = serializers.CharField(source="item.public_id")
    payload = serializers.SerializerMethodField(help_text="The fields of the project's modality.")
    person = ProvenPersonOutput(source="annotator")
    reason = serializers.ChoiceField(
        source="skip_reason", choices=SkipReason.choices, allow_null=True, help_text="Why it was skipped."
    )
    is_flagged = serializers.BooleanField()
    comment = serializers.SerializerMethodField(help_text="Null where you may still be asked this very question.")
    created_at = serializers.DateTimeField()

    def get_payload(self, row: Annotation) -> dict[str, str]:
        return content(self.context["member"].project.modality, row.item.content.payload)

    def get_comment(self, row: Any) -> str | None:
        return None if row.may_be_asked else row.comment


class RemarkQuery(PageQuery):
    of = serializers.ChoiceField(choices=["skipped", "flagged"], default="skipped")
    reason = serializers.ChoiceField(choices=SkipReason.choices, required=False)


class Remarks(Endpoint):
    @operation(
        "List what was skipped, or flagged and remarked",
        scope="read",
        needs="evidence",
        query=RemarkQuery,
        returns=RemarkOutput,
        is_paged=True,
    )
    def get(self, request: Request) -> Any:
        rows = self.member.project.annotations.filter(is_current=True).annotate(may_be_asked=_may_be_asked(self.member))
        if self.query["of"] == "skipped":
            rows = rows.filter(label__isnull=True)
        else:
            rows = rows.filter(Q(is_flagged=True) | ~Q(comment=""))
        if reason := self.query.get("reason"):
            rows = rows.filter(skip_reason=reason)
        return rows.select_related("annotator", "item__content").defer("item__content__metadata")


def _may_be_asked(member: Member) -> Exists | Value:
    """Whether the item is a question of the open round to this member, who would no longer answer it blind."""
    if member.role not in MAY["annotate"] or member.role in MAY["manage"]:
        return Value(False)
    return Exists(QueueEntry.objects.filter(item=OuterRef("item"), round__state=Round.State.OPEN))
