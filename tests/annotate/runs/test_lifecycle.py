"""Runs: one of a kind alive, the dead taken over, every one ended."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections, transaction

from annotate import tasks
from annotate.errors import AccessDenied, InvalidInput, NotFound, RunBusy, RunLost, RunPaused
from annotate.models import Project, Run
from annotate.models.base import database_now
from annotate.models.snapshot import read_snapshot
from annotate.runs import attempt as attempt_module
from annotate.runs import lifecycle
from tests.factories import make_member, make_project, make_user, owner_of
from tests.refusing import refusing_files, refusing_writes
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def running(project, **fields):
    now = database_now()
    fields = {"host": "elsewhere", "pid": 1, "heartbeat_at": now, "lease_until": now + timedelta(60), **fields}
    return Run.objects.create(**{"project": project, "kind": "train", "state": Run.State.RUNNING, **fields})


def test_it_ends_succeeded():
    with lifecycle.start(kind="train", project=make_project(), by=None):
        pass
    assert Run.objects.get().state == Run.State.SUCCEEDED


def test_an_expected_failure_is_a_sentence_without_a_trace():
    with pytest.raises(InvalidInput), lifecycle.start(kind="train", project=make_project(), by=None):
        raise InvalidInput("No such thing.")
    run = Run.objects.get()
    assert (run.state, run.message, run.trace) == (Run.State.FAILED, "No such thing.", "")


def test_a_crash_keeps_its_trace():
    with pytest.raises(ZeroDivisionError), lifecycle.start(kind="train", project=make_project(), by=None):
        1 / 0  # noqa: B018
    run = Run.objects.get()
    assert run.state == Run.State.ERRORED
    assert "ZeroDivisionError" in run.trace


def test_a_full_disk_pauses_it_with_a_sentence(tmp_path):
    project = make_project()
    with pytest.raises(RunPaused), lifecycle.start(kind="train", project=project, by=None), refusing_files():
        (tmp_path / "model").write_bytes(b"x")
    run = Run.objects.get()
    assert (run.state, run.trace, run.finished_at) == (Run.State.PAUSED, "", None)
    assert "the disk of this site is full" in run.message
    resumed = lifecycle.resume(run=run, by=owner_of(project))
    assert resumed.state == Run.State.QUEUED


def test_a_database_that_takes_nothing_pauses_it_with_a_sentence():
    project = make_project()
    is_performed = lifecycle.start(kind="train", project=project, by=None)
    with pytest.raises(RunPaused), is_performed as attempt, transaction.atomic(), refusing_writes():
        attempt.say("x")
    run = Run.objects.get()
    assert (run.state, run.trace) == (Run.State.PAUSED, "")
    assert "this site can only be read" in run.message


def test_an_interrupt_ends_it_too():
    with pytest.raises(KeyboardInterrupt), lifecycle.start(kind="train", project=make_project(), by=None):
        raise KeyboardInterrupt
    assert Run.objects.get().state == Run.State.ERRORED


def test_one_of_a_kind_is_alive():
    project = make_project()
    running(project)
    with pytest.raises(RunBusy, match="train is running"), lifecycle.start(kind="train", project=project, by=None):
        pass


def test_another_kind_and_another_project_do_not_wait():
    project = make_project()
    running(project)
    with (
        lifecycle.start(kind="import", project=project, by=None),
        lifecycle.start(kind="train", project=make_project(), by=None),
    ):
        pass


def test_one_whose_lease_ran_out_is_taken_over_as_the_next_attempt():
    project = make_project()
    lost = running(project, lease_until=database_now() - timedelta(seconds=1))
    with lifecycle.start(kind="train", project=project, by=None) as attempt:
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
    with lifecycle.start(kind="train", project=project, by=None) as attempt:
        assert attempt.run.attempt == 2


def test_who_lost_the_run_writes_nothing_more():
    project = make_project()
    with pytest.raises(RunLost), lifecycle.start(kind="train", project=project, by=None) as attempt:
        Run.objects.update(attempt=2)  # another worker took over
        attempt.write(1)
    run = Run.objects.get()
    assert (run.state, run.n_done) == (Run.State.RUNNING, 0)


def test_progress_is_seen_from_outside():
    with lifecycle.start(kind="train", project=make_project(), by=None) as attempt:
        attempt.write(3, 7)
        run = Run.objects.get()
        assert (run.n_done, run.n_total) == (3, 7)


def queued(project, kind="prelabel", **parameters):
    return tasks.enqueue(kind=kind, project=project, by=owner_of(project), parameters=parameters)


class TestEnqueue:
    def test_it_waits_for_a_worker(self):
        run = queued(make_project(), "draw", batch=7)
        assert (run.state, run.pid, run.lease_until) == (Run.State.QUEUED, None, None)
        assert run.parameters == {"batch": 7}

    def test_a_double_click_is_one_run(self):
        project = make_project()
        assert queued(project) == queued(project)

    def test_another_of_the_kind_is_refused_while_one_waits(self):
        project = make_project()
        queued(project, "draw", batch=7)
        with pytest.raises(RunBusy, match="A draw is waiting"):
            queued(project, "draw", batch=8)

    def test_one_from_the_shell_is_in_the_way(self):
        project = make_project()
        with (
            lifecycle.start(kind="train", project=project, by=None),
            pytest.raises(RunBusy, match="A train is running"),
        ):
            queued(project, "train")

    def test_a_stranger_does_not_know_the_project(self):
        with pytest.raises(NotFound):
            tasks.enqueue(kind="train", project=make_project(), by=make_user("Sam"))

    def test_an_annotator_may_not(self):
        project = make_project()
        with pytest.raises(AccessDenied):
            tasks.enqueue(kind="train", project=project, by=make_member(project, "Ann"))

    @pytest.mark.parametrize(("kind", "parameters"), [("dance", {}), ("draw", {"batch": "7"}), ("train", {"batch": 7})])
    def test_it_refuses_what_no_worker_can_do(self, kind, parameters):
        with pytest.raises(InvalidInput):
            queued(make_project(), kind, **parameters)


class TestClaiming:
    def test_the_oldest_comes_first_and_only_once(self):
        first, second = queued(make_project()), queued(make_project())
        assert [lifecycle.claim_next(), lifecycle.claim_next(), lifecycle.claim_next()] == [first, second, None]

    def test_a_lost_one_waits_for_its_next_attempt(self):
        project = make_project()
        running(project, lease_until=database_now() - timedelta(seconds=1))
        run = lifecycle.claim_next()
        assert run is not None
        assert (run.attempt, run.state) == (2, Run.State.RUNNING)

    def test_what_loses_its_worker_three_times_is_given_up(self, settings):
        running(make_project(), lease_until=database_now() - timedelta(seconds=1), attempt=settings.RUN_ATTEMPTS)
        assert lifecycle.claim_next() is None
        run = Run.objects.get()
        assert run.state == Run.State.ERRORED
        assert "lost 3 times" in run.message

    def test_no_worker_repeats_what_a_command_did(self):
        with pytest.raises(RunLost), lifecycle.start(kind="draw", project=make_project(), by=None) as attempt:
            Run.objects.update(lease_until=database_now() - timedelta(seconds=1))
            assert lifecycle.claim_next() is None
            attempt.write(1)
        assert "Started again" in Run.objects.get().message

    def test_one_that_is_given_back_wasted_no_attempt(self):
        run = queued(make_project())
        lifecycle.claim_next()
        run.refresh_from_db()
        assert lifecycle.return_to_queue(run)
        run.refresh_from_db()
        assert (run.state, run.attempt, run.pid) == (Run.State.QUEUED, 1, None)

    def test_a_command_takes_over_what_is_queued(self):
        project = make_project()
        run = queued(project, "train")
        with lifecycle.start(kind="train", project=project, by=None) as attempt:
            assert attempt.run == run
        assert lifecycle.claim_next() is None


class TestResume:
    def test_what_is_started_inside_belongs_to_it(self):
        project = make_project()
        queued(project, "train")
        run = lifecycle.claim_next()
        with (
            lifecycle.taken_up(public_id=run.public_id, attempt=1) as outer,
            lifecycle.start(kind="estimate", project=project, by=None) as inner,
        ):
            assert inner is outer
        assert Run.objects.get().state == Run.State.SUCCEEDED

    def test_steps_and_facts_are_seen_from_outside(self):
        run = queued(make_project())
        lifecycle.claim_next()
        with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
            attempt.write(3, 7)
            attempt.step("Reading")
            run.refresh_from_db()
            assert (run.step, run.n_done, run.n_total) == ("Reading", 0, None)
            attempt.result = {"n": 1}
        run.refresh_from_db()
        assert run.result == {"n": 1}

    def test_an_attempt_that_was_taken_over_does_nothing(self):
        run = queued(make_project())
        lifecycle.claim_next()
        with pytest.raises(RunLost), lifecycle.taken_up(public_id=run.public_id, attempt=2):
            raise AssertionError("it must not begin")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestWithOtherProcesses:
    def test_of_two_claimers_one_gets_it(self):
        queued(make_project())
        together = threading.Barrier(2)

        def claim():
            together.wait()
            try:
                return lifecycle.claim_next()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            claimed = [future.result() for future in [pool.submit(claim), pool.submit(claim)]]
        assert sum(run is not None for run in claimed) == 1

    def test_the_heartbeat_writes_progress_even_inside_a_read_snapshot(self, monkeypatch):
        monkeypatch.setattr(attempt_module, "_SECONDS_BETWEEN_BEATS", 0.01)
        with lifecycle.start(kind="export", project=make_project(), by=None) as attempt:
            with read_snapshot():
                Run.objects.get()
                attempt.beat(3, 7)
            wait_until(lambda: Run.objects.get().n_done == 3)

    def test_a_snapshot_inside_a_snapshot_is_part_of_it(self):
        with read_snapshot():
            with read_snapshot():
                assert not Run.objects.exists()
            with ThreadPoolExecutor(1) as other:
                other.submit(self._make_a_project_elsewhere).result()
            assert not Project.objects.exists()
        with read_snapshot():
            assert Project.objects.exists()

    def _make_a_project_elsewhere(self):
        try:
            make_project()
        finally:
            connections.close_all()

    def test_the_heartbeat_renews_the_lease_of_silent_work(self, monkeypatch, settings):
        monkeypatch.setattr(attempt_module, "_SECONDS_BETWEEN_BEATS", 0.01)
        settings.RUN_LEASE_SECONDS = 1
        with lifecycle.start(kind="train", project=make_project(), by=None):
            lease = Run.objects.get().lease_until
            wait_until(lambda: Run.objects.get().lease_until > lease + timedelta(seconds=1))

    def test_hung_work_loses_its_lease(self, monkeypatch, settings):
        monkeypatch.setattr(attempt_module, "SILENT_SECONDS", 0)
        monkeypatch.setattr(attempt_module, "_SECONDS_BETWEEN_BEATS", 0.01)
        settings.RUN_LEASE_SECONDS = 1
        with pytest.raises(RunLost), lifecycle.start(kind="train", project=make_project(), by=None) as attempt:
            run = attempt.run
            wait_until(lambda: not lifecycle.is_held(run))
            lifecycle.sweep()
            attempt.write(1)
