"""Decides how a project gets silver: one prediction per item and prompt version, resumed where an attempt stopped."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Sum
from django.utils.translation import gettext as _

from annotate import access
from annotate import vectors as item_vectors
from annotate.errors import BudgetReached, Conflict, InvalidInput
from annotate.modalities import modality
from annotate.models import Budget, Item, Prediction, Project, PromptVersion, Run, User
from annotate.models.event import record
from annotate.money import budgets, ledger
from annotate.runs import lifecycle
from annotate.silver import connections, prompts
from annotate.silver.paid_loop import Asking
from models_ml import registry
from models_ml.encoders.items import joined
from models_ml.types import Annotator, LabelSpec


def prelabel(
    *,
    project: Project,
    by: User,
    annotator: Annotator | None = None,
    failed_again: bool = False,
    failed_until: int | None = None,
    show: lifecycle.Show | None = None,
    show_encoding: lifecycle.Show | None = None,
) -> PromptVersion:
    """Make a prediction for each item of the pool without one under the current prompt version, which is returned.

    `annotator` replaces the project's. Asking a project's connection costs money: RunPaused when the cap is reached, or
    too many answers in a row name no label; another call continues from there.
    `failed_again`: ask for all items whose answer under this version is a failure instead, as further attempts.
    `failed_until`: the newest of those failures, by its key, where it was noted before (see `check`).
    """
    access.require(by, project, to="manage")
    until = _check_again(project, failed_until) if failed_again else None
    parameters = {} if until is None else _again(until)
    with lifecycle.start(kind="prelabel", project=project, by=by, show=show, parameters=parameters) as attempt:
        if annotator is None and project.connection_id is not None:
            prompt = _ask(attempt, until)
        else:
            prompt = _compute(attempt, annotator, show_encoding)
        attempt.result = facts(attempt.run, prompt)
        n_items = attempt.result["n_items"]
        record("prelabel.completed", project=project, by=by, prompt=prompt.version, n_items=n_items)
    return prompt


def check(project: Project, by: User, wanted: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a run; Conflict if the connection cannot be asked, BudgetReached if no item can be paid.

    A run that asks the failed ones again is told which is the newest failure: each of its attempts then asks for the
    same items, and none that failed again under it. Nobody chooses which.
    """
    if project.connection_id is not None:
        connections.endpoint_of(connections.of_project(project))
        budget = budgets.of(project, Budget.Kind.MACHINE)
        if why := budgets.refusal(budget, 1 if _costs(project) else 0):
            raise BudgetReached(why)
    return _again(_check_again(project)) if wanted["failed_again"] else {}


def _again(until: int) -> dict[str, Any]:
    return {"failed_again": True, "failed_until": until}


def _check_again(project: Project, until: int | None = None) -> int:
    """The key of the newest failure under the version that would be asked now; Conflict where none can be asked."""
    if until is not None:
        return until
    if project.connection_id is None:
        raise Conflict(_("This site's own annotator would only give the same answers again."))
    prompt = current_version(project)
    newest = prompt.predictions.failed().aggregate(newest=Max("pk"))["newest"] if prompt else None
    if newest is None or not prompts.failed(project, prompt).exists():
        raise Conflict(
            _("No answer of this model to today's labels and guidelines failed; there is nothing to repeat.")
        )
    return int(newest)


def current_version(project: Project) -> PromptVersion | None:
    """The prompt version under which the project's connection would be asked now; None where it was never asked so."""
    connection = connections.of_project(project)
    endpoint = connections.endpoint_of(connection)
    return prompts.existing(**prompts.of_connection(project, connection, endpoint))


