"""Rounds of questions, and the models that were trained on their answers."""

from typing import Any

from django.db.models import Count, Q
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation
from annotate.models import QueueEntry, Round
from annotate.reports import round_sizes

_State = QueueEntry.State


class RoundOutput(Output):
    index = serializers.IntegerField()
    state = serializers.ChoiceField(choices=Round.State.choices)
    strategy = serializers.CharField()
    batch = serializers.IntegerField(help_text="The questions asked for.")
    short = serializers.SerializerMethodField(help_text="Why there are fewer, a sentence each; empty if there are not.")
    n_questions = serializers.IntegerField()
    n_waiting = serializers.IntegerField()
    n_answered = serializers.IntegerField()
    n_skipped = serializers.IntegerField()
    n_unresolved = serializers.IntegerField()
    opened_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)

    def get_short(self, found: Any) -> list[str]:
        if found.n_questions >= found.batch:
            return []
        return round_sizes.sentences(round_sizes.facts(found.project, found.index))


class ModelOutput(Output):
    version = serializers.IntegerField()
    is_champion = serializers.BooleanField()
    encoder = serializers.CharField()
    schema = serializers.IntegerField(source="schema.version")
    prompt = serializers.IntegerField(source="prompt.version", allow_null=True, default=None)
    seed = serializers.IntegerField()
    config = serializers.DictField()
    metrics = serializers.DictField()
    snapshot_sha256 = serializers.CharField()
    artefact_sha256 = serializers.CharField()
    created_at = serializers.DateTimeField()


class Rounds(Endpoint):
    @operation("List rounds", scope="read", needs="evidence", returns=RoundOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        names = {"waiting": _State.OPEN, "answered": _State.ANSWERED}
        names |= {"skipped": _State.SKIPPED, "unresolved": _State.UNRESOLVED}
        counts = {f"n_{name}": Count("queue", filter=Q(queue__state=state)) for name, state in names.items()}
        return self.member.project.rounds.annotate(n_questions=Count("queue"), **counts)


class Models(Endpoint):
    @operation("List trained models", scope="read", needs="evidence", returns=ModelOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        """Each can be made again from its snapshot, configuration and seed."""
        return self.member.project.model_versions.select_related("schema", "prompt")
