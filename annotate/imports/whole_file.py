"""Decides how a file is read that is too long to be looked at while somebody waits: by all of it, in a run."""

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

from annotate import access
from annotate.formats import detection
from annotate.formats.columns import Chosen
from annotate.formats.dialect import Dialect
from annotate.formats.reader import reader_of
from annotate.imports import uploads
from annotate.imports.file_preview import mapping_of
from annotate.modalities import modality
from annotate.models import Project, User


def is_settled(dialect: Mapping[str, Any], columns: Chosen, project: Project) -> bool:
    """Whether dialect and columns say all that a reader must know, so that nothing is to be detected."""
    return Dialect.is_whole(dialect) and columns.keys() >= set(modality(project.modality).FIELDS)


def settle(
    *,
    project: Project,
    by: User,
    upload: str,
    dialect: Mapping[str, Any],
    columns: Chosen,
    beat: Callable[[int, int | None], None] = lambda done, total: None,
) -> dict[str, Any]:
    """{dialect, columns}, complete: as given, and the rest as the whole file of the upload with this public id says.

    InvalidInput if the file is neither a table nor JSON. `beat` is called after each block that was read.
    """
    access.require(by, project, to="manage")
    row, wanted = uploads.find(project=project, public_id=upload), [column for column in columns.values() if column]
    with uploads.opened(row) as file:
        found = detection.detect(
            file,
            row.file_name,
            lambda: beat(0, None),
            limit=settings.IMPORT_MAX_BYTES,
            choices=dialect,
            columns=wanted,
        )
        names = reader_of(found.dialect).names(file)
    mapping = mapping_of(found.dialect, names, columns, modality(project.modality).FIELDS)
    return {"dialect": found.dialect.to_json(), "columns": mapping}
