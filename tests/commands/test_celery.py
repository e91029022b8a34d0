"""Celery workers with a real Redis: rung for a run, killed, forgotten by the broker, told twice."""

import os
import signal
import subprocess
from contextlib import ExitStack

import pytest
from django.conf import settings as project_settings
from django.core.management import call_command
from django.db import connection

from annotate import tasks
from annotate.models import Run
from annotate.runs import lifecycle, notify
from tests import services, slow_llm
from tests.commands.test_worker import at_work, is_gone, project_of, silver, succeeded
from tests.factories import owner_of
from tests.stub_llm import stub_llm
from tests.waiting import wait_until
from tests.workers import CELERY, environment_for, working

pytestmark = [
    pytest.mark.only_on("postgresql"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("events_can_be_flushed"),
]


@pytest.fixture
def environment(tmp_path, settings, redis_server):
    settings.VAR_DIR = tmp_path
    settings.REDIS_URL = redis_server.url
    own = project_settings.DATABASES["default"]
    database = f"sqlite:///{connection.settings_dict['NAME']}"
    if connection.vendor == "postgresql":
        database = f"postgres://{own['USER']}@{own['HOST']}:{own['PORT']}/{connection.settings_dict['NAME']}"
    return environment_for(database, str(tmp_path), REDIS_URL=redis_server.url, FILES_DIR=str(settings.FILES_DIR))


@pytest.fixture
def ring(environment, monkeypatch):
    """This process rings too, at the Redis of the test."""
    from celery import Celery

    app = Celery("ringing", broker=environment["REDIS_URL"])
    app.conf.broker_transport_options = {"socket_connect_timeout": 1, "socket_timeout": 1}
    app.conf.broker_connection_timeout = 1
    import sys
    import types

    monkeypatch.setitem(sys.modules, "labelapp.celery", types.SimpleNamespace(app=app))
    return notify.notify_workers


def asked(project, kind="prelabel"):
    return tasks.enqueue(kind=kind, project=project, by=owner_of(project))


def test_a_run_is_performed_because_the_bell_rang(tmp_path, environment, ring):
    project = project_of(40, tmp_path)
    with working(CELERY, {**environment, "RUN_SWEEP_SECONDS": "3600"}):
        run = asked(project)
        wait_until(lambda: succeeded(run), seconds=60)
    assert len(silver(project)) == 40
    assert run.notified_at is not None


@pytest.mark.slow
def test_rung_for_five_times_it_is_performed_once(tmp_path, environment, ring):
    project = project_of(40, tmp_path)
    run = asked(project)
    for _ in range(4):
        ring(run)
    with working(CELERY, environment):
        wait_until(lambda: succeeded(run), seconds=60)
        later = asked(project, "estimate")
        wait_until(lambda: succeeded(later), seconds=60)
    assert run.attempt == 1
    assert len(silver(project)) == 40
    assert [line.text for line in lifecycle.log(run)].count("Pre-labeling.") == 1


def test_a_broker_that_forgot_everything_is_rung_again(tmp_path, environment, ring, redis_server):
    project = project_of(40, tmp_path)
    run = asked(project)
    redis_server.kill()
    redis_server.start()
    with working(CELERY, environment):
        wait_until(lambda: succeeded(run), seconds=60)
    assert len(silver(project)) == 40


@pytest.mark.slow
def test_a_broker_that_restarts_under_the_worker_loses_nothing(tmp_path, environment, ring, redis_server):
    first, second = project_of(40, tmp_path), project_of(40, tmp_path)
    with working(CELERY, environment) as worker:
        run = asked(first)
        wait_until(lambda: succeeded(run), seconds=60)
        redis_server.kill()
        run = asked(second)  # nobody who asks notices
        redis_server.start()
        wait_until(lambda: succeeded(run), seconds=90)
        assert worker.n_starts == 1
    assert len(silver(second)) == 40


@pytest.mark.slow
def test_a_killed_child_is_missed_and_the_run_finished(tmp_path, environment, ring):
    project = project_of(1_500, tmp_path)
    with working(CELERY, environment) as worker:
        run = asked(project)
        wait_until(lambda: at_work(run, worker.process, n_done=1_024), seconds=60)
        os.kill(run.pid, signal.SIGKILL)
        wait_until(lambda: succeeded(run), seconds=60)
    assert run.attempt == 2
    assert len(silver(project)) == 1_500
    call_command("verify", project.slug)


@pytest.mark.slow  # test_kills.py kills one of Celery's in every run
def test_a_killed_worker_with_its_whole_pool_is_followed_by_another(tmp_path, environment, ring):
    project = project_of(1_500, tmp_path)
    with working(CELERY, environment) as worker:
        run = asked(project)
        wait_until(lambda: at_work(run, worker.process, n_done=1_024), seconds=60)
        performing = run.pid
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        wait_until(lambda: is_gone(performing), seconds=20)
        worker.keep()
        wait_until(lambda: succeeded(run), seconds=60)
    assert len(silver(project)) == 1_500
    call_command("verify", project.slug)


def test_a_worker_that_is_stopped_gives_its_run_back(tmp_path, environment, ring):
    project = project_of(1_500, tmp_path)
    with working(CELERY, environment) as worker:
        run = asked(project)
        wait_until(lambda: at_work(run, worker.process), seconds=60)
        assert worker.stop() == 0
        run.refresh_from_db()
        assert (run.state, run.attempt) == (Run.State.QUEUED, 1)


@pytest.mark.slow
def test_a_slow_llm_run_holds_nobody_up(tmp_path, environment, ring):
    """With the workers of docs/operations.md, one for each lane."""
    words = {lane: [{"llm,io,ml": lane, "2": "1"}.get(word, word) for word in CELERY] for lane in ("llm", "io", "ml")}
    with stub_llm(latency_seconds=100) as stub, ExitStack() as workers:
        slow, other = slow_llm.asking(stub, tmp_path), project_of(40, tmp_path)
        waiting = asked(slow)
        for one in words.values():
            workers.enter_context(working(one, environment))
        wait_until(lambda: stub.bill().n_requests == 4, seconds=60)
        for kind in ("prelabel", "train"):
            run = asked(other, kind)
            wait_until(lambda run=run: succeeded(run), seconds=90)
        waiting.refresh_from_db()
        assert waiting.state == Run.State.RUNNING
        stub.change(latency_seconds=0)
        lifecycle.pause(run=waiting, by=waiting.started_by, now=True)
        wait_until(lambda: waiting.refresh_from_db() or waiting.state == Run.State.PAUSED)
        tasks.resume(run=waiting, by=waiting.started_by)
        wait_until(lambda: succeeded(waiting), seconds=60)
    assert len(silver(slow)) == 12
    for project in (slow, other):
        call_command("verify", project.slug)


def test_without_a_broker_nobody_who_asks_waits_or_fails(tmp_path, environment, ring, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{services.free_port()}/0"
    run = asked(project_of(5, tmp_path))
    assert Run.objects.get(pk=run.pk).state == Run.State.QUEUED


def test_celery_without_an_address_says_what_is_missing(environment):
    del environment["REDIS_URL"]
    done = subprocess.run(CELERY, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "REDIS_URL" in done.stderr + done.stdout
