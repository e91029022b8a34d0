"""Checks of stored files, runs, the counters of imports, and keys of connections (I-8, I-9, I-10)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from django.db.models import Count, Q, TextField
from django.db.models.functions import Cast

from annotate import files, vectors
from annotate.dataset import files as dataset_files
from annotate.errors import FileDamaged, GoldloopError
from annotate.learning import artefacts, delivery
from annotate.models import (
    Connection,
    DeliveredVersion,
    Event,
    Import,
    Item,
    LedgerEntry,
    ModelVersion,
    Prediction,
    Project,
    Run,
    RunLine,
)
from annotate.models.base import database_now
from annotate.silver import secrets
from annotate.verification.outcome import Finding, NotChecked


def files_have_their_checksums(project: Project) -> Iterator[Finding]:
    """I-10: each file that a row names exists with the recorded checksum: uploads, models, delivered versions, exports.

    Also: the vectors are still those that the newest model saw; a delivered version lists its items in order.
    """
    for upload in project.uploads.filter(deleted_at__isnull=True).order_by("pk"):
        yield from _damage(files.checked_path, upload.file, upload.file_sha256)
    for model in project.model_versions.order_by("version"):
        yield from _damage(files.checked_path, model.snapshot_file, model.snapshot_sha256)
        yield from _damage(files.checked_path, model.artefact_file, model.artefact_sha256)
    if last := project.model_versions.order_by("-version").first():
        yield from _vectors(last)
    for row in project.delivered_versions.order_by("version"):
        yield from _in_order(row)
    yield from dataset_files.problems(project.exports.all())
    yield from _not_kept(project)


def _damage(check: Callable[..., object], *arguments: Any) -> Iterator[str]:
    try:
        check(*arguments)
    except FileDamaged as error:
        yield str(error)


def _vectors(model: ModelVersion) -> Iterator[Finding]:
    """The stored vectors are those that the model saw: their digest is compared. Missing ones need the encoder."""
    if why := encoder_obstacle(model.project):
        yield NotChecked(f"the vectors that {model} saw: {why}", is_part=True)
        return
    name = vectors.name_of(model.project)
    if files.size(name) is None:
        yield NotChecked(
            f"the vectors that {model} saw: {name} is not there, and is made when it is needed", is_part=True
        )
        return
    yield from _damage(artefacts.load_snapshot, model)


def encoder_obstacle(project: Project) -> str:
    """Why nothing about vectors can be computed here; empty if it can."""
    try:
        vectors.name_of(project)
    except (GoldloopError, OSError, ValueError, ImportError) as error:
        return f"the encoder cannot be loaded ({error})"
    return ""


def _in_order(row: DeliveredVersion) -> Iterator[str]:
    try:
        ordinal = delivery.load(row).arrays["ordinal"]
    except FileDamaged as error:
        yield str(error)
        return
    if len(ordinal) != row.n_pool or (np.diff(ordinal) <= 0).any():
        yield f"{row} does not hold its {row.n_pool} items in order"


def _not_kept(project: Project) -> Iterator[NotChecked]:
    """Files that people may discard, or that lie where a command was told to write."""
    if n := project.uploads.filter(deleted_at__isnull=False).count():
        yield NotChecked(f"discarded uploads: {n:,}", is_part=True)
    if n := dataset_files.n_not_kept(project.exports.all()):
        yield NotChecked(f"exports written elsewhere or cleared away: {n:,} (--export MANIFEST)", is_part=True)


def every_run_ends(project: Project) -> Iterator[str]:
    """I-8: a running run has given a sign of life before its lease ran out."""
    lost = project.runs.filter(state=Run.State.RUNNING, lease_until__lt=database_now()).first()
    if lost:
        yield f"{lost.kind} {lost.public_id} has shown no sign of life since {lost.heartbeat_at}; start it again"


def keys_stay_secret(project: Project) -> Iterator[Finding]:
    """No key of the project's connections occurs in events, runs, their logs, reasons of ledger entries, or replies."""
    for connection in Connection.objects.filter(Q(lent_to=project) | Q(used_by=project)).distinct():
        if not connection.key_encrypted:
            continue
        try:
            key = secrets.decrypt(connection.key_encrypted)
        except GoldloopError as error:
            yield NotChecked(f"the key of the connection {connection}: {error}", is_part=True)
            continue
        if _stands_somewhere(key, project):
            yield f"the key of the connection {connection} stands in the events or runs"


def _stands_somewhere(key: str, project: Project) -> bool:
    events = Event.objects.filter(Q(project=project) | Q(project__isnull=True))
    runs = Run.objects.filter(project=project).filter(Q(message__contains=key) | Q(trace__contains=key))
    replies = Prediction.objects.filter(prompt__project=project, reply__contains=key)
    reasons = LedgerEntry.objects.filter(budget__project=project, reason__contains=key)
    return (
        events.annotate(text=Cast("data", TextField())).filter(text__contains=key).exists()
        or runs.exists()
        or reasons.exists()
        or replies.exists()
        or RunLine.objects.filter(run__project=project, text__contains=key).exists()
    )


def counters_equal_a_recount(project: Project) -> Iterator[Finding]:
    """I-9: each import's counters equal a recount of its items and rejected rows; the project's ordinals are dense."""
    if running := project.imports.exclude(state=Import.State.COMPLETE).first():
        yield NotChecked(f"the counters of the import of {running}, which is not complete", is_part=True)
    for source in project.imports.filter(state=Import.State.COMPLETE):
        n_items = source.items.count()
        if n_items != source.n_items:
            yield f"import {source} counted {source.n_items} items and has {n_items}"
        kinds = dict(source.rejected_rows.values_list("kind").annotate(n=Count("id")))
        if kinds.get("rejected", 0) != source.n_rejected or kinds.get("duplicate", 0) != source.n_duplicates:
            yield f"import {source} does not have the quarantined rows that it counted"
    n_items = Item.objects.filter(project=project).count()
    last = Item.objects.filter(project=project).order_by("-ordinal").values_list("ordinal", flat=True).first()
    if n_items != (0 if last is None else last + 1) or n_items != project.next_ordinal:
        yield f"{n_items} items, but the last ordinal is {last} and the next {project.next_ordinal}"
