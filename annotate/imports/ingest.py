"""Decides how a file is imported: in chunks, resumed after a crash, its items visible once the import is complete.

Lines that make no item are kept with the reason (annotate/imports/rows.py decides which).
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from annotate import access, samples
from annotate.errors import Conflict, FileDamaged
from annotate.formats import own_export, streams
from annotate.formats.columns import Chosen, Fields, check, unnamed_labels
from annotate.formats.dialect import JSONL, Dialect
from annotate.formats.reader import Line, Reader, reader_of
from annotate.formats.recognition import recognised
from annotate.imports import confidence, uploads
from annotate.imports.label_columns import warning
from annotate.imports.rows import Kind
from annotate.imports.writer import IMPORTED, Read, Writer, checked, rules_of
from annotate.modalities import modality
from annotate.models import Draw, Gold, Import, Item, ItemPayload, LabelSchema, Prediction, Project, Upload, User, bulk
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.runs import lifecycle

# Rows per transaction. Each chunk touches most pages of the random indexes: larger chunks write less in all, but other
# writers wait longer where the database (SQLite) lets one write at a time.
CHUNK_ROWS = 8_000 if connection.vendor == "postgresql" else 4_000
CHUNK_BYTES = 1_000 * CHUNK_ROWS  # a chunk of long lines ends here, which bounds its memory


@dataclass(frozen=True)
class _Job:
    """One file to import, and how to read it."""

    project: Project
    by: User
    file: BinaryIO
    name: Path | str  # the file's name in messages
    fields: Fields
    dialect: Dialect
    upload: Upload | None = None


def import_items(
    *,
    project: Project,
    path: Path | str,
    by: User,
    gold_field: str | None = None,
    silver_field: str | None = None,
    silver_confidence_field: str | None = None,
    dialect: Dialect | None = None,
    columns: Chosen | None = None,
    show: lifecycle.Show | None = None,
) -> Import:
    """Import a file of this machine, plain or gzip; called again after a crash, it continues where it stopped.

    `dialect`: JSON Lines where it is None. `columns` gives the columns of content and id where they are not called like
    the fields (text, id, ...). In an export of Goldloop they and the labels are found by themselves. Rows that cannot
    be used become RejectedRows; rows of equal content become one item. New items become visible when the import is
    complete; labels for items of earlier imports are attached chunk by chunk.
    """
    access.require(by, project, to="manage")
    labels = {"gold": gold_field, "silver": silver_field, "confidence": silver_confidence_field}
    path = Path(path)
    with streams.opened(path) as file, lifecycle.start(kind="import", project=project, by=by, show=show) as attempt:
        read_as = dialect or recognised(file, JSONL)
        usual = _usual_columns(project, file, path, read_as)
        given = {role: column for role, column in labels.items() if column}
        fields = checked({**usual, **given, **(columns or {})}, project)
        return _import(_Job(project, by, file, path, fields, read_as), attempt)


def import_upload(
    *,
    project: Project,
    by: User,
    upload: str,
    dialect: dict[str, Any],
    columns: dict[str, str | None],
    show: lifecycle.Show | None = None,
) -> Import:
    """Import the upload with this public id, read in `dialect`; `columns` gives the column of each role.

    Whether the file is an export of Goldloop is seen from its columns unless `dialect` says it. Another attempt at the
    same run continues at the cursor; if the attempt before it had completed the import, that import is returned as it
    is.
    """
    access.require(by, project, to="manage")
    row, read_as = uploads.find(project=project, public_id=upload), Dialect.from_json(dialect)
    fields = checked(columns, project)
    with uploads.opened(row) as file, lifecycle.start(kind="import", project=project, by=by, show=show) as attempt:
        read_as = read_as if "export" in dialect else recognised(file, read_as)
        done = row.imports.filter(state=Import.State.COMPLETE, run=attempt.run).first()
        return done or _import(_Job(project, by, file, row.file_name, fields, read_as, row), attempt)


def _usual_columns(project: Project, file: BinaryIO, path: Path, dialect: Dialect) -> Chosen:
    """The column by role where nobody chose: as the roles are called, or as exports of Goldloop call them."""
    fields = modality(project.modality).FIELDS
    if not dialect.export:
        return {**{name: name for name in fields}, "id": "id"}
    reader = reader_of(dialect)
    reader.inspect(file, path)  # InvalidInput for a damaged file
    return own_export.propose(reader.names(file), fields)


def _import(job: _Job, attempt: lifecycle.Attempt) -> Import:
    """Check the file, begin or continue its import, store its chunks, and complete the import."""
    reader, file = reader_of(job.dialect), job.file
    limit = settings.IMPORT_MAX_BYTES if job.upload else None  # whoever runs commands here knows the disk's room
    facts = reader.inspect(file, job.name, lambda: attempt.beat(0), limit=limit)
    if job.upload and facts.sha256 != job.upload.file_sha256:
        raise FileDamaged(
            _("The stored file of %(name)s has another checksum than its row says; send it again.") % {"name": job.name}
        )
    fields, names = modality(job.project.modality).FIELDS, reader.names(file)
    if not reader.is_typed:
        check(job.fields, fields, names)
    own_export.check(job.fields, job.dialect)
    source = _unfinished(job, facts) or _begin(job, facts)
    writer = Writer(source, attempt, facts.n_lines, reader)
    with bulk.few_checkpoints():
        for rows in _read_ahead(map(writer.read, chunks(reader, reader.lines(file, skip=source.cursor)))):
            writer.store(rows)
    _check_unchanged(job, facts)
    source.options["warnings"] = [*reader.warnings, *warning(unnamed_labels(names, job.fields, fields))]
    _complete(source, attempt, facts.n_lines, job.by)
    for note in confidence.report(source):
        attempt.say(note)
    return source


def abandon_import(*, project: Project, by: User) -> int:
    """Delete the project's unfinished import and its hidden items, and free their ordinals; returns how many items.

    Labels that the import attached to items of earlier imports stay: they are true of those items.
    """
    access.require(by, project, to="manage")
    with lifecycle.start(kind="import", project=project, by=by) as attempt, transaction.atomic():
        source = project.imports.filter(state=Import.State.RUNNING).first()
        if source is None:
            raise Conflict(_("%(project)s has no unfinished import.") % {"project": project})
        attempt.write(0)
        for rows in (Prediction, Gold, Draw, ItemPayload):
            rows.objects.filter(item__source=source).delete()  # type: ignore[attr-defined]
        # Without the ORM's cascade, which would load every item to look for rows that refer to it.
        n_items = Item.objects.filter(source=source)._raw_delete("default")
        source.rejected_rows.all().delete()
        source.delete()
        # The unfinished import made the highest ordinals (one import runs at a time), so the others are still dense.
        last = Item.objects.filter(project=project).aggregate(last=Coalesce(Max("ordinal"), -1))["last"]
        Project.objects.filter(pk=project.pk).update(next_ordinal=last + 1)
        project.prompts.filter(annotator=IMPORTED, predictions=None, modelversion=None, deliveredversion=None).delete()
        record("import.abandoned", project=project, by=by, n_items=n_items, lines_read=source.cursor)
    project.refresh_from_db(fields=["next_ordinal"])
    return n_items


def _unfinished(job: _Job, facts: streams.Facts) -> Import | None:
    """The unfinished import that this job continues, or None; Conflict if it is of another file, or read otherwise."""
    project = job.project
    source = project.imports.filter(state=Import.State.RUNNING).first()
    if source is None:
        return None
    what = f"{project} has an unfinished import of {source.file_name} ({source.cursor:,} lines done"
    way_out = f"or give it up: on the page Import, or with `manage.py import_items {project} --abandon`."
    if source.file_sha256 != facts.sha256:
        raise Conflict(
            _("%(what)s). Start it again with that file, unchanged, %(way_out)s") % {"what": what, "way_out": way_out}
        )
    if Fields(**source.options["fields"]) != job.fields:
        raise Conflict(
            _("%(what)s, with the columns %(source)s). Start it again with the same columns, %(way_out)s")
            % {"what": what, "source": _columns(source), "way_out": way_out}
        )
    dialect = Dialect.from_json(source.options.get("dialect", {}))
    if dialect != job.dialect:
        listed = ", ".join(f"{name} {value!r}" for name, value in dialect.to_json().items())
        raise Conflict(
            _("%(what)s, read with %(listed)s). Start it again read like that, %(way_out)s")
            % {"what": what, "listed": listed, "way_out": way_out}
        )
    return source


_ROLES = ("gold", "silver", "confidence", "id")


def _columns(source: Import) -> str:
    """The import's columns by role, for messages."""
    fields = dict(source.options["fields"])
    fields |= fields.pop("content", {})
    # Sorted, because PostgreSQL does not keep the order of a JSON object's keys.
    roles = sorted(fields, key=lambda role: _ROLES.index(role) if role in _ROLES else len(_ROLES))
    return ", ".join(f"{role}: {fields[role] or 'none'}" for role in roles)


