"""Workers in processes of their own, killed at bad moments: every run ends, with the same rows."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as project_settings
from django.core.management import call_command
from django.db import connection

from annotate import tasks
from annotate.imports import ingest
from annotate.models import Prediction, Run
from annotate.runs import lifecycle
from annotate.silver import prelabel
from tests import services, slow_llm
from tests.factories import make_project, owner_of, write_jsonl
from tests.processes import ROOT, run_manage
from tests.stub_llm import stub_llm
from tests.waiting import wait_until

DEMO = Path(project_settings.BASE_DIR) / "annotate" / "demo" / "banking77.jsonl"
pytestmark = [
    pytest.mark.only_on("sqlite"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("events_can_be_flushed"),
]


@pytest.fixture
def environment(tmp_path, settings):
    """Children work in this test's database and folders."""
    settings.VAR_DIR = tmp_path
    return {
        **os.environ,
        "VAR_DIR": str(tmp_path),
        "FILES_DIR": str(settings.FILES_DIR),
        "DATABASE_URL": services.url_of(connection),
        "WORKER_POLL_SECONDS": "0.05",
    }


@pytest.fixture
def start_worker(environment):
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def project_of(n_items, tmp_path):
    lines = DEMO.read_text(encoding="utf-8").splitlines()[:n_items]
    rows = [{"id": row["id"], "text": row["text"]} for row in map(json.loads, lines)]
    project = make_project(labels=("card", "transfer", "exchange"))
    ingest.import_items(project=project, path=write_jsonl(tmp_path / "items.jsonl", rows), by=owner_of(project))
    return project


def asked(project, kind="prelabel", **parameters):
    return tasks.enqueue(kind=kind, project=project, by=owner_of(project), parameters=parameters)


def silver(project):
    rows = Prediction.objects.filter(prompt__project=project).order_by("item__ordinal")
    return list(rows.values_list("item__external_id", "label_index", "probabilities"))


def at_work(run, worker, n_done=0):
    """Whether the child has begun, and got at least so far."""
    run.refresh_from_db()
    return run.step and run.n_done >= n_done and run.pid not in (None, worker.pid)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def ended(run):
    run.refresh_from_db()
    return run.finished_at is not None


def succeeded(run):
    run.refresh_from_db()
    assert run.state in (Run.State.QUEUED, Run.State.RUNNING, Run.State.SUCCEEDED), run.message
    return run.state == Run.State.SUCCEEDED


@pytest.mark.slow
def test_a_run_killed_half_way_is_finished_by_the_next_attempt_with_the_same_rows(tmp_path, start_worker):
    project, undisturbed = project_of(2_300, tmp_path), project_of(2_300, tmp_path)
    run, worker = asked(project), start_worker()
    wait_until(lambda: at_work(run, worker, n_done=1_024))  # one durable step of vectors is there
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: succeeded(run))
    assert run.attempt == 2
    prelabel.prelabel(project=undisturbed, by=owner_of(undisturbed))
    assert silver(project) == silver(undisturbed)
    call_command("verify", project.slug)


def test_a_killed_worker_takes_its_child_along_and_the_next_one_finishes(tmp_path, start_worker):
    run, worker = asked(project_of(40, tmp_path)), start_worker()
    wait_until(lambda: at_work(run, worker))
    worker.kill()
    worker.wait()
    wait_until(lambda: is_gone(run.pid) or succeeded(run))
    start_worker()
    wait_until(lambda: succeeded(run))
    assert len(silver(run.project)) == 40
    call_command("verify", run.project.slug)


def test_a_worker_that_is_stopped_gives_its_run_back_and_wastes_no_attempt(tmp_path, start_worker):
    run, worker = asked(project_of(40, tmp_path)), start_worker()
    wait_until(lambda: at_work(run, worker))
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    run.refresh_from_db()
    assert (run.state, run.attempt, run.pid, run.step) == (Run.State.QUEUED, 1, None, "")
    assert not (tmp_path / "worker.alive").exists()
    start_worker()
    wait_until(lambda: succeeded(run))
    assert run.attempt == 1
    assert len(silver(run.project)) == 40


