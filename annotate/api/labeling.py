"""Answering questions by program: the same leases, answers and rules as on the screen, and no more to see."""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from annotate import projects
from annotate.api.http import idempotency
from annotate.api.http.endpoint import Endpoint, operation
from annotate.api.http.fields import Choice, Flag, Given, Integer, Number, PublicId, Shown, Text
from annotate.errors import Conflict, InvalidInput, LeaseLost
from annotate.labeling import answers, suggestions, workload
from annotate.labeling import leases as leasing
from annotate.labeling.answers import Answer
from annotate.modalities import modality
from annotate.models import Annotation, Label, Lease
from annotate.models.annotation import SkipReason
from annotate.models.project import NEVER_DRAWN, Arm, SuggestionPolicy

_AHEAD = 10  # questions that one program may hold at once
_AT_ONCE = 50  # leases that one request may name
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_label: dict[str, Any] = {
    "min_value": 0,
    "max_value": projects.MAX_LABELS,
    "help_text": "Its index among the labels in force.",
}


class NextGiven(Given):
    n = Integer(min_value=1, max_value=_AHEAD, default=1, help_text="How many to hold.")
    done = serializers.ListField(
        child=PublicId(), max_length=_AT_ONCE, default=list, help_text="Leases whose answers are on their way."
    )


class DraftShown(Shown):
    label = serializers.IntegerField(source="label.index", allow_null=True, default=None)  # type: ignore[assignment]
    is_flagged = serializers.BooleanField()
    comment = serializers.CharField()


class QuestionShown(Shown):
    """A question as its annotator may see it: the content, and nothing that anybody said of it."""

    lease = serializers.CharField(help_text="Names the question when it is answered.")
    payload = serializers.DictField(child=serializers.CharField(), help_text="The fields of the project's modality.")
    suggestion = serializers.IntegerField(
        allow_null=True, help_text="The machine's label, only where the project shows it from the start."
    )
    draft = DraftShown(allow_null=True)


class EmptyShown(Shown):
    kind = serializers.ChoiceField(
        choices=["no_round", "round_done", "held_by_others", "all_answered_by_me", "not_for_me", "budget"]
    )
    n_waiting = serializers.IntegerField()
    n_held_by_others = serializers.IntegerField()


class NextShown(Shown):
    questions = QuestionShown(many=True, help_text="All that you hold now.")
    empty = EmptyShown(allow_null=True, help_text="Why there is none; null where there is one.")


class SaidGiven(Given):
    lease = PublicId()
    seconds = Number(required=False, allow_null=True, min_value=0, max_value=1e6, help_text="Time spent on it.")
    is_flagged = Flag(default=False)
    comment = Text(max_length=answers.MAX_COMMENT, allow_blank=True, trim_whitespace=False, default="")


class SubmitGiven(SaidGiven):
    label = Integer(**_label)  # type: ignore[assignment]


class SkipGiven(SaidGiven):
    reason = Choice(choices=SkipReason.choices)


class ChangeGiven(SaidGiven):
    label = Integer(required=False, allow_null=True, **_label)  # type: ignore[assignment]
    reason = Choice(required=False, allow_null=True, choices=SkipReason.choices)


class StoredShown(Shown):
    id = serializers.CharField(source="public_id")
    label = serializers.IntegerField(source="label.index", allow_null=True, default=None)  # type: ignore[assignment]
    reason = serializers.CharField(source="skip_reason", allow_null=True)
    revision = serializers.IntegerField()
    is_counted = serializers.BooleanField(help_text="False: the question was no longer yours when this came.")
    is_flagged = serializers.BooleanField()
    comment = serializers.CharField()
    created_at = serializers.DateTimeField()


class RenewGiven(Given):
    leases = serializers.ListField(child=PublicId(), min_length=1, max_length=_AT_ONCE)
    shown = PublicId(required=False, help_text="The one that somebody is looking at.")


class RenewedShown(Shown):
    held = serializers.ListField(child=serializers.CharField())


class ReleaseGiven(Given):
    leases = serializers.ListField(child=PublicId(), min_length=1, max_length=_AT_ONCE)


class ReleasedShown(Shown):
    n_released = serializers.IntegerField()


