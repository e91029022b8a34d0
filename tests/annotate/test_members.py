"""Whoever may no longer manage a project: what they started there pauses, until somebody who may resumes it."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from annotate import members, tasks
from annotate.errors import RunCancelled, RunPaused
from annotate.models import Event, Member, Run
from annotate.models.base import database_now
from annotate.models.project import Role
from annotate.runs import lifecycle
from tests.factories import make_member, make_project, owner_of

pytestmark = pytest.mark.django_db
GONE = "who started it, no longer manages this project. It goes on for whoever resumes it."


@pytest.fixture
def project():
    return make_project(name="Letters")


@pytest.fixture
def ada(project):
    return make_member(project, "Ada", Role.ADMIN)


def started(project, by, kind="prelabel", **fields):
    return Run.objects.create(project=project, kind=kind, started_by=by, **fields)


def at_work(project, by, kind="train"):
    now = database_now()
    held = {"state": Run.State.RUNNING, "heartbeat_at": now, "lease_until": now + timedelta(hours=1)}
    return started(project, by, kind, **held)


def removed(project, person):
    members.remove(project=project, person=person.public_id, by=owner_of(project))


def demoted(project, person):
    told = {"role": Role.VIEWER, "is_trusted": False, "by": owner_of(project)}
    members.set_member(project=project, person=person.public_id, **told)


def demoted_by_command(project, person):
    call_command("create_user", person.email, "--project=letters", "--role=reviewer", "--no-password", verbosity=0)


def hands_over(project, person):
    Member.objects.filter(project=project, role=Role.OWNER).update(role=Role.ADMIN)
    Member.objects.filter(project=project, user=person).update(role=Role.OWNER)
    heir = make_member(project, "Heir", Role.REVIEWER)
    members.hand_over(project=project, person=heir.public_id, by=person, stays=False)


@pytest.mark.parametrize("leave", [removed, demoted, demoted_by_command, hands_over])
class TestWhoLeaves:
    def test_their_runs_pause_and_say_who_must_resume_them(self, project, ada, leave):
        waiting, working = started(project, ada), at_work(project, ada)
        leave(project, ada)
        for run in (waiting, working):
            run.refresh_from_db()
            assert run.message == f"Paused: Ada, {GONE}"
        assert (waiting.state, working.requested_action) == (Run.State.PAUSED, Run.Action.PAUSE)
        assert Event.objects.filter(kind="run.paused", project=project).count() == 2

    def test_others_go_on(self, project, ada, leave):
        other = make_project(name="Other")
        elsewhere = started(other, ada)
        theirs = at_work(project, make_member(project, "Ben", Role.ADMIN))
        leave(project, ada)
        states = [Run.objects.get(pk=run.pk) for run in (elsewhere, theirs)]
        assert [(run.state, run.requested_action) for run in states] == [("queued", ""), ("running", "")]


def test_who_still_manages_goes_on_spending(project, ada):
    run = started(project, ada)
    told = {"role": Role.ADMIN, "is_trusted": False, "by": owner_of(project)}
    members.set_member(project=project, person=ada.public_id, **told)
    assert Run.objects.get(pk=run.pk).state == Run.State.QUEUED


def test_a_run_at_work_pauses_with_the_sentence_and_goes_on_for_another(project, ada):
    run = tasks.enqueue(kind="train", project=project, by=ada)
    lifecycle.claim_next()
    with pytest.raises(RunPaused), lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        removed(project, ada)
        attempt._beat_once()
        attempt.beat(1)
    run.refresh_from_db()
    assert (run.state, run.message) == (Run.State.PAUSED, f"Paused: Ada, {GONE}")
    tasks.resume(run=run, by=owner_of(project))
    run.refresh_from_db()
    assert (run.state, run.started_by, run.message) == (Run.State.QUEUED, owner_of(project), "")


def test_a_lost_worker_keeps_the_sentence(project, ada):
    run = at_work(project, ada)
    removed(project, ada)
    run.refresh_from_db()
    lifecycle.requeue_lost(run)
    run.refresh_from_db()
    assert (run.state, run.message) == (Run.State.PAUSED, f"Paused: Ada, {GONE}")


def test_who_cancels_what_somebody_left_has_it_cleared_away(project, ada, monkeypatch):
    tidied = []
    kind = tasks.RunKind(lambda attempt, by: attempt.write(1), tidy=lambda attempt, by: tidied.append(by))
    monkeypatch.setitem(tasks.KINDS, "train", kind)
    run = tasks.enqueue(kind="train", project=project, by=ada)
    lifecycle.requeue_lost(lifecycle.claim_next())
    removed(project, ada)
    tasks.cancel(run=run, by=owner_of(project))
    taken = lifecycle.claim_next()
    with pytest.raises(RunCancelled), lifecycle.taken_up(public_id=run.public_id, attempt=taken.attempt) as attempt:
        attempt._beat_once()
        tasks.perform(attempt)
    assert tidied == [owner_of(project)]


def test_the_page_says_what_paused(project, ada, client):
    started(project, ada)
    client.force_login(owner_of(project))
    response = client.post(f"/p/letters/people/{ada.public_id}/remove")
    assert "1 run that they started is paused" in client.get(response.headers["Location"]).content.decode()
