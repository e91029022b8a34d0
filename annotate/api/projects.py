"""Projects: mine, a new one, one with its settings and how far it is."""

import zoneinfo
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from annotate import modalities, project_settings, projects
from annotate.access import MAY
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Choice, Input, Integer, Number, Output, Text
from annotate.api.http.operations import operation
from annotate.api.schemas import LabelInput, new_labels
from annotate.models import Member, Project
from annotate.models.project import GoldRule, Role, Strategy, SuggestionPolicy
from annotate.reports import next_step as what_next
from annotate.reports import progress


class ProjectOutput(Output):
    """A project as one of its members sees it."""

    id = serializers.CharField(source="project.public_id")
    slug = serializers.SlugField(source="project.slug", help_text="Names the project in addresses.")
    name = serializers.CharField(source="project.name")
    modality = serializers.ChoiceField(source="project.modality", choices=modalities.NAMES)
    is_simulated = serializers.BooleanField(source="project.is_simulated")
    time_zone = serializers.CharField(source="project.time_zone")
    created_at = serializers.DateTimeField(source="project.created_at")
    role = serializers.ChoiceField(choices=Role.choices, help_text="Yours.")
    is_trusted = serializers.BooleanField(help_text="Whether one answer of yours may be gold.")


class SettingsOutput(Output):
    overlap = serializers.IntegerField()
    gold_rule = serializers.ChoiceField(choices=GoldRule.choices)
    agree_k = serializers.IntegerField()
    suggestion_policy = serializers.DictField(child=serializers.CharField())
    strategy = serializers.ChoiceField(choices=Strategy.choices)
    audit_share = serializers.FloatField(allow_null=True)
    audit_target = serializers.IntegerField()
    reference_target = serializers.IntegerField()
    target_accuracy = serializers.FloatField(allow_null=True)
    annotator = serializers.CharField()
    encoder = serializers.CharField()
    currency = serializers.CharField()
    human_price_micros = serializers.IntegerField()
    key_commitment = serializers.CharField(help_text="SHA-256 of the secret key by which items are drawn.")


class ProjectDetailOutput(ProjectOutput):
    settings = serializers.SerializerMethodField(help_text="Null for who does not manage the project.")

    @extend_schema_field(SettingsOutput(allow_null=True))
    def get_settings(self, member: Member) -> Any:
        return SettingsOutput(member.project).data if member.role in MAY["manage"] else None


class PolicyInput(Input):
    """All three, so that nothing is left to be guessed."""

    start = Choice(choices=SuggestionPolicy.choices)
    active = Choice(choices=SuggestionPolicy.choices)
    conflict = Choice(choices=SuggestionPolicy.choices)


class SettingsInput(Input):
    overlap = Integer(required=False, min_value=1, max_value=1_000, help_text="People per question.")
    gold_rule = Choice(required=False, choices=GoldRule.choices)
    agree_k = Integer(required=False, min_value=1, max_value=1_000)
    strategy = Choice(required=False, choices=Strategy.choices)
    audit_share = Number(required=False, allow_null=True, min_value=0, max_value=1)
    audit_target = Integer(required=False, max_value=1_000_000)
    reference_target = Integer(required=False, max_value=1_000_000)
    target_accuracy = Number(required=False, allow_null=True, min_value=0, max_value=1)
    currency = Text(required=False, min_length=3, max_length=3)
    human_price_micros = Integer(required=False, max_value=10**15, help_text="Paid per answered question.")
    time_zone = Text(required=False, max_length=64, help_text="Of the IANA database, as Europe/Rome.")

    def validate_time_zone(self, name: str) -> str:
        if name not in zoneinfo.available_timezones():
            raise serializers.ValidationError(_("There is no such time zone."))
        return name


class SettingsChangeInput(SettingsInput):
    name = Text(required=False, max_length=150)
    suggestion_policy = PolicyInput(required=False, help_text="What is shown of the machine's answer, by arm.")
    # Fixed when a project is made.
    audit_share = None  # type: ignore[assignment]


