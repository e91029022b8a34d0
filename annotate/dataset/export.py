"""Decides how a delivered version is written to files: every item with its label and provenance, and a manifest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotate import access, failpoints, files
from annotate.dataset import downloads, manifest
from annotate.dataset.manifest import heads, verify_export
from annotate.dataset.provenance import COLUMNS, Provenance, Row
from annotate.errors import InvalidInput
from annotate.formats import csv, jsonl, spreadsheet
from annotate.modalities import modality
from annotate.models import DeliveredVersion, Export, Project, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.snapshot import read_snapshot
from annotate.runs import lifecycle

__all__ = ["FORMATS", "USUAL", "export", "heads", "verify_export", "verify_origin"]

# What follows the version in a file's name, by format. CSV for programs holds every cell as it is.
_ENDINGS = {"jsonl": "jsonl", "csv": "csv", "csv-spreadsheet": "spreadsheet.csv"}
FORMATS = tuple(_ENDINGS)
USUAL = ("jsonl", "csv")  # where nobody says which
_PAYLOAD = list(COLUMNS).index("payload")
_LISTS = [list(COLUMNS).index(name) for name in ("arms", "annotators")]

_Encode = Callable[[Iterable[Row]], bytes]


def export(
    *,
    delivered: DeliveredVersion,
    by: User,
    directory: Path | str | None = None,
    formats: Sequence[str] = USUAL,
    show: lifecycle.Show | None = None,
    attempt: lifecycle.Attempt | None = None,
) -> Path:
    """Write one data file per format and then their manifest; returns the manifest's path.

    The files go into `directory`, by default the project's folder among the stored exports. The same database state
    gives the same bytes. A folder that holds the manifest holds its files whole. `attempt`: the attempt at the run that
    exports; None for a command, which makes no run.
    """
    project = delivered.project
    access.require(by, project, to="manage")
    wanted = _checked(formats)
    folder = _folder(project, directory)
    target = _manifest_name(delivered)
    fields = modality(project.modality).FIELDS
    if attempt is None:
        downloads.of_command(delivered, by=by)
    with ExitStack() as open_files:
        drafts = {name: open_files.enter_context(folder.whole(_file_name(delivered, name))) for name in wanted}
        with read_snapshot():
            provenance = Provenance(delivered)
            for blocks in _blocks(provenance, wanted, fields, delivered.n_pool, show):
                for name, block in blocks.items():
                    drafts[name].write(block)
            written = [
                {"name": _file_name(delivered, name), "format": name, "n_bytes": draft.n_bytes, "sha256": draft.sha256}
                for name, draft in drafts.items()
            ]
            content = manifest.build(delivered, provenance.counts, written)
        rows = provenance.counts.rows
        with files.changing(lambda: show(rows, rows) if show else None):  # files and their row, as a backup needs them
            folder.remove(target)  # an older export's manifest: the files that it describes are about to be replaced
            open_files.close()  # the drafts become the files
            sha256 = folder.save(target, [manifest.dump(content)])
            failpoints.hit("export.manifest")
            _record(delivered, attempt, by, folder, written, sha256, rows)
    failpoints.hit("export.recorded")
    return folder.path / target


def _record(
    delivered: DeliveredVersion,
    attempt: lifecycle.Attempt | None,
    by: User,
    folder: files.Folder,
    written: list[dict[str, Any]],
    manifest_sha256: str,
    n_rows: int,
) -> None:
    facts = {"n_rows": n_rows, "manifest_sha256": manifest_sha256}
    with transaction.atomic():
        if attempt:
            attempt.write(n_rows, n_rows)
        Export.objects.create(
            project=delivered.project,
            delivered_version=delivered,
            run=attempt.run if attempt else None,
            folder=folder.name,
            manifest=_manifest_name(delivered),
            files=[{"bytes" if key == "n_bytes" else key: one[key] for key in one} for one in written],
            created_by=by,
            created_at=database_now(),
            **facts,
        )
        record("export.completed", project=delivered.project, by=by, version=delivered.version, **facts)


def stored_manifest(delivered: DeliveredVersion) -> Path:
    """The path of this version's manifest in the project's folder of the store, whether or not it was exported."""
    return files.path_of(f"{_stored_folder(delivered.project)}/{_manifest_name(delivered)}")


def verify_origin(manifest_path: Path, project: Project) -> list[str]:
    """The problem, if no Export row of `project` has this manifest's checksum; empty if the project wrote it."""
    if project.exports.filter(manifest_sha256=files.checksum(Path(manifest_path))).exists():
        return []
    return [f"no export of {project} wrote this manifest; it is another project's, or was changed since"]


def _blocks(
    provenance: Provenance,
    formats: Sequence[str],
    fields: tuple[str, ...],
    n_rows: int,
    show: lifecycle.Show | None,
) -> Iterator[dict[str, bytes]]:
    """The files' bytes by format, one dict per chunk of rows: the rows are read once for all formats."""
    encode: dict[str, _Encode] = {
        "jsonl": _jsonl,
        "csv": lambda rows: csv.lines(_cells(row, fields) for row in rows),
        "csv-spreadsheet": lambda rows: spreadsheet.lines([*_cells(row, fields), None] for row in rows),
    }
    header = _header(fields)
    heads = {
        "csv": csv.lines([header]),
        "csv-spreadsheet": spreadsheet.MARK + spreadsheet.lines([[*header, spreadsheet.COLUMN]]),
    }
    yield {name: heads[name] for name in formats if name in heads}
    for rows in provenance.chunks():
        yield {name: encode[name](rows) for name in formats}
        failpoints.hit("export.chunk")
        if show:
            show(provenance.counts.rows, n_rows)


def _jsonl(rows: Iterable[Row]) -> bytes:
    return jsonl.write(dict(zip(COLUMNS, row, strict=True)) for row in rows)


def _header(fields: tuple[str, ...]) -> list[str]:
    names = list(COLUMNS)
    return [*names[:_PAYLOAD], *(f"payload.{field}" for field in fields), *names[_PAYLOAD + 1 :]]


def _cells(row: Row, fields: tuple[str, ...]) -> list[csv.Cell]:
    """The row as CSV cells: one per field of the payload, lists joined by semicolons, an empty list as null."""
    cells = list(row)
    for place in _LISTS:
        cells[place] = ";".join(cells[place]) or None
    cells[_PAYLOAD : _PAYLOAD + 1] = [row[_PAYLOAD].get(field) for field in fields]
    return cells


def _checked(formats: Sequence[str]) -> list[str]:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InvalidInput(
            _("Cannot export as %(value)s; there are: %(formats)s.")
            % {"value": ", ".join(unknown) or "nothing", "formats": ", ".join(FORMATS)}
        )
    return list(dict.fromkeys(formats))


def _stored_folder(project: Project) -> str:
    return f"{files.EXPORTS}/{project.slug}"


def _stem(delivered: DeliveredVersion) -> str:
    return f"{delivered.project.slug}-v{delivered.version}"


def _file_name(delivered: DeliveredVersion, name: str) -> str:
    return f"{_stem(delivered)}.{_ENDINGS[name]}"


def _manifest_name(delivered: DeliveredVersion) -> str:
    return f"{_stem(delivered)}.manifest.json"


def _folder(project: Project, directory: Path | str | None) -> files.Folder:
    named = None if directory is None else files.Folder.outside(Path(directory))
    folder = named or files.Folder.in_store(_stored_folder(project))
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            _("%(path)s cannot be a folder for the export: %(strerror)s.")
            % {"path": folder.path, "strerror": error.strerror}
        ) from error
    return folder
