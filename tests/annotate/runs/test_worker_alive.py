"""Whether a worker counts as alive: by a file of its machine, or by a row that all machines see."""

import os
import time
from datetime import timedelta

import pytest

from annotate.models import Heartbeat
from annotate.models.base import database_now
from annotate.runs import worker_alive

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sign(settings, tmp_path, monkeypatch):
    """Where a worker shows that it lives; it has written no row yet."""
    settings.VAR_DIR = tmp_path
    monkeypatch.setitem(worker_alive._row_written, "at", -worker_alive._ROW_SECONDS)
    return tmp_path / "worker.alive"


def test_a_worker_that_goes_round_is_alive():
    worker_alive.worker_lives()
    assert worker_alive.worker_state() == "ok"


def test_one_that_has_ended_is_not(settings):
    worker_alive.worker_lives()
    worker_alive.worker_ends()
    Heartbeat.objects.update(at=database_now() - timedelta(seconds=60))
    assert worker_alive.worker_state() == "none"


def test_one_of_another_machine_is_alive(settings, tmp_path):
    worker_alive.worker_lives()
    settings.VAR_DIR = tmp_path / "elsewhere"
    assert worker_alive.worker_state() == "ok"


def test_its_row_is_written_now_and_then():
    worker_alive.worker_lives()
    Heartbeat.objects.all().delete()
    worker_alive.worker_lives()
    assert not Heartbeat.objects.exists()


def test_one_that_was_killed_is_noticed(sign):
    worker_alive.worker_lives()
    os.utime(sign, (time.time() - 60,) * 2)
    Heartbeat.objects.update(at=database_now() - timedelta(seconds=60))
    assert worker_alive.worker_state() == "none"


def test_what_cannot_be_looked_at_is_unknown(settings, tmp_path):
    (tmp_path / "file").touch()
    settings.VAR_DIR = tmp_path / "file"
    worker_alive.worker_lives()  # it cannot say so, and works on
    assert worker_alive.worker_state() == "unknown"
