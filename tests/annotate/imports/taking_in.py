"""Files taken in by a test, what came of them, and imports that crash on the way."""

from typing import Any

import pytest

from annotate.imports import ingest, writer
from annotate.models import Import, Item, RejectedRow, Upload
from tests.factories import owner_of, write_jsonl


def take_in(project, path, **options) -> Import:
    return ingest.import_items(project=project, path=path, by=owner_of(project), **options)


def take_in_rows(project, tmp_path, rows, name="items.jsonl", **options) -> Import:
    return take_in(project, write_jsonl(tmp_path / name, rows), **options)


def take_in_bytes(project, tmp_path, content: bytes, **options) -> Import:
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)
    return take_in(project, path, **options)


def pool_of(project) -> list[Item]:
    return list(Item.objects.filter(project=project).in_pool().order_by("ordinal"))


def only_rejected(source: Import) -> RejectedRow:
    return source.rejected_rows.get(kind=RejectedRow.Kind.REJECTED)


def ordinals(project) -> list[int]:
    return list(Item.objects.filter(project=project).order_by("ordinal").values_list("ordinal", flat=True))


def interrupt(monkeypatch, upload: Upload) -> dict[str, Any]:
    """Import the first row of an uploaded table, then crash; what the import was told comes back, to go on with it."""
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 1)
    options = {"upload": upload.public_id, "dialect": {"format": "csv"}, "columns": {"id": "id", "text": "text"}}
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            ingest.import_upload(project=upload.project, by=owner_of(upload.project), **options)
    return options


class Stop(Exception):
    """The crash."""


def stop_after(monkeypatch, n_chunks: int, *, inside: bool = False) -> None:
    """Crash after `n_chunks` committed ones: at the boundary, or inside the next one just before its cursor."""
    calls = []
    name = "_advance" if inside else "store"
    original = getattr(writer.Writer, name)

    def crash(self, *args):
        if len(calls) == n_chunks:
            raise Stop
        calls.append(1)
        return original(self, *args)

    monkeypatch.setattr(writer.Writer, name, crash)
