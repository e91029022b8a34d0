"""Decides which kinds of runs there are, and what a worker does for each: KINDS names them, `perform` does one."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from annotate import access, files, labels, projects, rounds, vectors
from annotate.accounts import rate_rows
from annotate.accounts.rate_rows import CannotCount
from annotate.dataset import downloads, export
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound, RunCancelled
from annotate.imports import counting, ingest, preview, uploads, whole_file
from annotate.learning import delivery, estimation, method_choice, named, training
from annotate.models import Estimate, Export, Import, Label, Project, Run, User
from annotate.money import ledger, payments
from annotate.reports import round_sizes
from annotate.runs import lifecycle, starter
from annotate.silver import prelabel

Facts = dict[str, Any]  # JSON: the result of a run (counts, public ids, file names), or a run's parameters


@dataclass(frozen=True)
class RunKind:
    """One kind of run: the function that does the work, and the parameters that it takes with their defaults."""

    work: Callable[..., Facts]  # (attempt, by, **parameters)
    defaults: dict[str, Any] = field(default_factory=dict)
    # The lane (annotate/runs/lanes.py), by the project where its settings decide what the work needs.
    queue: str | Callable[[Project], str] = "ml"
    check: Callable[..., Facts] | None = None  # (project, by, parameters) -> parameters; raises what can be refused now
    tidy: Callable[..., None] | None = None  # (attempt, by): clears away what a cancelled run leaves
    is_stored_by_commands: bool = False  # a command's run holds its parameters, too, so that a page can resume it


def enqueue(
    *, kind: str, project: Project, by: User, parameters: dict[str, Any] | None = None, retry_of: Run | None = None
) -> Run:
    """Create a run that waits for a worker, after checking its parameters.

    If a run of this kind with the same parameters is alive, that run is returned, resumed if it was paused. RunBusy
    if the run that is alive has other parameters; InvalidInput for an unknown kind or parameter.
    """
    prepared = prepare(kind=kind, project=project, by=by, parameters=parameters or {})
    return lifecycle.create_queued(
        kind=kind,
        project=project,
        by=by,
        parameters=prepared,
        queue=queue_of(kind, project),
        retry_of=retry_of,
        continues_commands=_workers_know(kind),
    )


def queue_of(kind: str, project: Project) -> str:
    """The lane that a run of this kind needs in this project as it is now."""
    queue = KINDS[kind].queue
    return queue if isinstance(queue, str) else queue(project)


def resume(*, run: Run, by: User) -> Run:
    """Queue a paused run again, in the lane that it needs now; take back the request to pause of one that runs."""
    if run.kind not in KINDS:
        return lifecycle.resume(run=run, by=by)
    queue = queue_of(run.kind, run.project)
    return lifecycle.resume(run=run, by=by, queue=queue, continues_commands=_workers_know(run.kind))


def cancel(*, run: Run, by: User, now: bool = False) -> Run:
    """Cancel a run; a running one ends at its next beat. A worker clears away what its kind must not leave.

    `now`: it does not wait for calls in flight, which are then written off.
    """
    tidies = run.kind in KINDS and KINDS[run.kind].tidy is not None
    return lifecycle.cancel(run=run, by=by, needs_tidying=tidies, now=now)


def retry(*, run: Run, by: User) -> Run:
    """Enqueue a new run with the kind and parameters of `run`.

    Conflict if that run succeeded, is alive, or was performed by a command.
    """
    access.require(by, run.project, to="manage")
    lifecycle.require_repeatable(run)
    return enqueue(kind=run.kind, project=run.project, by=by, parameters=run.parameters, retry_of=run)


def prepare(*, kind: str, project: Project, by: User, parameters: dict[str, Any]) -> dict[str, Any]:
    """The complete parameters of a run to be created: those given, checked, and the defaults of its kind."""
    access.require(by, project, to="manage")
    known = _kind(kind)
    for name, value in parameters.items():
        if name not in known.defaults or type(value) is not type(known.defaults[name]):
            raise InvalidInput(
                _("The run %(kind)s cannot be done with %(name)s = %(value)s.")
                % {"kind": kind, "name": name, "value": repr(value)}
            )
    wanted = {**known.defaults, **parameters}
    return known.check(project, by, wanted) if known.check else wanted


def perform(attempt: lifecycle.Attempt) -> None:
    """Do the work of the attempt's run in the name of the user who started it, and put its facts into `attempt.result`.

    RunPaused where that user does not manage the project any more. When the run is cancelled, what it left is cleared
    away.
    """
    run = attempt.run
    if run.started_by is None:
        raise InvalidInput(_("Nobody asked for this %(kind)s.") % {"kind": run.kind})
    starter.require(run, run.started_by)
    kind = _kind(run.kind)
    if run.performer == Run.Performer.COMMAND and not _workers_know(run.kind):
        # Such a run was paused by its command and resumed on a page; its row does not hold the command's parameters.
        raise InvalidInput(
            _("This %(kind)s was started by a command on the server; start it there again.") % {"kind": run.kind}
        )
    try:
        attempt.result = kind.work(attempt, run.started_by, **{**kind.defaults, **run.parameters})
    except (AccessDenied, NotFound):
        starter.require(run, run.started_by)  # they may have left while it worked
        raise
    except RunCancelled:
        if kind.tidy is None:
            raise
        attempt.obeyed()
        run.refresh_from_db(fields=["started_by"])  # who cancels takes over from somebody who left
        kind.tidy(attempt, run.started_by)
        raise RunCancelled(_("Cancelled. Nothing of it is kept.")) from None


def sweep() -> int:
    """Requeue or end lost runs, and end reservations of attempts and leases that are over; returns how many runs.

    Queued runs whose lane is not the one that they need are moved: the version before, or the project's settings then,
    had put them there.
    """
    n_lost = lifecycle.sweep()
    for run in Run.objects.filter(state=Run.State.QUEUED, kind__in=KINDS).select_related("project"):
        if (needed := queue_of(run.kind, run.project)) != run.queue:
            lifecycle.change_queue(run, needed)
    ledger.sweep()
    payments.sweep()
    return n_lost


def hourly_cleanup() -> int:
    """Delete idle counters, and old uploads that no import needs; returns how many uploads. Workers call it hourly."""
    with suppress(CannotCount):  # the next hour clears them
        rate_rows.forget_idle()
    return uploads.sweep()


def _workers_know(kind: str) -> bool:
    """Whether a row of this kind tells a worker all that it needs, also where a command had begun it."""
    return KINDS[kind].is_stored_by_commands or not KINDS[kind].defaults


def _kind(name: str) -> RunKind:
    """The kind of this name; InvalidInput if there is none."""
    if name not in KINDS:
        raise InvalidInput(
            _("No worker can do a %(name)s; there are: %(kinds)s.") % {"name": repr(name), "kinds": ", ".join(KINDS)}
        )
    return KINDS[name]


def _check_import(project: Project, by: User, wanted: Facts) -> Facts:
    """The parameters of an import, with dialect and columns filled in as far as the beginning of the file tells them.

    InvalidInput if the file cannot be read so; Conflict if there is no unfinished import to abandon.
    """
    if wanted["abandon"]:
        if not project.imports.filter(state=Import.State.RUNNING).exists():
            raise Conflict(_("There is no unfinished import to give up."))
        return wanted
    return wanted | _reading(project, by, wanted)


def _reading(project: Project, by: User, wanted: Facts) -> Facts:
    """The dialect and columns by which a file is read: as given where they are complete, else as the file says.

    Here only its beginning is read. Of a longer file the run detects what is not given. InvalidInput if the beginning
    tells already that the file cannot be read so.
    """
    sent = uploads.find(project=project, public_id=wanted["upload"])
    given = {"dialect": wanted["dialect"], "columns": wanted["columns"]}
    if whole_file.is_settled(given["dialect"], given["columns"], project):
        return given
    seen = preview.of_upload(upload=sent, by=by, dialect=wanted["dialect"], columns=wanted["columns"])
    if seen.problem and (seen.is_whole or seen.n_checked):
        raise InvalidInput(seen.problem)
    return {"dialect": seen.dialect.to_json(), "columns": dict(seen.mapping)} if seen.is_whole else given


def _settled(attempt: lifecycle.Attempt, by: User, upload: str, dialect: Facts, columns: Facts) -> Facts:
    """The complete dialect and columns; what an attempt detects is stored before it is used, so that all read alike."""
    project = attempt.run.project
    if whole_file.is_settled(dialect, columns, project):
        return {"dialect": dialect, "columns": columns}
    if not attempt.run.findings:
        attempt.step("Looking at the whole file")
        attempt.found(
            whole_file.settle(
                project=project, by=by, upload=upload, dialect=dialect, columns=columns, beat=attempt.beat
            )
        )
    return attempt.run.findings


def _check_count(project: Project, by: User, wanted: Facts) -> Facts:
    return wanted | _reading(project, by, wanted)


def _count(attempt: lifecycle.Attempt, by: User, *, upload: str, dialect: Facts, columns: Facts) -> Facts:
    settled = _settled(attempt, by, upload, dialect, columns)
    attempt.step("Counting")
    return counting.count(project=attempt.run.project, by=by, upload=upload, **settled, beat=attempt.beat)


def _import(
    attempt: lifecycle.Attempt, by: User, *, upload: str, dialect: Facts, columns: Facts, abandon: bool
) -> Facts:
    project = attempt.run.project
    if abandon:
        attempt.step("Giving up the import")
        return {"n_abandoned": ingest.abandon_import(project=project, by=by)}
    settled = _settled(attempt, by, upload, dialect, columns)
    attempt.step("Importing")
    done = ingest.import_upload(project=project, by=by, upload=upload, **settled)
    sender = done.upload.created_by if done.upload else None
    for person in {by, sender or by}:
        downloads.of_import(done, by=person)
    counts = {name: getattr(done, name) for name in ("n_items", "n_revived", "n_duplicates", "n_rejected")}
    export = done.options["dialect"].get("export")
    warnings = done.options.get("warnings", [])
    return {"import": done.public_id, **counts, "warnings": warnings, **({"export": export} if export else {})}


def _abandon_cancelled(attempt: lifecycle.Attempt, by: User) -> None:
    """Delete the items that a cancelled import has stored; nobody has seen them, as it was not complete."""
    if attempt.run.project.imports.filter(state=Import.State.RUNNING).exists():
        ingest.abandon_import(project=attempt.run.project, by=by)


def _prelabel(attempt: lifecycle.Attempt, by: User, *, failed_again: bool, failed_until: int) -> Facts:
    ledger.write_off_orphans(attempt.run)  # before the first step, at which this attempt may be cancelled
    if attempt.run.project.connection_id is None:
        _read_items(attempt)
    attempt.step("Pre-labeling")
    project = attempt.run.project
    prompt = prelabel.prelabel(project=project, by=by, failed_again=failed_again, failed_until=failed_until)
    return prelabel.facts(attempt.run, prompt)


def _check_draw(project: Project, by: User, wanted: Facts) -> Facts:
    """The parameters of drawing a round; InvalidInput for a list that is no list of ids, or two ways at once.

    A request names the version that its label counts in: labels may change until the round is drawn.
    """
    ways = [name for name in ("everything", "items") if wanted[name]] + ["request"] * (wanted["request"] >= 0)
    if len(ways) > 1:
        raise InvalidInput(_("A round asks everything, the items of a list or those of a label: one of the three."))
    named.check(wanted["items"])
    if wanted["everything"] or wanted["items"]:
        return {ways[0]: wanted[ways[0]]}
    if wanted["request"] < 0:
        return {"batch": wanted["batch"]}
    version = wanted["schema"] or projects.current_schema(project).version
    _requested(project, wanted["request"], version)
    return {"batch": wanted["batch"], "request": wanted["request"], "schema": version}


def _requested(project: Project, index: int, version: int) -> Label | None:
    """The label in force whose items are asked for by its index in a version of the labels; None: no request."""
    if index < 0:
        return None
    meant = Label.objects.filter(schema__project=project, schema__version=version, index=index).first()
    label = labels.history(projects.current_schema(project)).gold_label(meant.pk) if meant else None
    if label is None:
        raise InvalidInput(_("This project has no label %(index)s.") % {"index": index})
    return label


def _draw(
    attempt: lifecycle.Attempt,
    by: User,
    *,
    batch: int,
    request: int,
    schema: int,
    everything: bool,
    items: list[str],
) -> Facts:
    project = attempt.run.project
    label = _requested(project, request, schema)
    _freeze(attempt, by)
    attempt.step("Drawing")
    drawn = attempt.run.rounds.first() or rounds.draw_round(
        project=project, batch=batch, by=by, everything=everything, names=items, request=label
    )
    size = {name: value for name, value in round_sizes.facts(project, drawn.index).items() if value}
    if size.keys() == {"asked_for"}:
        size = {}  # as many questions as were asked for: nothing is to be said
    return {"round": drawn.index, "n_questions": drawn.queue.count(), **size}


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


def _estimate(attempt: lifecycle.Attempt, by: User, frozen: delivery.Frozen | None = None) -> Facts:
    frozen = frozen or _freeze(attempt, by)
    attempt.step("Estimating")
    rows = estimation.estimate(project=attempt.run.project, by=by, frozen=frozen)
    row = next(row for row in rows if row.estimand == Estimate.Estimand.DELIVERED)
    return {"delivered": {"value": row.value, "low": row.low, "high": row.high, "n": row.n, "reason": row.reason}}


def _export(attempt: lifecycle.Attempt, by: User, *, formats: Sequence[str]) -> Facts:
    exports = Export.objects.filter(run=attempt.run)
    if not exports.exists():
        frozen = _freeze(attempt, by)
        # Before the export, so that the manifest holds the figures of this very version, whatever arrives meanwhile.
        _estimate(attempt, by, frozen)
        attempt.step("Writing files")
        export.export(delivered=frozen.row, by=by, formats=formats, show=attempt.beat, attempt=attempt)
    made = exports.select_related("delivered_version").get()
    written = [{name: file[name] for name in ("name", "bytes", "sha256")} for file in made.files]
    folder = str(files.path_of(made.folder))
    return {"version": made.delivered_version.version, "folder": folder, "manifest": made.manifest, "files": written}


def _read_items(attempt: lifecycle.Attempt) -> None:
    """Compute and store the vectors of all items that have none yet, as a step with its own progress."""
    attempt.step("Reading the items")
    vectors.vectors_of(attempt.run.project, attempt.beat)


def _freeze(attempt: lifecycle.Attempt, by: User) -> delivery.Frozen:
    """The delivered version of the project as it is now; freezing one, as a step with its own progress, if need be."""
    attempt.step("Applying the model")
    return delivery.current(project=attempt.run.project, by=by, show=attempt.beat)


KINDS = {
    "import": RunKind(
        _import,
        {"upload": "", "dialect": {}, "columns": {}, "abandon": False},
        queue="io",
        check=_check_import,
        tidy=_abandon_cancelled,
    ),
    "count": RunKind(_count, {"upload": "", "dialect": {}, "columns": {}}, queue="io", check=_check_count),
    "prelabel": RunKind(
        _prelabel,
        {"failed_again": False, "failed_until": 0},
        queue=lambda project: "llm" if project.connection_id else "ml",
        check=prelabel.check,
        is_stored_by_commands=True,
    ),
    "draw": RunKind(
        _draw, {"batch": 100, "request": -1, "schema": 0, "everything": False, "items": []}, check=_check_draw
    ),
    "close": RunKind(_close, {"force": False}, queue="io"),
    "train": RunKind(_train, {"method": method_choice.DEFAULT, "parameters": {}}, check=method_choice.check),
    "estimate": RunKind(_estimate),
    "export": RunKind(_export, {"formats": list(export.USUAL)}),
}