def _begin(job: _Job, facts: streams.Facts) -> Import:
    schema = job.project.schemas.order_by("-version").first()
    return Import.objects.create(
        project=job.project,
        upload=job.upload,
        file_name=Path(job.name).name.encode("utf-8", "replace").decode()[:255],
        file_sha256=facts.sha256,
        options={
            "fields": asdict(job.fields),
            "schema": schema.version if schema else None,
            "dialect": job.dialect.to_json(),
            **_confidence_scale(job, schema),
        },
        created_by=job.by,
    )


def _confidence_scale(job: _Job, schema: LabelSchema | None) -> dict[str, str]:
    """The scale of the confidences, so that each attempt reads them alike; nothing without a column of them."""
    if job.fields.confidence is None:
        return {}
    rules = rules_of(job.project, schema, job.fields, reader_of(job.dialect))
    return {"confidence_scale": confidence.scale_in(rules, job.file).value}


def chunks(reader: Reader, lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines in lists of at most CHUNK_ROWS lines; a list ends early once it has CHUNK_BYTES bytes."""
    chunk: list[Line] = []
    n_bytes = 0
    for line in lines:
        chunk.append(line)
        n_bytes += reader.size(line[1])
        if len(chunk) >= CHUNK_ROWS or n_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _read_ahead(chunks: Iterator[list[Read]]) -> Iterator[list[Read]]:
    """The same chunks, each read in a thread while the caller stores the one before it and waits for the database."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, chunks, None)
        while (chunk := following.result()) is not None:
            following = reader.submit(next, chunks, None)
            yield chunk


def _check_unchanged(job: _Job, facts: streams.Facts) -> None:
    if not streams.is_unchanged(job.file, facts):
        raise Conflict(
            _(
                "%(name)s was written to while it was read; nothing of it is visible. Abandon this import with "
                "`manage.py import_items %(project)s --abandon` and start it again when the file is complete."
            )
            % {"name": job.name, "project": job.project}
        )


def _complete(source: Import, attempt: lifecycle.Attempt, n_lines: int, by: User) -> None:
    """In one transaction make all items of the import visible and add those beyond a cut-off to that sample."""
    with transaction.atomic():
        attempt.write(n_lines, n_lines)
        _revive(source)
        source.cursor, source.state, source.finished_at = n_lines, Import.State.COMPLETE, database_now()
        source.run = attempt.run
        source.save(update_fields=["cursor", "state", "finished_at", "run", "options"])
        n_joined = samples.absorb_late(project=source.project)
        source.project.note_pool_change()
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
    """Bring back each withdrawn item whose content the file holds.

    Its external id is the file's if no other item has it, else its old one if no other item has that, else none.
    """
    pending = source.rejected_rows.filter(kind=Kind.REVIVED).order_by("line").values_list("excerpt", "external_id")
    for start in range(0, source.n_revived, CHUNK_ROWS):
        claims = dict(pending[start : start + CHUNK_ROWS])
        items = list(Item.objects.filter(public_id__in=claims, withdrawn_at__isnull=False))
        wanted = {*claims.values(), *(item.external_id for item in items)} - {None}
        holders = Item.objects.filter(project=source.project, withdrawn_at__isnull=True, external_id__in=wanted)
        taken = set(holders.values_list("external_id", flat=True))
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
        # Ids are unique among items not withdrawn; these still are, so ids that change hands do not collide.
        Item.objects.bulk_update(renamed, ["external_id"], batch_size=500)  # the statement has one CASE per row
        Item.objects.filter(pk__in=[item.pk for item in items]).update(withdrawn_at=None)