class DraftGiven(Given):
    lease = PublicId()
    label = Integer(required=False, allow_null=True, **_label)  # type: ignore[assignment]
    is_flagged = Flag(default=False)
    comment = Text(max_length=answers.MAX_COMMENT, allow_blank=True, trim_whitespace=False, default="")


_ARMS = [(arm.value, arm.label) for arm in Arm if arm not in NEVER_DRAWN]


class LeaseGiven(Given):
    lease = PublicId()


class SuggestionShown(Shown):
    label = serializers.IntegerField(source="label.index", allow_null=True, default=None)  # type: ignore[assignment]
    reason = serializers.CharField(allow_null=True, help_text="Why there is no label.")


class WhyShown(Shown):
    arms = serializers.ListField(child=serializers.ChoiceField(choices=_ARMS))


class AnswerShown(StoredShown):
    lease = serializers.CharField(help_text="Names the answer when it is changed.")
    payload = serializers.DictField(child=serializers.CharField())


class ProgressOfMine(Shown):
    n_left = serializers.IntegerField(help_text="Questions of the open round that you can still answer.")
    n_answered_today = serializers.IntegerField(help_text="In the project's time zone.")
    n_in_round = serializers.IntegerField()


class Standing(Endpoint):
    @operation("How far I am", scope="read", needs="annotate", returns=ProgressOfMine)
    def get(self, request: Request) -> Any:
        return workload.remaining(project=self.member.project, annotator=self.me)


def _asks(summary: str, body: type[Given], returns: type[Serializer[Any]] | None, **words: Any) -> _Decorator:
    words = {"scope": "annotate", "needs": "annotate", **words}
    return operation(summary, body=body, returns=returns, **words)


class Next(Endpoint):
    @_asks("Hold questions", NextGiven, NextShown)
    def post(self, request: Request) -> Any:
        """Fills up what you hold to `n`. Asked again it gives the same ones until they are answered, skipped or
        released. A question is held for some minutes; `renew` makes it longer."""
        project, n = self.member.project, self.body["n"]
        leases = self._leases(n, self.body["done"])
        if n == 1 and leases and leases[0].shown_at is None:
            with suppress(LeaseLost):  # answered in this very moment, by a request that was under way
                leasing.shown(lease_id=leases[0].public_id, by=self.me)
        empty = None if leases else workload.why_empty(project=project, annotator=self.me)
        return {"questions": self._questions(leases), "empty": empty}

    def _leases(self, n: int, done: list[str]) -> list[Lease]:
        """lease_next, once more where this person was quicker elsewhere."""
        wanted: dict[str, Any] = {"project": self.member.project, "annotator": self.me, "n": n, "done": done}
        try:
            return leasing.lease_next(**wanted)
        except Conflict:
            return leasing.lease_next(**wanted)

    def _questions(self, leases: list[Lease]) -> list[dict[str, Any]]:
        """What is not for their annotator is not in these values either."""
        project = self.member.project
        drafts = answers.drafts_of(leases, self.me) if leases else {}
        open_ones = [lease.entry for lease in leases if lease.entry.suggestion == SuggestionPolicy.SHOWN]
        suggested = suggestions.by_entry(project=project, entries=open_ones)
        return [
            {
                "lease": lease.public_id,
                "payload": content(project.modality, lease.entry.item.content.payload),
                "suggestion": _index(suggested.get(lease.entry_id)),
                "draft": drafts.get(lease.entry_id),
            }
            for lease in leases
        ]


class Submit(Endpoint):
    @_asks("Answer a question", SubmitGiven, StoredShown, status=201, throttle="submit", own_key=True)
    def post(self, request: Request) -> Any:
        return self.store(self.body, label=self.body["label"])

    def store(self, given: Any, **said: Any) -> Annotation:
        """The header's key is the answer's own: the same again gives the first answer, whatever happened between."""
        return answers.submit(
            lease_id=given["lease"],
            project=self.member.project,
            answer=_answer(given, **said),
            key=_key(self.request),
            by=self.me,
        )


class Skip(Submit):
    @_asks("Skip a question", SkipGiven, StoredShown, status=201, throttle="submit", own_key=True)
    def post(self, request: Request) -> Any:
        return self.store(self.body, skip_reason=self.body["reason"])


