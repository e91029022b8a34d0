"""Answering questions by program: the same leases, answers and rules as on the screen, and no more to see."""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from annotate.api.http import idempotency
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Input
from annotate.api.http.operations import operation
from annotate.api.labeling_serializers import (
    ChangeInput,
    DraftInput,
    HistoryOutput,
    HistoryQuery,
    LeaseInput,
    NextInput,
    NextOutput,
    OwnProgressOutput,
    ReleasedOutput,
    ReleaseInput,
    RenewedOutput,
    RenewInput,
    SkipInput,
    StoredOutput,
    SubmitInput,
    SuggestionOutput,
    WhyOutput,
)
from annotate.errors import Conflict, InvalidInput, LeaseLost
from annotate.labeling import answers, suggestions, workload
from annotate.labeling import leases as leasing
from annotate.labeling.answers import Answer
from annotate.modalities import modality
from annotate.models import Annotation, Label, Lease
from annotate.models.project import SuggestionPolicy

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Standing(Endpoint):
    @operation("How far I am", scope="read", needs="annotate", returns=OwnProgressOutput)
    def get(self, request: Request) -> Any:
        return workload.remaining(project=self.member.project, annotator=self.me)


def _asks(summary: str, body: type[Input], returns: type[Serializer[Any]] | None, **words: Any) -> _Decorator:
    words = {"scope": "annotate", "needs": "annotate", **words}
    return operation(summary, body=body, returns=returns, **words)


class Next(Endpoint):
    @_asks("Hold questions", NextInput, NextOutput)
    def post(self, request: Request) -> Any:
        """Fills up what you hold to `n`. Asked again it gives the same ones until they are answered, skipped or
        released. A question is held for some minutes; `renew` makes it longer."""
        project, n = self.member.project, self.body["n"]
        leases = self._leases(n, self.body["done"])
        if n == 1 and leases and leases[0].shown_at is None:
            with suppress(LeaseLost):  # answered in this very moment, by a request that was under way
                leasing.shown(lease_id=leases[0].public_id, by=self.me)
        empty = None if leases else workload.why_empty(project=project, annotator=self.me)
        return {"schema": self.member.schema_version, "questions": self._questions(leases), "empty": empty}

    def _leases(self, n: int, done: list[str]) -> list[Lease]:
        """lease_next; repeated once if another request of this person leased at the same moment."""
        wanted: dict[str, Any] = {"project": self.member.project, "annotator": self.me, "n": n, "done": done}
        try:
            return leasing.lease_next(**wanted)
        except Conflict:
            return leasing.lease_next(**wanted)

    def _questions(self, leases: list[Lease]) -> list[dict[str, Any]]:
        """The questions of `leases` as JSON; a machine's label is in them only where it is shown from the start."""
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
    @_asks("Answer a question", SubmitInput, StoredOutput, status=201, throttle="submit", own_key=True)
    def post(self, request: Request) -> Any:
        """`schema` is the version of the labels that was shown. Where another is in force by now, the answer counts as
        the label that yours became; where none did, it is kept and not counted, and the item is asked again."""
        return self.store(self.body, label=self.body["label"])

    def store(self, given: Any, **said: Any) -> dict[str, Any]:
        """Submit under the idempotency key of the header: the same key gives the first answer again."""
        return _stored(
            answers.submit(
                lease_id=given["lease"],
                project=self.member.project,
                answer=_answer(given, **said),
                key=_key(self.request),
                by=self.me,
            )
        )


class Skip(Submit):
    @_asks("Skip a question", SkipInput, StoredOutput, status=201, throttle="submit", own_key=True)
    def post(self, request: Request) -> Any:
        return self.store(self.body, skip_reason=self.body["reason"])


class Change(Endpoint):
    @_asks("Change an answer of mine", ChangeInput, StoredOutput, status=201, throttle="submit", own_key=True)
    def post(self, request: Request) -> Any:
        """While its round is open; the earlier answer stays as a revision. `lease` is the one it was given under;
        say either `label` or `reason`."""
        said = {"label": self.body.get("label"), "skip_reason": self.body.get("reason")}
        return _stored(
            answers.change(
                lease_id=self.body["lease"],
                project=self.member.project,
                answer=_answer(self.body, **said),
                key=_key(request),
                by=self.me,
            )
        )


class Renew(Endpoint):
    @_asks("Hold questions longer", RenewInput, RenewedOutput)
    def post(self, request: Request) -> Any:
        leases, shown = self.body["leases"], self.body.get("shown")
        held = leasing.renew(project=self.member.project, by=self.me, public_ids=leases, shown=shown)
        return {"held": held}


