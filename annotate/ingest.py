"""Files in: row by row, with a quarantine for what cannot be used; visible when all of it is there."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Coalesce

from annotate import access, runs
from annotate.admission import Fields, Kind
from annotate.errors import Conflict, InvalidInput
from annotate.formats import jsonl
from annotate.intake import IMPORTED, Line, Writer
from annotate.modalities import modality
from annotate.models import Draw, Gold, Import, Item, ItemPayload, Prediction, Project, User, bulk
from annotate.models.base import database_now
from annotate.models.event import record

# Each chunk touches most pages of the random indexes: larger ones write less, and hold others up for longer.
CHUNK_ROWS = 4_000
CHUNK_BYTES = 4_000_000  # so that long lines do not add up in memory


def import_items(
    *,
    project: Project,
    path: Path | str,
    by: User,
    gold_field: str | None = None,
    silver_field: str | None = None,
    silver_confidence_field: str | None = None,
    show: runs.Show | None = None,
) -> Import:
    """Import a JSON Lines file, plain or gzip; started again after a crash it goes on where it stopped.

    Rows that cannot be used become RejectedRows; exact duplicates become one item. Items are visible from the
    moment the import is complete. Labels for items that were there before are attached as they are read.
    """
    access.require(by, project, to="manage")
    fields = _checked(Fields(gold_field or None, silver_field or None, silver_confidence_field or None), project)
    path = Path(path)
    with jsonl.opened(path) as file, runs.start(kind="import", project=project, by=by, show=show) as attempt:
        facts = jsonl.inspect(file, path, lambda: attempt.beat(0))
        source = _unfinished(project, facts, fields) or _begin(project, path, facts, fields, by)
        writer = Writer(source, attempt, facts.n_lines)
        with bulk.few_checkpoints():
            for chunk in _chunks(jsonl.lines(file, skip=source.cursor)):
                writer.store(chunk)
        _check_unchanged(file, facts, path, project)
        _complete(source, attempt, facts.n_lines, by)
    return source


def abandon_import(*, project: Project, by: User) -> int:
    """Delete the hidden items of the unfinished import and give their ordinals back; returns how many.

    Labels that it attached to items of earlier imports stay: they are true of those items.
    """
    access.require(by, project, to="manage")
    with runs.start(kind="import", project=project, by=by) as attempt, transaction.atomic():
        source = project.imports.filter(state=Import.State.RUNNING).first()
        if source is None:
            raise Conflict(f"{project} has no unfinished import.")
        attempt.write(0)
        for rows in (Prediction, Gold, Draw, ItemPayload):
            rows.objects.filter(item__source=source).delete()  # type: ignore[attr-defined]
        # Past the ORM, which would load every item to look for rows that point at it.
        n_items = Item.objects.filter(source=source)._raw_delete("default")
        source.rejected_rows.all().delete()
        source.delete()
        # The only running import made the last ordinals, so what stays is dense again.
        last = Item.objects.filter(project=project).aggregate(last=Coalesce(Max("ordinal"), -1))["last"]
        Project.objects.filter(pk=project.pk).update(next_ordinal=last + 1)
        project.prompts.filter(annotator=IMPORTED, predictions=None, modelversion=None, deliveredversion=None).delete()
        record("import.abandoned", project=project, by=by, n_items=n_items, lines_read=source.cursor)
    project.refresh_from_db(fields=["next_ordinal"])
    return n_items


def _checked(fields: Fields, project: Project) -> Fields:
    """The columns that carry labels, if they can."""
    named = [name for name in (fields.gold, fields.silver, fields.confidence) if name]
    if fields.confidence and not fields.silver:
        raise InvalidInput("A confidence column needs the column of the machine's labels beside it.")
    if len(set(named)) < len(named):
        raise InvalidInput("Gold, silver and confidence must be different columns.")
    if taken := {"id", *modality(project.modality).FIELDS} & set(named):
        raise InvalidInput(f"The column {taken.pop()!r} is the item itself; it cannot carry labels.")
    if named and not project.schemas.exists():
        raise InvalidInput(f"{project} has no labels yet, so no column can carry them.")
    return fields


def _unfinished(project: Project, facts: jsonl.Facts, fields: Fields) -> Import | None:
    """The import to go on with, or None; Conflict where another one has to end first."""
    source = project.imports.filter(state=Import.State.RUNNING).first()
    if source is None:
        return None
    what = f"{project} has an unfinished import of {source.file_name} ({source.cursor:,} lines done"
    way_out = f"or abandon it with `manage.py import_items {project} --abandon`."
    if source.file_sha256 != facts.sha256:
        raise Conflict(f"{what}). Start it again with that file, unchanged, {way_out}")
    if source.options["fields"] != asdict(fields):
        columns = ", ".join(f"{kind}: {name or 'none'}" for kind, name in source.options["fields"].items())
        raise Conflict(f"{what}, with the columns {columns}). Start it again with the same columns, {way_out}")
    return source


def _begin(project: Project, path: Path, facts: jsonl.Facts, fields: Fields, by: User) -> Import:
    schema = project.schemas.order_by("-version").first()
    return Import.objects.create(
        project=project,
        file_name=path.name.encode("utf-8", "replace").decode()[:255],
        file_sha256=facts.sha256,
        options={"fields": asdict(fields), "schema": schema.version if schema else None},
        created_by=by,
    )


def _chunks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines that are not blank, in lists bounded by number and by bytes."""
    chunk: list[Line] = []
    n_bytes = 0
    for line in lines:
        if not line[1].strip() and line[2]:
            continue
        chunk.append(line)
        n_bytes += len(line[1])
        if len(chunk) >= CHUNK_ROWS or n_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _check_unchanged(file: BinaryIO, facts: jsonl.Facts, path: Path, project: Project) -> None:
    if not jsonl.is_unchanged(file, facts):
        raise Conflict(
            f"{path} was written to while it was read; nothing of it is visible. Abandon this import with "
            f"`manage.py import_items {project} --abandon` and start it again when the file is complete."
        )


