"""Where people disagree, and what was decided. Never a machine's answer."""

import hashlib
from typing import Any, cast

from rest_framework import serializers
from rest_framework.request import Request

from annotate import labels, projects
from annotate.access import MAY
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Input, Integer, Output, PublicId, Text
from annotate.api.http.operations import operation
from annotate.api.labeling import content
from annotate.api.runs import ProvenPersonOutput
from annotate.labeling import adjudication
from annotate.labeling.adjudication import Dispute, ReviewedAnswer
from annotate.labels import LabelHistory
from annotate.models import Adjudication, Annotation, Label


class DisputeOutput(Output):
    round = serializers.IntegerField(source="round.index")
    item = serializers.CharField(source="item.public_id")


class VoiceOutput(Output):
    """What one person said; who they are is told to those who manage the project."""

    person = ProvenPersonOutput(allow_null=True)
    label = serializers.IntegerField(allow_null=True)  # type: ignore[assignment]
    reason = serializers.CharField(allow_null=True, help_text="Why it was skipped.")
    later_label = serializers.IntegerField(allow_null=True, help_text="Said since, where it differs.")
    later_reason = serializers.CharField(allow_null=True)
    comment = serializers.CharField()
    is_flagged = serializers.BooleanField()
    is_counted = serializers.BooleanField()


class AdjudicationOutput(Output):
    id = serializers.CharField(source="public_id")
    round = serializers.IntegerField(source="entry.round.index")
    item = serializers.CharField(source="item.public_id")
    label = serializers.SerializerMethodField(help_text="Null: it cannot be decided.")  # type: ignore[assignment]
    schema = serializers.SerializerMethodField(
        help_text="The version of the labels that `label` counts in: that in force, unless the label is void there."
    )
    reason = serializers.CharField()
    is_blind = serializers.BooleanField()
    is_current = serializers.BooleanField()
    created_by = ProvenPersonOutput()
    created_at = serializers.DateTimeField()

    def get_label(self, row: Adjudication) -> int | None:
        label = self._now(row)
        return label.index if label else None

    def get_schema(self, row: Adjudication) -> int | None:
        label = self._now(row)
        return label.schema.version if label else None

    def _now(self, row: Adjudication) -> Label | None:
        """The label of the decision as it reads now; as it was decided where that is void."""
        if row.label is None:
            return None
        shared = cast(dict[str, Any], self.context)  # of all rows of the answer
        if "history" not in shared:
            shared["history"] = labels.history(projects.current_schema(shared["member"].project))
        history: LabelHistory = shared["history"]
        now = history.gold_label(row.label.pk) or row.label
        if now.schema_id == history.schema.pk:
            now.schema = history.schema
        return now


class DisputeDetailOutput(Output):
    round = serializers.IntegerField()
    item = serializers.CharField()
    payload = serializers.DictField(child=serializers.CharField())
    voices = VoiceOutput(many=True, help_text="In no order that says anything.")
    decision = AdjudicationOutput(allow_null=True, help_text="The one that stands.")
    obstacle = serializers.CharField(help_text="Why you cannot decide it now; empty where you can.")


class AdjudicationInput(Input):
    round = Integer(min_value=1, max_value=2**31 - 1)
    item = PublicId()
    label = Integer(  # type: ignore[assignment]
        allow_null=True, max_value=1_000, help_text="Its index among the labels in force; null: it cannot be decided."
    )
    reason = Text(max_length=adjudication.MAX_REASON)
    seen = PublicId(required=False, allow_blank=True, help_text="The decision that stood when you looked.")


class Disputes(Endpoint):
    @operation(
        "List disputed questions that I may decide",
        scope="read",
        needs="review",
        returns=DisputeOutput,
        is_paged=True,
        newest_first=False,
    )
    def get(self, request: Request) -> Any:
        return adjudication.waiting(project=self.member.project, by=self.me)


class OneDispute(Endpoint):
    @operation(
        "Read a disputed question with what people said", scope="read", needs="review", returns=DisputeDetailOutput
    )
    def get(self, request: Request, round: int, item: str) -> Any:
        project = self.member.project
        found = adjudication.find(project=project, round_index=round, item=item, by=self.me)
        return {
            "round": round,
            "item": item,
            "payload": content(project.modality, found.entry.item.content.payload),
            "voices": self._voices(found),
            "decision": found.decision,
            "obstacle": found.obstacle,
        }

    def _voices(self, dispute: Dispute) -> list[dict[str, Any]]:
        """Names are for those who manage; for all others the order does not give them away either."""
        order = sorted(dispute.said, key=lambda one: hashlib.sha256(one.annotation.public_id.encode()).digest())
        with_names = self.member.role in MAY["manage"]
        history = labels.history(projects.current_schema(self.member.project))
        return [_voice(one, history, with_name=with_names) for one in order]


class Adjudications(Endpoint):
    @operation("List decisions that stand", scope="read", needs="review", returns=AdjudicationOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        return adjudication.decided(self.member.project)

    @operation(
        "Decide a disputed question",
        scope="manage",
        needs="review",
        body=AdjudicationInput,
        returns=AdjudicationOutput,
        status=201,
        makes=True,
    )
    def post(self, request: Request) -> Any:
        """What people answered stays as it is; the decision becomes gold."""
        given = dict(self.body)
        made = adjudication.adjudicate(project=self.member.project, round_index=given.pop("round"), by=self.me, **given)
        return Adjudication.objects.select_related("entry__round", "item", "label", "created_by").get(pk=made.pk)


def _voice(said: ReviewedAnswer, history: LabelHistory, *, with_name: bool) -> dict[str, Any]:
    first, later = said.annotation, said.later
    return {
        "person": first.annotator if with_name else None,
        "label": _index(first, history),
        "reason": first.skip_reason,
        "later_label": _index(later, history),
        "later_reason": later.skip_reason if later else None,
        "comment": first.comment or (later.comment if later else ""),
        "is_flagged": first.is_flagged or bool(later and later.is_flagged),
        "is_counted": first.is_counted,
    }


def _index(annotation: Annotation | None, history: LabelHistory) -> int | None:
    label = history.gold_label(annotation.label_id) if annotation else None
    return label.index if label else None