class ProjectInput(SettingsInput):
    name = Text(max_length=150)
    slug = Text(required=False, max_length=60, help_text="Made of the name where none is given.")
    modality = Choice(choices=modalities.NAMES, default="text")
    labels = LabelInput(many=True, min_length=2, max_length=projects.MAX_LABELS)  # type: ignore[call-arg]


class ProgressOutput(Output):
    """Counts of rows; money in micro-units, null for who neither manages nor only reads."""

    n_items = serializers.IntegerField()
    n_withdrawn = serializers.IntegerField()
    n_silver = serializers.IntegerField(help_text="Items with a valid label by a machine.")
    n_failed = serializers.IntegerField(help_text="Items whose answer by a machine gives no label.")
    n_gold = serializers.IntegerField(help_text="That trains; and all of the open round, whichever arm drew it.")
    n_audit_gold = serializers.IntegerField(help_text="That only audits, of closed rounds.")
    n_answers = serializers.IntegerField()
    n_skips = serializers.IntegerField()
    machine_micros = serializers.IntegerField(allow_null=True)
    human_micros = serializers.IntegerField(allow_null=True)
    round = serializers.IntegerField(allow_null=True, help_text="The last one; its counts follow.")
    round_state = serializers.CharField(allow_null=True)
    n_questions = serializers.IntegerField()
    n_waiting = serializers.IntegerField()
    n_answered = serializers.IntegerField()
    n_skipped = serializers.IntegerField()
    n_unresolved = serializers.IntegerField()
    n_labeling = serializers.IntegerField(help_text="People who hold a question now.")
    next_step = serializers.CharField(help_text="A kind of run, or import, label, invite, review, wait, paused, done.")
    next_sentence = serializers.CharField(help_text="The same for people.")


class Projects(Endpoint):
    @operation("List my projects", scope="read", returns=ProjectOutput, is_paged=True, newest_first=False)
    def get(self, request: Request) -> Any:
        return Member.objects.filter(user=self.me).select_related("project")

    @operation("Make a project", scope="manage", body=ProjectInput, returns=ProjectDetailOutput, status=201, makes=True)
    def post(self, request: Request) -> Any:
        """You own it. Open to owners of the site and to whoever manages a project already."""
        projects.require_may_create(self.me)
        given = dict(self.body)
        labels = new_labels(given.pop("labels"))
        made = projects.create(labels=labels, by=self.me, **given)
        return _membership(made, self)


class OneProject(Endpoint):
    @operation("Read a project", scope="read", needs="view", returns=ProjectDetailOutput)
    def get(self, request: Request) -> Any:
        return self.member

    @operation(
        "Change a project's settings",
        scope="manage",
        needs="manage",
        body=SettingsChangeInput,
        returns=ProjectDetailOutput,
    )
    def patch(self, request: Request, **names: Any) -> Any:
        """Only what is named changes, all of it or nothing; 409 says what cannot change any more."""
        project_settings.change(project=self.member.project, by=self.me, **self.body)
        return _membership(self.member.project, self)


class Progress(Endpoint):
    @operation("How far a project is, and what to do next", scope="read", needs="evidence", returns=ProgressOutput)
    def get(self, request: Request) -> Any:
        now = progress.progress(self.member.project)
        step = what_next.choose(self.member.project, now)
        names = [str(name) for name in ProgressOutput().fields]
        facts: dict[str, Any] = {name: getattr(now, name) for name in names if hasattr(now, name)}
        facts |= {"round": now.round and now.round.index, "round_state": now.round and now.round.state}
        if self.member.role not in MAY["money"]:
            facts |= {"machine_micros": None, "human_micros": None}
        return {**facts, "next_step": step.kind, "next_sentence": step.sentence}


def _membership(project: Project, endpoint: Endpoint) -> Member:
    return project.members.select_related("project").get(user=endpoint.me)
