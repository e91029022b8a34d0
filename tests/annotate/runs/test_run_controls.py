"""Pausing, resuming, cancelling and retrying: by whom, when, and what is kept of it."""

import pytest

from annotate import tasks
from annotate.errors import AccessDenied, Conflict, RunBusy, RunCancelled, RunPaused
from annotate.models import Event, Run
from annotate.runs import attempt as attempt_module
from annotate.runs import lifecycle
from tests.factories import make_member, make_project, owner_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def asked(project, kind="train", **parameters):
    return tasks.enqueue(kind=kind, project=project, by=owner_of(project), parameters=parameters)


def states(*some):
    return [Run.objects.get(pk=run.pk).state for run in some]


def lines(run):
    return [line.text for line in lifecycle.log(run)]


def test_a_waiting_run_is_paused_at_once_and_nobody_takes_it():
    run = asked(make_project())
    lifecycle.pause(run=run, by=run.started_by)
    assert states(run) == [Run.State.PAUSED]
    assert lifecycle.claim_next() is None


def test_a_paused_run_that_is_resumed_waits_again():
    run = asked(make_project())
    lifecycle.pause(run=run, by=run.started_by)
    lifecycle.resume(run=run, by=run.started_by)
    assert lifecycle.claim_next().pk == run.pk


def test_asking_for_the_same_resumes_what_is_paused():
    run = asked(make_project())
    lifecycle.pause(run=run, by=run.started_by)
    assert asked(run.project).pk == run.pk
    assert states(run) == [Run.State.QUEUED]


def test_asking_for_another_while_one_is_paused_says_so():
    run = asked(make_project(), "draw", batch=10)
    lifecycle.pause(run=run, by=run.started_by)
    with pytest.raises(RunBusy, match="is paused"):
        asked(run.project, "draw", batch=20)


def test_a_waiting_run_is_cancelled_at_once():
    run = asked(make_project())
    tasks.cancel(run=run, by=run.started_by)
    assert states(run) == [Run.State.CANCELLED]
    assert lifecycle.claim_next() is None


@pytest.mark.parametrize(
    ("ask", "error", "state"),
    [(lifecycle.pause, RunPaused, Run.State.PAUSED), (tasks.cancel, RunCancelled, Run.State.CANCELLED)],
)
def test_a_run_at_work_obeys_at_its_next_write(ask, error, state):
    run = asked(make_project())
    taken = lifecycle.claim_next()
    with pytest.raises(error), lifecycle.taken_up(public_id=taken.public_id, attempt=1) as attempt:
        ask(run=run, by=run.started_by)
        attempt._beat_once()  # the heartbeat's look at the row
        attempt.write(5, 10)
    assert states(run) == [state]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_the_heartbeat_sees_the_wish_by_itself(monkeypatch):
    monkeypatch.setattr(attempt_module, "_SECONDS_BETWEEN_BEATS", 0.01)
    run = asked(make_project())
    lifecycle.claim_next()
    with pytest.raises(RunCancelled), lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        tasks.cancel(run=run, by=run.started_by)
        wait_until(lambda: attempt.beat(1))
    assert states(run) == [Run.State.CANCELLED]


def test_a_pause_taken_back_in_time_is_none():
    run = asked(make_project())
    lifecycle.claim_next()
    with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        lifecycle.pause(run=run, by=run.started_by)
        lifecycle.resume(run=run, by=run.started_by)
        attempt._beat_once()
        attempt.write(1)
    assert states(run) == [Run.State.SUCCEEDED]


def test_a_lost_worker_that_was_asked_to_pause_leaves_a_paused_run():
    run = asked(make_project())
    taken = lifecycle.claim_next()
    lifecycle.pause(run=run, by=run.started_by)
    lifecycle.requeue_lost(taken)
    assert states(run) == [Run.State.QUEUED]  # as it was seen when it was taken
    run = Run.objects.get(pk=run.pk)
    taken = lifecycle.claim_next()
    assert taken.requested_action == Run.Action.PAUSE
    lifecycle.requeue_lost(taken)
    assert states(run) == [Run.State.PAUSED]


def test_cancelling_what_a_worker_has_to_tidy_is_work_for_a_worker(monkeypatch):
    from annotate import tasks

    tidied = []
    kind = tasks.RunKind(lambda attempt, by: attempt.write(1), tidy=lambda attempt, by: tidied.append(attempt.write(2)))
    monkeypatch.setitem(tasks.KINDS, "train", kind)
    run = asked(make_project())
    taken = lifecycle.claim_next()
    lifecycle.requeue_lost(taken)
    tasks.cancel(run=run, by=run.started_by)
    assert states(run) == [Run.State.QUEUED]
    taken = lifecycle.claim_next()
    with pytest.raises(RunCancelled), lifecycle.taken_up(public_id=run.public_id, attempt=taken.attempt) as attempt:
        attempt._beat_once()
        tasks.perform(attempt)
    assert (states(run), tidied) == ([Run.State.CANCELLED], [None])
    run.refresh_from_db()
    assert run.message == "Cancelled. Nothing of it is kept."


def test_only_what_did_not_succeed_is_tried_again():
    run = asked(make_project(), "draw", batch=7)
    with pytest.raises(Conflict, match="did not succeed"):
        tasks.retry(run=run, by=run.started_by)
    tasks.cancel(run=run, by=run.started_by)
    run.refresh_from_db()
    again = tasks.retry(run=run, by=run.started_by)
    assert (again.parameters, again.retry_of) == (run.parameters, run)


def test_what_a_command_did_is_not_tried_again_by_a_worker():
    project = make_project()
    with pytest.raises(KeyboardInterrupt), lifecycle.start(kind="train", project=project, by=owner_of(project)):
        raise KeyboardInterrupt
    with pytest.raises(Conflict, match="command"):
        tasks.retry(run=Run.objects.get(), by=owner_of(project))


@pytest.mark.parametrize("ask", [lifecycle.pause, lifecycle.resume, tasks.cancel, tasks.retry])
def test_only_who_manages_the_project_may(ask):
    run = asked(make_project())
    member = make_member(run.project)
    with pytest.raises(AccessDenied):
        ask(run=run, by=member)
    assert states(run) == [Run.State.QUEUED]


@pytest.mark.parametrize("ask", [lifecycle.pause, lifecycle.resume, tasks.cancel])
def test_what_has_ended_is_left_alone(ask):
    project = make_project()
    with lifecycle.start(kind="train", project=project, by=owner_of(project)):
        pass
    with pytest.raises(Conflict):
        ask(run=Run.objects.get(), by=owner_of(project))


def test_the_log_says_what_happened_and_who_did_it():
    run = asked(make_project())
    lifecycle.claim_next()
    with pytest.raises(RunPaused), lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        attempt.step("Training")
        lifecycle.pause(run=run, by=run.started_by)
        attempt._beat_once()
        attempt.beat(1)
    said = lines(run)
    assert said[0].startswith("Attempt 1 on ")
    assert said[1:] == [
        "Training.",
        f"Paused by {run.started_by}.",
        "Paused. It goes on from here when somebody resumes it.",
    ]
    assert Event.objects.filter(kind="run.paused", actor=run.started_by).count() == 1


def test_the_cursor_is_what_is_committed_and_survives_a_lost_worker():
    run = asked(make_project())
    taken = lifecycle.claim_next()
    with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        attempt.write(40, 100)
        attempt.beat(60, 100)
        lifecycle.requeue_lost(taken)
    run.refresh_from_db()
    assert (run.cursor, run.n_done, run.state) == (40, 0, Run.State.QUEUED)