def test_a_slow_llm_run_holds_nobody_up_and_is_given_back(tmp_path, start_worker):
    with stub_llm(latency_seconds=100) as stub:
        waiting, worker = asked(slow_llm.asking(stub, tmp_path)), start_worker()
        wait_until(lambda: stub.bill().n_requests == 4)
        run = asked(project_of(5, tmp_path), "estimate")
        wait_until(lambda: succeeded(run))
        assert at_work(waiting, worker)
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    waiting.refresh_from_db()
    assert (waiting.state, waiting.attempt, waiting.pid) == (Run.State.QUEUED, 1, None)


@pytest.mark.slow
def test_all_lanes_work_at_once_in_one_project_and_in_others(tmp_path, start_worker):
    with stub_llm(latency_seconds=100) as stub:
        slow, second, other = slow_llm.asking(stub, tmp_path), slow_llm.asking(stub, tmp_path), project_of(40, tmp_path)
        waiting, worker = [asked(slow), asked(second)], start_worker()
        wait_until(lambda: stub.bill().n_requests == 8)
        for kind in ("draw", "train", "estimate", "export"):
            runs = [asked(project, kind) for project in (other, slow)]
            wait_until(lambda runs=runs: all(ended(run) for run in runs), seconds=120)
        assert all(at_work(run, worker) for run in waiting)
        stub.change(latency_seconds=0)
        for run in waiting:
            lifecycle.pause(run=run, by=run.started_by, now=True)
            wait_until(lambda run=run: run.refresh_from_db() or run.state == Run.State.PAUSED)
            tasks.resume(run=run, by=run.started_by)
        wait_until(lambda: all(succeeded(run) for run in waiting))
        assert Prediction.objects.filter(item__project__in=[slow, second], status="ok").count() == 24
    for project in (slow, second, other):
        call_command("verify", project.slug)


@pytest.mark.slow
def test_once_it_ends_when_nothing_waits_in_any_lane(tmp_path, environment):
    with stub_llm() as stub:
        slow, other = slow_llm.asking(stub, tmp_path), project_of(5, tmp_path)
        runs = [asked(slow), asked(other, "estimate"), asked(other, "close")]
        assert run_manage("worker", "--once", environment=environment).returncode == 0
        assert all(ended(run) for run in runs) and runs[0].state == Run.State.SUCCEEDED
        slow_llm.assert_asked_once(slow, stub)


@pytest.mark.slow
def test_a_server_killed_three_times_under_a_worker_that_also_trains(tmp_path, start_worker):
    """The server is a process that is killed with -9; all items are answered once, and the training ends, too."""
    with slow_llm.server(tmp_path / "bill") as server:
        slow, other = slow_llm.asking(server, tmp_path, n=200), project_of(40, tmp_path)
        first, _worker = asked(other, "prelabel"), start_worker()
        wait_until(lambda: succeeded(first))
        run, training = asked(slow), asked(other, "train")
        for n in (1, 2, 3):
            wait_until(lambda n=n: server.n_charged() >= 40 * n)
            server.kill()
            wait_until(lambda n=n: slow_llm.n_outages(run) == n)
            server.start()
        wait_until(lambda: succeeded(run) and succeeded(training), seconds=120)
    assert run.attempt == 1 and run.result["n_unanswered"] == 0
    assert Prediction.objects.filter(item__project=slow, status="ok").count() == 200
    slow_llm.assert_no_charge_is_missing(slow, server, n=200)
    for project in (slow, other):
        call_command("verify", project.slug)


def test_a_failure_is_a_sentence_and_a_crash_keeps_its_trace(environment):
    expected, crash = make_project(), make_project()
    asked(expected, "close")
    Run.objects.create(project=crash, kind="close", parameters={"nonsense": 1}, started_by=owner_of(crash))
    done = run_manage("worker", "--once", environment=environment)
    assert done.returncode == 0
    failed, errored = Run.objects.order_by("pk")
    assert (failed.state, failed.trace) == (Run.State.FAILED, "")
    assert "has no open round" in failed.message
    assert errored.state == Run.State.ERRORED
    assert "TypeError" in errored.trace


def test_a_nonsensical_setting_is_a_sentence(environment):
    done = run_manage("worker", environment={**environment, "WORKER_POLL_SECONDS": "often"})
    assert done.returncode == 1
    assert done.stderr.strip() == "CommandError: WORKER_POLL_SECONDS is 'often'; give seconds, for instance 1."
