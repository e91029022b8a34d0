"""Whether the site is alive, as load balancers and `serve` ask."""

import os
import time

import pytest
from django.db import OperationalError, connection

from annotate.runs import worker_alive

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sign(settings, tmp_path):
    """Where a worker shows that it lives."""
    settings.VAR_DIR = tmp_path
    return tmp_path / "worker.alive"


def test_a_site_without_a_worker_is_alive_and_says_so(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok", "worker": "none"})


def test_it_tells_when_the_database_does_not_answer(client):
    def broken(*_):
        raise OperationalError("no such host db.internal")

    with connection.execute_wrapper(broken):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["database"]) == (503, "error")
    assert b"db.internal" not in answer.content


def test_it_changes_nothing(client):
    assert client.post("/healthz").status_code == 405


def test_a_worker_that_goes_round_is_alive(sign):
    worker_alive.worker_lives()
    assert worker_alive.worker_state() == "ok"
    worker_alive.worker_ends()
    assert worker_alive.worker_state() == "none"


def test_one_that_was_killed_is_noticed(sign):
    worker_alive.worker_lives()
    os.utime(sign, (time.time() - 60,) * 2)
    assert worker_alive.worker_state() == "none"


def test_what_cannot_be_looked_at_is_unknown(settings, tmp_path):
    (tmp_path / "file").touch()
    settings.VAR_DIR = tmp_path / "file"
    assert worker_alive.worker_state() == "unknown"
