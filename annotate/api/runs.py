"""Long work: what there was, what it says, starting it, and steering what is under way."""

from functools import partial
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate import projects, tasks
from annotate.api.http import hourly
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Choice, Flag, Input, Integer, Output, PageQuery, Text
from annotate.api.http.operations import operation
from annotate.dataset.export import FORMATS
from annotate.errors import InvalidInput
from annotate.learning import named
from annotate.models import Project, Proof, Run, User
from annotate.runs import lifecycle
from models_ml import methods

_MAX_BATCH = 100_000
_ON_THE_SERVER = ("folder",)  # parts of results that say where a file lies


class PersonOutput(Output):
    id = serializers.CharField(source="public_id")
    name = serializers.CharField(source="__str__")


class ProvenPersonOutput(PersonOutput):
    """Somebody who answered or decided. Of two whose `proof` is `unproven` nothing says that they are not one."""

    proof = serializers.ChoiceField(
        choices=Proof.choices,
        help_text="What says that one person holds the account: a link that was mailed and used, or somebody's word.",
    )


class RunOutput(Output):
    id = serializers.CharField(source="public_id")
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=Run.State.choices)
    wish = serializers.ChoiceField(
        source="requested_action",
        choices=[("", ""), *Run.Action.choices[1:]],
        help_text="What it was told and has not obeyed yet.",
    )
    step = serializers.CharField(help_text="What it does now.")
    n_done = serializers.IntegerField(help_text="Of this step.")
    n_total = serializers.IntegerField(allow_null=True)
    attempt = serializers.IntegerField()
    parameters = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField(help_text="A sentence for people, where something is to be said.")
    started_by = PersonOutput(allow_null=True)
    retry_of = serializers.CharField(source="retry_of.public_id", allow_null=True, default=None)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_parameters(self, run: Run) -> dict[str, Any]:
        # What version 1 has always said of a run that a command on the server performs.
        return {"by_hand": True} if run.performer == Run.Performer.COMMAND else run.parameters

    def get_result(self, run: Run) -> dict[str, Any]:
        return {name: value for name, value in run.result.items() if name not in _ON_THE_SERVER}

    def get_message(self, run: Run) -> str:
        # Where there is a trace, the message is for programmers too, and stays on the server.
        return _("The program broke here. What was finished is kept.") if run.trace else run.message


class RunQuery(PageQuery):
    kind = serializers.CharField(max_length=30, required=False)
    state = serializers.ChoiceField(choices=Run.State.choices, required=False)


class RunInput(Input):
    kind = Choice(
        choices=[kind for kind in tasks.KINDS if kind not in ("import", "count")],
        help_text="Files have their own addresses.",
    )
    parameters = serializers.DictField(
        required=False,
        default=dict,
        help_text="prelabel: failed_again; draw: batch (1 to 100,000), or everything, or items (ids), or batch with "
        "request and schema (a label whose items are asked for); close: force; train: method, parameters; "
        "export: formats.",
    )


class DrawInput(Input):
    batch = Integer(required=False, min_value=1, max_value=_MAX_BATCH)
    request = Integer(
        required=False,
        min_value=0,
        max_value=projects.MAX_LABELS,
        help_text="The index of a label: all questions are drawn at random among the items that it is predicted for.",
    )
    schema = Integer(
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="The version of the labels that `request` counts in; left out: the one in force.",
    )
    everything = Flag(required=False, help_text="Ask every item that has no gold, instead of `batch`.")
    items = serializers.ListField(
        child=Text(max_length=200),
        required=False,
        min_length=1,
        max_length=named.MOST,
        help_text="Ask these items, by external or public id, instead of `batch`.",
    )


class CloseInput(Input):
    force = Flag(required=False)


class ExportInput(Input):
    formats = serializers.ListField(
        child=Choice(choices=FORMATS), required=False, min_length=1, max_length=len(FORMATS)
    )


class PrelabelInput(Input):
    failed_again = Flag(required=False)


class TrainInput(Input):
    method = Choice(choices=[method.name for method in methods.describe()], required=False)
    parameters = serializers.DictField(required=False, help_text="By name; the search chooses those left out.")


