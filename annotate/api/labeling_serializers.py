"""What programs send and get when they answer questions: the serializers of labeling.py."""

from typing import Any

from rest_framework import serializers

from annotate import projects
from annotate.api.http.fields import Choice, Flag, Input, Integer, Number, Output, PublicId, Text
from annotate.labeling import answers
from annotate.models.annotation import SkipReason
from annotate.models.project import NEVER_DRAWN, Arm

_AHEAD = 10  # questions that one program may hold at once
_AT_ONCE = 50  # leases that one request may name
_LABEL: dict[str, Any] = {
    "min_value": 0,
    "max_value": projects.MAX_LABELS,
    "help_text": "Its index among the labels of `schema`.",
}
_SCHEMA: dict[str, Any] = {
    "required": False,
    "min_value": 1,
    "max_value": 2**31 - 1,
    "help_text": "The version of the labels that `label` counts in, as `next` gave it; left out: the one in force.",
}


_ARMS = [(arm.value, arm.label) for arm in Arm if arm not in NEVER_DRAWN]


class NextInput(Input):
    n = Integer(min_value=1, max_value=_AHEAD, default=1, help_text="How many to hold.")
    done = serializers.ListField(
        child=PublicId(), max_length=_AT_ONCE, default=list, help_text="Leases whose answers are on their way."
    )


class DraftOutput(Output):
    label = serializers.IntegerField(source="label.index", allow_null=True, default=None)  # type: ignore[assignment]
    is_flagged = serializers.BooleanField()
    comment = serializers.CharField()


class QuestionOutput(Output):
    """A question as its annotator may see it: the content, and nothing that anybody said of it."""

    lease = serializers.CharField(help_text="Names the question when it is answered.")
    payload = serializers.DictField(child=serializers.CharField(), help_text="The fields of the project's modality.")
    suggestion = serializers.IntegerField(
        allow_null=True, help_text="The machine's label, only where the project shows it from the start."
    )
    draft = DraftOutput(allow_null=True)


class EmptyOutput(Output):
    kind = serializers.ChoiceField(
        choices=["no_round", "round_done", "held_by_others", "all_answered_by_me", "not_for_me", "budget"]
    )
    n_waiting = serializers.IntegerField()
    n_held_by_others = serializers.IntegerField()


class NextOutput(Output):
    schema = serializers.IntegerField(help_text="The version of the labels in force.")
    questions = QuestionOutput(many=True, help_text="All that you hold now.")
    empty = EmptyOutput(allow_null=True, help_text="Why there is none; null where there is one.")


class AnswerInput(Input):
    lease = PublicId()
    seconds = Number(required=False, allow_null=True, min_value=0, max_value=1e6, help_text="Time spent on it.")
    is_flagged = Flag(default=False)
    comment = Text(max_length=answers.MAX_COMMENT, allow_blank=True, trim_whitespace=False, default="")


class SubmitInput(AnswerInput):
    label = Integer(**_LABEL)  # type: ignore[assignment]
    schema = Integer(**_SCHEMA)


class SkipInput(AnswerInput):
    reason = Choice(choices=SkipReason.choices)


class ChangeInput(AnswerInput):
    label = Integer(required=False, allow_null=True, **_LABEL)  # type: ignore[assignment]
    schema = Integer(**_SCHEMA)
    reason = Choice(required=False, allow_null=True, choices=SkipReason.choices)


class StoredOutput(Output):
    id = serializers.CharField(source="public_id")
    label = serializers.IntegerField(  # type: ignore[assignment]
        source="label.index", allow_null=True, default=None, help_text="Its index among the labels of `schema`."
    )
    schema = serializers.IntegerField(
        source="label.schema.version",
        allow_null=True,
        default=None,
        help_text="The version of the labels: that in force in a list, except for a label that is void there.",
    )
    reason = serializers.CharField(source="skip_reason", allow_null=True)
    revision = serializers.IntegerField()
    is_counted = serializers.BooleanField(help_text="False: it is kept, and makes no gold; `why_uncounted` says why.")
    why_uncounted = serializers.ChoiceField(
        choices=["round_closed", "withdrawn", "labels_changed", "taken"],
        allow_null=True,
        help_text="labels_changed: no label in force continues this one; the item is asked again. taken: the question "
        "was no longer yours when this came.",
    )
    is_flagged = serializers.BooleanField()
    comment = serializers.CharField()
    created_at = serializers.DateTimeField()


class RenewInput(Input):
    leases = serializers.ListField(child=PublicId(), min_length=1, max_length=_AT_ONCE)
    shown = PublicId(required=False, help_text="The one that somebody is looking at.")


class RenewedOutput(Output):
    held = serializers.ListField(child=serializers.CharField())


class ReleaseInput(Input):
    leases = serializers.ListField(child=PublicId(), min_length=1, max_length=_AT_ONCE)


class ReleasedOutput(Output):
    n_released = serializers.IntegerField()


class DraftInput(Input):
    lease = PublicId()
    label = Integer(required=False, allow_null=True, **_LABEL)  # type: ignore[assignment]
    schema = Integer(**_SCHEMA)
    is_flagged = Flag(default=False)
    comment = Text(max_length=answers.MAX_COMMENT, allow_blank=True, trim_whitespace=False, default="")


class LeaseInput(Input):
    lease = PublicId()


class SuggestionOutput(Output):
    label = serializers.IntegerField(source="label.index", allow_null=True, default=None)  # type: ignore[assignment]
    reason = serializers.CharField(allow_null=True, help_text="Why there is no label.")


class WhyOutput(Output):
    arms = serializers.ListField(child=serializers.ChoiceField(choices=_ARMS))


class AnswerOutput(StoredOutput):
    lease = serializers.CharField(help_text="Names the answer when it is changed.")
    payload = serializers.DictField(child=serializers.CharField())
    round = serializers.IntegerField()
    arms = serializers.ListField(
        child=serializers.ChoiceField(choices=_ARMS),
        allow_null=True,
        help_text="Why it was asked; null while its round is open, and until you have asked by `why`.",
    )
    may_reveal = serializers.BooleanField(
        allow_null=True, help_text="Whether `reveal` opens the machine's answer; null while the round is open."
    )
    suggestion = SuggestionOutput(
        allow_null=True, help_text="The machine's answer; null until you have asked by `reveal`."
    )


class OwnProgressOutput(Output):
    n_left = serializers.IntegerField(help_text="Questions of the open round that you can still answer.")
    n_answered_today = serializers.IntegerField(help_text="In the project's time zone.")
    n_in_round = serializers.IntegerField()


class HistoryQuery(Input):
    state = Choice(choices=["open", "closed"], default="open", help_text="Of the open round, or of closed ones.")


class HistoryOutput(Output):
    results = AnswerOutput(many=True)
