"""Fixtures of the domain modules' tests."""

from datetime import timedelta

import pytest

from annotate import rounds
from annotate.imports import ingest
from annotate.models.base import database_now
from tests.factories import make_project, owner_of, rows_of, write_jsonl


@pytest.fixture
def asked(tmp_path):
    """A project with an open round of ten questions."""

    def make(batch=10, **settings):
        project = make_project(**settings)
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(60))
        ingest.import_items(project=project, path=path, by=owner_of(project))
        rounds.draw_round(project=project, batch=batch, by=owner_of(project))
        return project

    return make


@pytest.fixture
def now():
    return database_now()


@pytest.fixture
def late(settings, now):
    """A moment when every lease of the next minute has run out."""
    return now + timedelta(seconds=settings.ANSWER_LEASE_SECONDS + 60)
