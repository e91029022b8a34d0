"""Decides how long an uploaded file is kept: stored whole, opened for previews and imports, deleted after a day.

Also writes the lines that made no item (the quarantine) as a CSV file for download.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import access, files
from annotate.errors import Conflict, FileDamaged, InvalidInput, NotFound
from annotate.formats import csv, spreadsheet, streams
from annotate.imports import quotas
from annotate.models import Import, Project, RejectedRow, Run, Upload, UploadReservation, User, bulk
from annotate.models.base import database_now, make_public_id
from annotate.models.event import record

KEPT_FOR = timedelta(hours=24)  # longer while an import needs the file
_HELD_FOR = timedelta(days=7)  # a file whose deletion was held back by a backup is long gone by then
_MAX_NAME = 200


# ---- storing and deleting


def receive(
    *, project: Project, by: User, file_name: str, chunks: Iterable[bytes], room: UploadReservation | None = None
) -> Upload:
    """Store a file sent in chunks, whole or not at all; InvalidInput if it is empty or larger than UPLOAD_MAX_BYTES.

    `room`: reserved for it in the quota of the project, whose end its bytes do not pass; None: as much as a file may
    have is reserved here. QuotaReached if there is none left.
    """
    access.require(by, project, to="manage")
    if room is None:
        with quotas.reserved(project=project, by=by, n_bytes=settings.UPLOAD_MAX_BYTES) as most:
            return receive(project=project, by=by, file_name=file_name, chunks=chunks, room=most)
    public_id, name = make_public_id(), base_name(file_name)
    stored, size = f"uploads/{project.public_id}/{public_id}", Counter[str]()
    sha256 = files.save(stored, _limited(chunks, name, size, min(settings.UPLOAD_MAX_BYTES, room.n_bytes)))
    try:
        with transaction.atomic():
            room.delete()
            upload = Upload.objects.create(
                public_id=public_id,
                project=project,
                file_name=name,
                file=stored,
                file_sha256=sha256,
                n_bytes=size["bytes"],
                created_by=by,
            )
            record("upload.received", project=project, by=by, upload=public_id, file_sha256=sha256)
    except BaseException:
        files.path_of(stored).unlink(missing_ok=True)  # no row names it, so no backup needs it
        raise
    return upload


def find(*, project: Project, public_id: str) -> Upload:
    """The project's upload with this public id; NotFound if there is none, or its file was deleted."""
    upload = Upload.objects.filter(project=project, public_id=public_id, deleted_at__isnull=True).first()
    if upload is None:
        raise NotFound(_("There is no such upload any more; send the file again."))
    return upload


def discard(*, upload: Upload, by: User) -> None:
    """Delete the upload's file and keep its row, which says what the file was; Conflict while an import needs it."""
    access.require(by, upload.project, to="manage")
    if not _discard(upload):
        raise Conflict(_("%(file)s is being imported; cancel that first.") % {"file": upload.file_name})
    record("upload.discarded", project=upload.project, by=by, upload=upload.public_id)


def sweep() -> int:
    """Delete the files of uploads that are older than a day and that no import needs; returns how many.

    Also those that were discarded while a backup was taken, which held the deletion of the file back.
    """
    quotas.sweep()
    now = database_now()
    for name in Upload.objects.filter(deleted_at__gte=now - _HELD_FOR).order_by("pk").values_list("file", flat=True):
        files.remove(name)
    old = Upload.objects.filter(deleted_at__isnull=True, created_at__lt=now - KEPT_FOR)
    return sum(_discard(upload) for upload in old.order_by("pk"))


@contextmanager
def opened(upload: Upload) -> Iterator[BinaryIO]:
    """The upload's stored file, open for reading; FileDamaged if it is missing."""
    path = files.path_of(upload.file)
    if not path.is_file():
        raise FileDamaged(
            _("The stored file of %(file_name)s is missing; send it again.") % {"file_name": upload.file_name}
        )
    with streams.opened(path) as file:
        yield file


def base_name(file_name: str) -> str:
    """The file's name without folders and invisible characters, at most 200 characters; "upload" if none is left."""
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in last if character.isprintable()).strip()
    if len(name) > _MAX_NAME:
        name = f"{name[: _MAX_NAME - 20]}…{name[-19:]}"
    return name if name.strip(". ") else "upload"


def _limited(chunks: Iterable[bytes], name: str, size: Counter[str], most: int) -> Iterator[bytes]:
    """The same chunks, their bytes counted in `size`; InvalidInput beyond the limit, or if there are no bytes."""
    for chunk in chunks:
        size["bytes"] += len(chunk)
        if size["bytes"] > most:
            sentence = _("%(file)s is larger than %(limit)s bytes, the most that is taken. Split it, or pack it (.gz).")
            raise InvalidInput(sentence % {"file": name, "limit": f"{most:,}"})
        yield chunk
    if not size["bytes"]:
        raise InvalidInput(_("%(file)s is empty.") % {"file": name})


@transaction.atomic
def _discard(upload: Upload) -> bool:
    """Note in the row that the file is deleted, and delete it after the commit; False while an import needs it."""
    has_unfinished_import = upload.imports.filter(state=Import.State.RUNNING).exists()
    has_living_run = Run.objects.filter(
        project=upload.project, kind="import", state__in=Run.ALIVE, parameters__upload=upload.public_id
    ).exists()
    if has_unfinished_import or has_living_run:
        return False
    if Upload.objects.filter(pk=upload.pk, deleted_at__isnull=True).update(deleted_at=database_now()) == 1:
        transaction.on_commit(lambda: files.remove(upload.file))
    upload.refresh_from_db(fields=["deleted_at"])
    return True


# ---- quarantine


ALL_COLUMNS = ("line", "external_id", "kind", "reason", "excerpt")


def quarantine(
    rows: QuerySet[RejectedRow], columns: Sequence[str] = ALL_COLUMNS, *, is_for_programs: bool = False
) -> Iterator[bytes]:
    """Lines of an import that made no item, as a CSV file in blocks: one page of rows at a time is in memory.

    `columns` are fields of RejectedRow. People open it in a spreadsheet, so no cell of it runs as a formula; for
    programs no cell is altered.
    """
    lines = csv.lines if is_for_programs else spreadsheet.lines
    yield lines([columns])
    last = -1
    while page := list(rows.filter(line__gt=last).order_by("line").values("line", *columns)[: bulk.ROWS_PER_PAGE]):
        yield lines([[row[name] for name in columns] for row in page])
        last = page[-1]["line"]