def facts(run: Run, prompt: PromptVersion) -> dict[str, Any]:
    """Figures for a pre-labeling's page: answers under this prompt version, and micros and tokens of this run."""
    statuses = dict(prompt.predictions.current().order_by().values_list("status").annotate(n=Count("pk")))
    n_items = sum(statuses.values())
    n_ok = statuses.pop(Prediction.Status.OK.value, 0)
    sums = run.ledger.aggregate(
        micros=Sum("final_micros"), n_input_tokens=Sum("n_input_tokens"), n_output_tokens=Sum("n_output_tokens")
    )
    return {
        "prompt": prompt.version,
        "n_items": n_items,
        "n_failed": n_items - n_ok,
        "failed": statuses,
        "n_unanswered": prompts.pending(run.project, prompt).count(),
        **{name: value or 0 for name, value in sums.items()},
    }


def _ask(attempt: lifecycle.Attempt, failed_until: int | None) -> PromptVersion:
    """Ask the project's connection for predictions, below the cap; returns their prompt version.

    For pending items, or with `failed_until` for those of which a failure with a key up to it is the newest answer.
    """
    project = attempt.run.project
    ledger.write_off_orphans(attempt.run)
    connection = connections.of_project(project)
    endpoint = connections.endpoint_of(connection)
    prompt = prompts.version(**prompts.of_connection(project, connection, endpoint))
    items = prompts.pending(project, prompt)
    if failed_until is not None:
        items = prompts.failed(project, prompt, failed_until)
    try:
        Asking(attempt=attempt, prompt=prompt, endpoint=endpoint, items=items).run()
    finally:
        attempt.result = facts(attempt.run, prompt)  # also if the run was paused or has failed
    return prompt


def _compute(
    attempt: lifecycle.Attempt, annotator: Annotator | None, show_encoding: lifecycle.Show | None = None
) -> PromptVersion:
    """Compute predictions in this process, at no cost; returns their prompt version."""
    project = attempt.run.project
    known = None
    if annotator is None:
        known = item_vectors.KnownVectors(item_vectors.encoder_named(project.encoder))
        annotator = _in_process(project.annotator, known)
    prompt = prompts.version(
        project=project, annotator=annotator.name, model=annotator.model, parameters=_parameters(project)
    )
    # The annotator encodes one text per item; the stored vector of a pair is made of two, so it cannot be reused.
    is_one_text = len(modality(project.modality).FIELDS) == 1
    vectors = item_vectors.vectors_of(project, show_encoding) if known and is_one_text else None
    labels = prompts.label_specs(prompt.schema)
    pending = prompts.pending(project, prompt)
    total, done = pending.count(), 0
    for items in prompts.chunks(pending):
        if known and vectors is not None:
            known.remember([joined(prompts.parts_of(i)) for i in items], vectors[[item.ordinal for item in items]])
        done += len(items)
        _store_answers(attempt, prompt, items, annotator, labels, (done, total))
    return prompt


def _store_answers(
    attempt: lifecycle.Attempt,
    prompt: PromptVersion,
    items: Sequence[Item],
    annotator: Annotator,
    labels: Sequence[LabelSpec],
    progress: tuple[int, int],
) -> None:
    guidelines = prompt.guidelines.markdown if prompt.guidelines else ""
    parts = [prompts.parts_of(item) for item in items]
    answers = annotator.annotate(parts, labels=labels, guidelines=guidelines, examples=())
    with transaction.atomic():
        attempt.write(*progress)
        prompts.store(prompt=prompt, items=items, answers=answers)


def _costs(project: Project) -> bool:
    connection = connections.of_project(project)
    return bool(connection.input_price_micros or connection.output_price_micros)


def _parameters(project: Project) -> dict[str, Any]:
    """How the annotator reads an item of several texts: in this order, joined; empty for items of one text."""
    fields = modality(project.modality).FIELDS
    return {"fields": list(fields), "joined_by": "line break"} if len(fields) > 1 else {}


def _in_process(name: str, encoder: item_vectors.KnownVectors) -> Annotator:
    if name not in registry.ANNOTATORS:
        raise InvalidInput(
            _("There is no annotator %(name)s; there are: %(annotators)s.")
            % {"name": repr(name), "annotators": ", ".join(sorted(registry.ANNOTATORS))}
        )
    return registry.annotator(name, encoder=encoder)
