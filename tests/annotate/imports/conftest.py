"""An empty project, and imports that commit often."""

import pytest

from annotate.imports import ingest
from tests.factories import make_project


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