def _complete(source: Import, attempt: runs.Attempt, n_lines: int, by: User) -> None:
    """All of it becomes visible at once, and items behind a mark join their sample in the same moment."""
    from annotate import sampling  # here, because sampling needs the whole estimation side

    with transaction.atomic():
        attempt.write(n_lines, n_lines)
        _revive(source)
        source.cursor, source.state, source.finished_at = n_lines, Import.State.COMPLETE, database_now()
        source.save(update_fields=["cursor", "state", "finished_at"])
        n_joined = sampling.absorb_late(project=source.project)
        record(
            "import.completed",
            project=source.project,
            by=by,
            file_sha256=source.file_sha256,
            n_items=source.n_items,
            n_revived=source.n_revived,
            n_duplicates=source.n_duplicates,
            n_rejected=source.n_rejected,
            n_joined_samples=n_joined,
        )


def _revive(source: Import) -> None:
    """Bring back the withdrawn items that the file holds again, with the new external id if it is free."""
    pending = source.rejected_rows.filter(kind=Kind.REVIVED).order_by("line").values_list("excerpt", "external_id")
    for start in range(0, source.n_revived, CHUNK_ROWS):
        claims = dict(pending[start : start + CHUNK_ROWS])
        items = list(Item.objects.filter(public_id__in=claims, withdrawn_at__isnull=False))
        asked = {*claims.values(), *(item.external_id for item in items)} - {None}
        holding = Item.objects.filter(project=source.project, withdrawn_at__isnull=True, external_id__in=asked)
        taken = set(holding.values_list("external_id", flat=True))
        renamed = []
        for item in items:
            old = item.external_id
            item.external_id = next(
                (name for name in (claims[item.public_id], old) if name is not None and name not in taken),
                None,
            )
            taken.add(item.external_id)
            if item.external_id != old:
                renamed.append(item)
        # Still withdrawn here, so that ids which change hands do not collide.
        Item.objects.bulk_update(renamed, ["external_id"], batch_size=500)
        Item.objects.filter(pk__in=[item.pk for item in items]).update(withdrawn_at=None)
