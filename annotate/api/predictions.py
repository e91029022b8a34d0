"""What an annotator model said of each item."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output, PageQuery
from annotate.api.http.operations import operation
from annotate.dataset import downloads
from annotate.labeling import visibility
from annotate.models import Item, Prediction
from annotate.reports import replies


class PredictionOutput(Output):
    item = serializers.CharField(source="item.public_id")
    prompt = serializers.IntegerField(source="prompt.version", help_text="The version of model, labels and guidelines.")
    status = serializers.ChoiceField(choices=Prediction.Status.choices)
    label = serializers.IntegerField(source="label_index", allow_null=True)  # type: ignore[assignment]
    probabilities = serializers.SerializerMethodField(help_text="By label; null where the confidence is unknown.")
    label_mass = serializers.FloatField(allow_null=True)
    n_input_tokens = serializers.IntegerField(allow_null=True)
    n_output_tokens = serializers.IntegerField(allow_null=True)
    cost_micros = serializers.IntegerField()
    attempt = serializers.IntegerField(help_text="1, or more where failed ones were asked again; the last counts.")
    reply = serializers.CharField(
        source="readable_reply",
        allow_null=True,
        help_text="What was said instead of a label, in part; for managers, while nobody is asked about the item.",
    )
    created_at = serializers.DateTimeField()

    def get_probabilities(self, prediction: Prediction) -> list[float] | None:
        vector = prediction.vector()
        return None if vector is None else vector.tolist()


class PredictionQuery(PageQuery):
    prompt = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    status = serializers.ChoiceField(choices=Prediction.Status.choices, required=False)
    item = serializers.CharField(max_length=20, required=False)


class Predictions(Endpoint):
    @operation(
        "List machine answers",
        scope="read",
        needs="download",
        query=PredictionQuery,
        returns=PredictionOutput,
        is_paged=True,
    )
    def get(self, request: Request) -> Any:
        """Newest first, of all prompt versions; of several attempts the one that counts. Not for annotators and
        reviewers. Who answers questions: that you got the list is recorded before it is sent (503 where that fails),
        and your later blind answers to its items are marked as given by somebody who had them (`had_file`). With
        `item`: what you have seen so makes you answer that item as not blind; 403 while it is asked blind."""
        names = {"prompt": "prompt__version", "status": "status", "item": "item__public_id"}
        wanted = {field: self.query[name] for name, field in names.items() if name in self.query}
        rows = Prediction.objects.current().filter(prompt__project=self.member.project, **wanted)
        self._record(rows)
        return replies.with_readable(rows.select_related("item", "prompt"), self.member)

    def _record(self, rows: QuerySet[Prediction]) -> None:
        project, public_id = self.member.project, self.query.get("item")
        if public_id is None:
            narrowed = {name: self.query[name] for name in ("prompt", "status") if name in self.query}
            downloads.of_predictions(project, rows, narrowed, by=self.me)
        elif item := Item.objects.filter(project=project, public_id=public_id).first():
            visibility.require_label(item, self.member)
