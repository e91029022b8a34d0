"""Checks of stored files, runs, the counters of imports, and keys of connections (I-8, I-9, I-10)."""

from collections.abc import Iterator

import numpy as np
from django.db.models import Count, Q, TextField
from django.db.models.functions import Cast

from annotate import files
from annotate.dataset import files as dataset_files
from annotate.learning import artefacts, delivery
from annotate.models import Connection, Event, Import, Item, LedgerEntry, Prediction, Project, Run, RunLine
from annotate.models.base import database_now
from annotate.silver import secrets


def files_have_their_checksums(project: Project) -> Iterator[str]:
    """I-10: each file that a row names exists with the recorded checksum: uploads, models, delivered versions, exports.

    Also: the vectors are still those that the newest model saw; a delivered version lists its items in order.
    """
    for upload in project.uploads.filter(deleted_at__isnull=True).order_by("pk"):
        files.checked_path(upload.file, upload.file_sha256)
    for model in project.model_versions.order_by("version"):
        files.checked_path(model.snapshot_file, model.snapshot_sha256)
        files.checked_path(model.artefact_file, model.artefact_sha256)
    if last := project.model_versions.order_by("-version").first():
        artefacts.load_snapshot(last)  # compares the digest of the vectors
    for row in project.delivered_versions.order_by("version"):
        frozen = delivery.load(row)
        ordinal = frozen.arrays["ordinal"]
        if len(ordinal) != row.n_pool or (np.diff(ordinal) <= 0).any():
            yield f"{row} does not hold its {row.n_pool} items in order"
    yield from dataset_files.problems(project.exports.all())


def every_run_ends(project: Project) -> Iterator[str]:
    """I-8: a running run has given a sign of life before its lease ran out."""
    lost = project.runs.filter(state=Run.State.RUNNING, lease_until__lt=database_now()).first()
    if lost:
        yield f"{lost.kind} {lost.public_id} has shown no sign of life since {lost.heartbeat_at}; start it again"


def keys_stay_secret(project: Project) -> Iterator[str]:
    """No key of the project's connections occurs in events, runs, their logs, reasons of ledger entries, or replies."""
    for connection in Connection.objects.filter(Q(lent_to=project) | Q(used_by=project)).distinct():
        if not connection.key_encrypted:
            continue
        key = secrets.decrypt(connection.key_encrypted)
        events = Event.objects.filter(Q(project=project) | Q(project__isnull=True))
        runs = Run.objects.filter(project=project).filter(Q(message__contains=key) | Q(trace__contains=key))
        replies = Prediction.objects.filter(prompt__project=project, reply__contains=key)
        reasons = LedgerEntry.objects.filter(budget__project=project, reason__contains=key)
        if (
            events.annotate(text=Cast("data", TextField())).filter(text__contains=key).exists()
            or runs.exists()
            or reasons.exists()
            or replies.exists()
            or RunLine.objects.filter(run__project=project, text__contains=key).exists()
        ):
            yield f"the key of the connection {connection} stands in the events or runs"


def counters_equal_a_recount(project: Project) -> Iterator[str]:
    """I-9: each import's counters equal a recount of its items and rejected rows; the project's ordinals are dense."""
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
