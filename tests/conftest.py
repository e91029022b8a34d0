"""Fixtures named as facts; rows come from tests/factories.py."""

import os
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def files_in_a_temporary_folder(settings, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture(scope="module")
def events_can_be_flushed():
    """A test without a transaction around it empties the tables; the event log's triggers step aside for that."""
    migration = import_module("annotate.migrations.0002_append_only_events")
    operations = type(connection.ops)
    flush = operations.execute_sql_flush

    def flush_all(self, statements):
        with connection.cursor() as cursor:
            for statement in migration.UNDO[connection.vendor]:
                cursor.execute(statement)
            flush(self, statements)
            for statement in (migration.SQLITE if connection.vendor == "sqlite" else migration.POSTGRESQL).values():
                cursor.execute(statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "execute_sql_flush", flush_all)
        yield
