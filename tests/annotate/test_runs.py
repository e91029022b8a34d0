"""Runs: one of a kind alive, the dead taken over, every one ended."""

import os
from datetime import timedelta

import pytest

from annotate import runs
from annotate.errors import InvalidInput, RunBusy, RunLost
from annotate.models import Run
from annotate.models.base import database_now
from tests.factories import make_project

pytestmark = pytest.mark.django_db


def running(project, **fields):
    now = database_now()
    fields = {"host": "elsewhere", "pid": 1, "heartbeat_at": now, "lease_until": now + timedelta(60), **fields}
    return Run.objects.create(**{"project": project, "kind": "train", "state": Run.State.RUNNING, **fields})


def test_it_ends_succeeded():
    with runs.start(kind="train", project=make_project(), by=None):
        pass
    assert Run.objects.get().state == Run.State.SUCCEEDED


def test_an_expected_failure_is_a_sentence_without_a_trace():
    with pytest.raises(InvalidInput), runs.start(kind="train", project=make_project(), by=None):
        raise InvalidInput("No such thing.")
    run = Run.objects.get()
    assert (run.state, run.message, run.trace) == (Run.State.FAILED, "No such thing.", "")


def test_a_crash_keeps_its_trace():
    with pytest.raises(ZeroDivisionError), runs.start(kind="train", project=make_project(), by=None):
        1 / 0  # noqa: B018
    run = Run.objects.get()
    assert run.state == Run.State.ERRORED
    assert "ZeroDivisionError" in run.trace


def test_an_interrupt_ends_it_too():
    with pytest.raises(KeyboardInterrupt), runs.start(kind="train", project=make_project(), by=None):
        raise KeyboardInterrupt
    assert Run.objects.get().state == Run.State.ERRORED


def test_one_of_a_kind_is_alive():
    project = make_project()
    running(project)
    with pytest.raises(RunBusy, match="train is running"), runs.start(kind="train", project=project, by=None):
        pass


def test_another_kind_and_another_project_do_not_wait():
    project = make_project()
    running(project)
    with runs.start(kind="import", project=project, by=None), runs.start(kind="train", project=make_project(), by=None):
        pass


def test_one_whose_lease_ran_out_is_taken_over_as_the_next_attempt():
    project = make_project()
    lost = running(project, lease_until=database_now() - timedelta(seconds=1))
    with runs.start(kind="train", project=project, by=None) as attempt:
        assert (attempt.run.pk, attempt.run.attempt) == (lost.pk, 2)
    assert Run.objects.get().state == Run.State.SUCCEEDED


def test_a_dead_process_of_this_machine_is_taken_over_at_once():
    import socket

    project = make_project()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    running(project, host=socket.gethostname(), pid=child)
    with runs.start(kind="train", project=project, by=None) as attempt:
        assert attempt.run.attempt == 2


def test_who_lost_the_run_writes_nothing_more():
    project = make_project()
    with pytest.raises(RunLost), runs.start(kind="train", project=project, by=None) as attempt:
        Run.objects.update(attempt=2)  # another worker took over
        attempt.write(1)
    run = Run.objects.get()
    assert (run.state, run.n_done) == (Run.State.RUNNING, 0)


def test_progress_is_seen_from_outside():
    with runs.start(kind="train", project=make_project(), by=None) as attempt:
        attempt.write(3, 7)
        run = Run.objects.get()
        assert (run.n_done, run.n_total) == (3, 7)