class StopInput(Input):
    now = Flag(
        required=False,
        help_text="Do not wait for calls in flight: they are broken off, and written off at the most they can cost.",
    )


class LineOutput(Output):
    attempt = serializers.IntegerField()
    text = serializers.CharField()
    at = serializers.DateTimeField()


_PARAMETERS: dict[str, type[Input]] = {
    "prelabel": PrelabelInput,
    "draw": DrawInput,
    "close": CloseInput,
    "train": TrainInput,
    "export": ExportInput,
}


class Runs(Endpoint):
    @operation("List runs", scope="read", needs="evidence", query=RunQuery, returns=RunOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        wanted = {name: self.query[name] for name in ("kind", "state") if name in self.query}
        return self.member.project.runs.filter(**wanted).select_related("started_by", "retry_of")

    @operation(
        "Start a run",
        scope="manage",
        needs="manage",
        body=RunInput,
        returns=RunOutput,
        status=201,
        makes=True,
        may_fail=False,
    )
    def post(self, request: Request) -> Any:
        """One of a kind is alive per project; asked for the same again, you get the one alive."""
        return start(self.member.project, self.me, self.body["kind"], self.body["parameters"])


class OneRun(Endpoint):
    @operation("Read a run", scope="read", needs="evidence", returns=RunOutput)
    def get(self, request: Request, run: str) -> Any:
        return lifecycle.find(project=self.member.project, public_id=run)


class Lines(Endpoint):
    @operation(
        "Read what a run has logged",
        scope="read",
        needs="evidence",
        returns=LineOutput,
        is_paged=True,
        newest_first=False,
    )
    def get(self, request: Request, run: str) -> Any:
        return lifecycle.log(lifecycle.find(project=self.member.project, public_id=run))


class _Steering(Endpoint):
    def act(self, run: str, what: Any) -> Run:
        found = what(run=lifecycle.find(project=self.member.project, public_id=run), by=self.me)
        return lifecycle.find(project=self.member.project, public_id=found.public_id)


class PauseRun(_Steering):
    @operation("Pause a run", scope="manage", needs="manage", body=StopInput, returns=RunOutput)
    def post(self, request: Request, run: str) -> Any:
        """It stops within seconds, keeps what is finished, and waits to be resumed.

        One that asks an LLM server sends nothing more and ends when the calls in flight have ended (`result.finishing`
        counts them), so that each is paid at its price.
        """
        return self.act(run, partial(lifecycle.pause, now=self.body.get("now", False)))


class ResumeRun(_Steering):
    @operation("Resume a run", scope="manage", needs="manage", returns=RunOutput, may_fail=False)
    def post(self, request: Request, run: str) -> Any:
        return self.act(run, tasks.resume)


class CancelRun(_Steering):
    @operation("Cancel a run", scope="manage", needs="manage", body=StopInput, returns=RunOutput)
    def post(self, request: Request, run: str) -> Any:
        """It ends; what is finished is kept, and calls in flight end as when it is paused."""
        return self.act(run, partial(tasks.cancel, now=self.body.get("now", False)))


class RetryRun(_Steering):
    @operation(
        "Try a run again",
        scope="manage",
        needs="manage",
        returns=RunOutput,
        status=201,
        makes=True,
        may_fail=False,
    )
    def post(self, request: Request, run: str) -> Any:
        """The same once more, as a run of its own; only of one that did not succeed."""
        found = lifecycle.find(project=self.member.project, public_id=run)
        _limit(found.kind, self.me)
        return self.act(run, tasks.retry)


def start(project: Project, by: User, kind: str, parameters: dict[str, Any]) -> Run:
    """Put it into the queue, after what can be refused at once was refused."""
    form = _PARAMETERS.get(kind, Input)(data=parameters)
    if not form.is_valid():
        raise serializers.ValidationError({"parameters": form.errors})
    given = dict(form.validated_data)
    if len(set(given.get("formats", ()))) != len(given.get("formats", ())):
        raise InvalidInput(_("A format is named twice."))
    _limit(kind, by)
    return tasks.enqueue(kind=kind, project=project, by=by, parameters=given)


def _limit(kind: str, by: User) -> None:
    if kind in settings.API_HOURLY:
        hourly.check(Run.objects.filter(kind=kind, started_by=by), kind)