class Change(Endpoint):
    @_asks("Change an answer of mine", ChangeGiven, StoredShown, status=201, throttle="submit", own_key=True)
    def post(self, request: Request) -> Any:
        """While its round is open; the earlier answer stays as a revision. `lease` is the one it was given under;
        say either `label` or `reason`."""
        said = {"label": self.body.get("label"), "skip_reason": self.body.get("reason")}
        return answers.change(
            lease_id=self.body["lease"],
            project=self.member.project,
            answer=_answer(self.body, **said),
            key=_key(request),
            by=self.me,
        )


class Renew(Endpoint):
    @_asks("Hold questions longer", RenewGiven, RenewedShown)
    def post(self, request: Request) -> Any:
        leases, shown = self.body["leases"], self.body.get("shown")
        held = leasing.renew(project=self.member.project, by=self.me, public_ids=leases, shown=shown)
        return {"held": held}


class Release(Endpoint):
    @_asks("Give questions back", ReleaseGiven, ReleasedShown)
    def post(self, request: Request) -> Any:
        n = leasing.release(project=self.member.project, by=self.me, public_ids=self.body["leases"])
        return {"n_released": n}


class Draft(Endpoint):
    @_asks("Keep what I have begun to say", DraftGiven, None, status=204)
    def put(self, request: Request) -> Any:
        project, given = self.member.project, dict(self.body)
        lease = leasing.find_lease(project=project, public_id=given.pop("lease"), by=self.me)
        label = self._label(given.pop("label", None))
        answers.save_draft(lease=lease, by=self.me, label=label, **given)

    def _label(self, index: int | None) -> Label | None:
        if index is None:
            return None
        found = Label.objects.filter(schema=projects.current_schema(self.member.project), index=index).first()
        if found is None:
            raise InvalidInput(_("This project has no label %(index)s.") % {"index": index})
        return found


class Reveal(Endpoint):
    @_asks("See the machine's answer to a question that I have answered", LeaseGiven, SuggestionShown)
    def post(self, request: Request) -> Any:
        """Where the project allows it; what you say of the question after that is not blind."""
        return suggestions.reveal(lease_id=self.body["lease"], project=self.member.project, by=self.me)


class Why(Endpoint):
    @_asks("See why a question that I have answered was asked", LeaseGiven, WhyShown)
    def post(self, request: Request) -> Any:
        """What you say of the question after that is not blind."""
        return {"arms": suggestions.why(lease_id=self.body["lease"], project=self.member.project, by=self.me)}


class HistoryShown(Shown):
    results = AnswerShown(many=True)


class History(Endpoint):
    @operation("My last answers in the open round", scope="read", needs="annotate", returns=HistoryShown)
    def get(self, request: Request) -> Any:
        """At most ten, newest first, each with the lease by which it can be changed."""
        project = self.member.project
        past = answers.history(project=project, by=self.me)
        return {"results": [_past(one, project.modality) for one in past]}


def content(name: str, payload: dict[str, Any]) -> dict[str, str]:
    """The blocks of text that a screen shows of this payload, by the names of their fields."""
    return {part.field: part.text for part in modality(name).screen_parts(payload)}


def _past(one: answers.OwnAnswer, name: str) -> dict[str, Any]:
    row = one.annotation
    assert row.entry is not None
    names = ("public_id", "label", "skip_reason", "revision", "is_counted", "is_flagged", "comment", "created_at")
    shown = {field: getattr(row, field) for field in names}
    return {**shown, "lease": one.lease_id, "payload": content(name, row.entry.item.content.payload)}


def _index(suggestion: suggestions.Suggestion | None) -> int | None:
    return suggestion.label.index if suggestion and suggestion.label else None


def _answer(given: Any, **said: Any) -> Answer:
    return Answer(
        **said,
        seconds=given.get("seconds"),
        is_flagged=given["is_flagged"],
        comment=given["comment"].replace("\r\n", "\n"),  # as on the screen: the same comment stays the same
    )


def _key(request: Any) -> str:
    """The answer's key: this person's and this header's, so that two programs that count from 1 do not meet."""
    given = idempotency.key_of(request)
    if given is None:
        return f"api-{secrets.token_hex(16)}"
    digest = hashlib.sha256(f"{request.user.public_id} {given}".encode()).hexdigest()
    return f"api-{digest}"