class Release(Endpoint):
    @_asks("Give questions back", ReleaseInput, ReleasedOutput)
    def post(self, request: Request) -> Any:
        n = leasing.release(project=self.member.project, by=self.me, public_ids=self.body["leases"])
        return {"n_released": n}


class Draft(Endpoint):
    @_asks("Keep what I have begun to say", DraftInput, None, status=204)
    def put(self, request: Request) -> Any:
        project, given = self.member.project, dict(self.body)
        lease = leasing.find_lease(project=project, public_id=given.pop("lease"), by=self.me)
        label = self._label(given.pop("label", None), given.pop("schema", self.member.schema_version))
        answers.save_draft(lease=lease, by=self.me, label=label, **given)

    def _label(self, index: int | None, version: int) -> Label | None:
        if index is None:
            return None
        labels = Label.objects.filter(schema__project=self.member.project, schema__version=version)
        found = labels.filter(index=index).first()
        if found is None:
            raise InvalidInput(_("This project has no label %(index)s.") % {"index": index})
        return found


class Reveal(Endpoint):
    @_asks("See the machine's answer to a question that I have answered", LeaseInput, SuggestionOutput)
    def post(self, request: Request) -> Any:
        """Where the project allows it, once the round is closed: sooner it would tell which questions are always blind.
        What you say of the item after that is not blind."""
        return suggestions.reveal(lease_id=self.body["lease"], project=self.member.project, by=self.me)


class Why(Endpoint):
    @_asks("See why a question that I have answered was asked", LeaseInput, WhyOutput)
    def post(self, request: Request) -> Any:
        """Once its round is closed, for everybody who answered it."""
        return {"arms": suggestions.why(lease_id=self.body["lease"], project=self.member.project, by=self.me)}


class History(Endpoint):
    @operation("My last answers", scope="read", needs="annotate", query=HistoryQuery, returns=HistoryOutput)
    def get(self, request: Request) -> Any:
        """At most ten, newest first. Those of the open round have the lease by which they can be changed. Of labels in
        closed rounds there is besides what you have opened by `why` and `reveal`, which take the same lease."""
        project = self.member.project
        if self.query["state"] == "open":
            return {"results": [_past(one, project.modality) for one in answers.history(project=project, by=self.me)]}
        return {"results": [_closed(one, project.modality) for one in suggestions.past(project=project, by=self.me)]}


def content(name: str, payload: dict[str, Any]) -> dict[str, str]:
    """The texts of `payload` that the labeling page shows, by field; `name` is the modality's."""
    return {part.field: part.text for part in modality(name).screen_parts(payload)}


def _past(one: answers.OwnAnswer, name: str) -> dict[str, Any]:
    row = one.annotation
    assert row.entry is not None
    shown = {"lease": one.lease_id, "payload": content(name, row.entry.item.content.payload)}
    closed = {"arms": None, "may_reveal": None, "suggestion": None}
    return {**_stored(row), "label": one.label or row.label, "round": row.entry.round.index, **shown, **closed}


def _closed(one: suggestions.PastAnswer, name: str) -> dict[str, Any]:
    opened = {"arms": one.arms, "may_reveal": one.may_reveal, "suggestion": one.suggestion}
    return {**_past(one.answer, name), **opened}


def _stored(row: Annotation) -> dict[str, Any]:
    names = ("public_id", "label", "skip_reason", "revision", "is_counted", "is_flagged", "comment", "created_at")
    return {**{field: getattr(row, field) for field in names}, "why_uncounted": answers.why_uncounted(row)}


def _index(suggestion: suggestions.Suggestion | None) -> int | None:
    return suggestion.label.index if suggestion and suggestion.label else None


def _answer(given: Any, **said: Any) -> Answer:
    return Answer(
        **said,
        version=given.get("schema"),
        seconds=given.get("seconds"),
        is_flagged=given["is_flagged"],
        comment=given["comment"].replace("\r\n", "\n"),  # as on the screen: the same comment stays the same
    )


def _key(request: Any) -> str:
    """The key under which an answer is stored: of the person and the header, so that keys of two people differ."""
    given = idempotency.key_of(request)
    if given is None:
        return f"api-{secrets.token_hex(16)}"
    digest = hashlib.sha256(f"{request.user.public_id} {given}".encode()).hexdigest()
    return f"api-{digest}"
