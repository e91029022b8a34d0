"""What a worker can do: one entry per kind of run, each a few lines that call domain functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from annotate import access, files, rounds, vectors
from annotate.dataset import export
from annotate.errors import Conflict, InvalidInput, RunCancelled
from annotate.formats.dialect import Dialect
from annotate.imports import ingest, preview, uploads
from annotate.learning import delivery, estimation, method_choice, training
from annotate.models import DeliveredVersion, Estimate, Export, Import, Project, Run, User
from annotate.money import ledger, payments
from annotate.runs import lifecycle
from annotate.silver import prelabel

Facts = dict[str, Any]  # what a run made, for pages: counts, public ids, file names


@dataclass(frozen=True)
class RunKind:
    """How a run of this kind is done, and its parameters with their defaults."""

    work: Callable[..., Facts]  # (attempt, by, **parameters)
    defaults: dict[str, Any] = field(default_factory=dict)
    queue: str = "ml"  # whatever loads torch or reads the whole pool; io waits for disks and other machines
    check: Callable[..., Facts] | None = None  # (project, by, parameters): refuses at once, or completes them
    tidy: Callable[..., None] | None = None  # (attempt, by): what a cancelled run leaves to clear away


def enqueue(
    *, kind: str, project: Project, by: User, parameters: dict[str, Any] | None = None, retry_of: Run | None = None
) -> Run:
    """A run that waits for a worker; asked for the same again, the run that is alive, which goes on if it was paused.

    RunBusy while a run of this kind with other parameters is alive; InvalidInput names what no worker can do.
    """
    prepared = prepare(kind=kind, project=project, by=by, parameters=parameters or {})
    return lifecycle.create_queued(
        kind=kind, project=project, by=by, parameters=prepared, queue=KINDS[kind].queue, retry_of=retry_of
    )


def cancel(*, run: Run, by: User) -> Run:
    """The run ends, at its next beat where a worker is at it; a worker clears away what must not stay."""
    return lifecycle.cancel(run=run, by=by, needs_tidying=run.kind in KINDS and KINDS[run.kind].tidy is not None)


def retry(*, run: Run, by: User) -> Run:
    """The same once more, as a run of its own; Conflict for a run that succeeded or is alive."""
    access.require(by, run.project, to="manage")
    lifecycle.require_repeatable(run)
    return enqueue(kind=run.kind, project=run.project, by=by, parameters=run.parameters, retry_of=run)


def prepare(*, kind: str, project: Project, by: User, parameters: dict[str, Any]) -> dict[str, Any]:
    """All parameters of such a run, after what can be refused at once was refused."""
    access.require(by, project, to="manage")
    known = _kind(kind)
    for name, value in parameters.items():
        if name not in known.defaults or type(value) is not type(known.defaults[name]):
            raise InvalidInput(f"The run {kind} cannot be done with {name} = {value!r}.")
    wanted = {**known.defaults, **parameters}
    return known.check(project, by, wanted) if known.check else wanted


def perform(attempt: lifecycle.Attempt) -> None:
    """Do what the run asks for, in the name of who asked."""
    run = attempt.run
    if run.started_by is None:
        raise InvalidInput(f"Nobody asked for this {run.kind}.")
    access.require(run.started_by, run.project, to="manage")
    kind = _kind(run.kind)
    if kind.defaults and run.performer == Run.Performer.COMMAND:
        # Paused there and resumed on a page: nobody noted with what parameters.
        raise InvalidInput(f"This {run.kind} was started by a command on the server; start it there again.")
    try:
        attempt.result = kind.work(attempt, run.started_by, **{**kind.defaults, **run.parameters})
    except RunCancelled:
        if kind.tidy is None:
            raise
        attempt.obeyed()
        kind.tidy(attempt, run.started_by)
        raise RunCancelled("Cancelled. Nothing of it is kept.") from None


def sweep() -> int:
    """Deal with runs whose workers are gone, and with money that was reserved for what is over; how many runs."""
    n_lost = lifecycle.sweep()
    ledger.sweep()
    payments.sweep()
    return n_lost


def hourly_cleanup() -> int:
    """What nobody asked for and has to be done now and then: workers do it every hour. Returns how much was cleared."""
    return uploads.sweep()


def _kind(name: str) -> RunKind:
    if name not in KINDS:
        raise InvalidInput(f"No worker can do a {name!r}; there are: {', '.join(KINDS)}.")
    return KINDS[name]


def _readable(project: Project, by: User, wanted: Facts) -> Facts:
    """An import with all that was left open decided now, so that each attempt reads the file alike."""
    if wanted["abandon"]:
        if not project.imports.filter(state=Import.State.RUNNING).exists():
            raise Conflict(_("There is no unfinished import to give up."))
        return wanted
    sent = uploads.find(project=project, public_id=wanted["upload"])
    if Dialect.is_whole(wanted["dialect"]) and wanted["columns"]:
        return wanted
    seen = preview.of_upload(upload=sent, by=by, dialect=wanted["dialect"], columns=wanted["columns"])
    if seen.problem:
        raise InvalidInput(seen.problem)
    return {**wanted, "dialect": seen.dialect.to_json(), "columns": dict(seen.mapping)}


def _import(
    attempt: lifecycle.Attempt, by: User, *, upload: str, dialect: Facts, columns: Facts, abandon: bool
) -> Facts:
    project = attempt.run.project
    if abandon:
        attempt.step("Giving up the import")
        return {"n_abandoned": ingest.abandon_import(project=project, by=by)}
    attempt.step("Importing")
    done = ingest.import_upload(project=project, by=by, upload=upload, dialect=dialect, columns=columns)
    counts = {name: getattr(done, name) for name in ("n_items", "n_revived", "n_duplicates", "n_rejected")}
    return {"import": done.public_id, **counts}


def _abandon(attempt: lifecycle.Attempt, by: User) -> None:
    """A cancelled import was seen by nobody, and leaves nothing."""
    if attempt.run.project.imports.filter(state=Import.State.RUNNING).exists():
        ingest.abandon_import(project=attempt.run.project, by=by)


def _prelabel(attempt: lifecycle.Attempt, by: User) -> Facts:
    ledger.write_off_orphans(attempt.run)  # first of all: this attempt may be cancelled at its first step
    if attempt.run.project.connection_id is None:
        _read_items(attempt)
    attempt.step("Pre-labeling")
    return prelabel.facts(attempt.run, prelabel.prelabel(project=attempt.run.project, by=by))


def _draw(attempt: lifecycle.Attempt, by: User, *, batch: int) -> Facts:
    project = attempt.run.project
    _freeze(attempt, by)
    attempt.step("Drawing")
    drawn = attempt.run.rounds.first() or rounds.draw_round(project=project, batch=batch, by=by)
    return {"round": drawn.index, "n_questions": drawn.queue.count()}


def _close(attempt: lifecycle.Attempt, by: User, *, force: bool) -> Facts:
    attempt.step("Closing")
    project = attempt.run.project
    closed = attempt.run.closed_rounds.first() or rounds.close_round(
        project=project, by=by, force=force, attempt=attempt
    )
    n_unresolved = closed.queue.filter(state="unresolved").count()
    return {"round": closed.index, "n_gold": closed.gold.filter(is_current=True).count(), "n_unresolved": n_unresolved}


def _train(attempt: lifecycle.Attempt, by: User, *, method: str, parameters: Facts) -> Facts:
    _read_items(attempt)
    attempt.step("Training")
    project, made = attempt.run.project, attempt.run.model_versions.first()
    model = made or training.train(project=project, by=by, method=method, parameters=parameters)
    facts = {name: model.metrics[name] for name in ("n_gold", "n_silver", "n_reference")}
    return {"model": model.version, "is_champion": model.is_champion, **facts, **_estimate(attempt, by)}


def _estimate(attempt: lifecycle.Attempt, by: User) -> Facts:
    _freeze(attempt, by)
    attempt.step("Estimating")
    rows = estimation.estimate(project=attempt.run.project, by=by)
    row = next(row for row in rows if row.estimand == Estimate.Estimand.DELIVERED)
    return {"delivered": {"value": row.value, "low": row.low, "high": row.high, "n": row.n, "reason": row.reason}}


def _export(attempt: lifecycle.Attempt, by: User, *, formats: Sequence[str]) -> Facts:
    wrote = Export.objects.filter(run=attempt.run)
    if not wrote.exists():
        _estimate(attempt, by)  # first, so that the manifest states the error of exactly this version
        delivered = _freeze(attempt, by)
        attempt.step("Writing files")
        export.export(delivered=delivered, by=by, formats=formats, show=attempt.beat, attempt=attempt)
    made = wrote.select_related("delivered_version").get()
    written = [{name: file[name] for name in ("name", "bytes", "sha256")} for file in made.files]
    folder = str(files.path_of(made.folder))
    return {"version": made.delivered_version.version, "folder": folder, "manifest": made.manifest, "files": written}


def _read_items(attempt: lifecycle.Attempt) -> None:
    """Vectors of all items, stored once: a step of its own, with its own progress."""
    attempt.step("Reading the items")
    vectors.vectors_of(attempt.run.project, attempt.beat)


def _freeze(attempt: lifecycle.Attempt, by: User) -> DeliveredVersion:
    """What is delivered now; items that the model has not met are read, with progress."""
    attempt.step("Applying the model")
    return delivery.current(project=attempt.run.project, by=by, show=attempt.beat).row


KINDS = {
    "import": RunKind(
        _import,
        {"upload": "", "dialect": {}, "columns": {}, "abandon": False},
        queue="io",
        check=_readable,
        tidy=_abandon,
    ),
    "prelabel": RunKind(_prelabel, check=prelabel.check),
    "draw": RunKind(_draw, {"batch": 100}),
    "close": RunKind(_close, {"force": False}, queue="io"),
    "train": RunKind(_train, {"method": method_choice.DEFAULT, "parameters": {}}, check=method_choice.check),
    "estimate": RunKind(_estimate),
    "export": RunKind(_export, {"formats": list(export.FORMATS)}),
}
