"""What goes on in a restored site: nothing by itself that costs money or reaches people."""

import pytest
from django.contrib.sessions.models import Session

from annotate import restored
from annotate.accounts import mail
from annotate.backups import aftermath
from annotate.errors import Conflict
from annotate.labeling import leases
from annotate.models import Budget, Connection, Lease, LedgerEntry, PasswordReset, Run
from annotate.money import ledger
from annotate.seals import checking, sealing
from annotate.verification import CHECKS, first_problem
from tests.factories import make_connection, make_member, make_project, make_user
from tests.rows import make_items, make_round, make_run

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


@pytest.fixture
def paid(keys_in_a_temporary_folder):
    """A project that asks an LLM server for money."""
    project = make_project(human_price_micros=5)
    project.connection = make_connection(make_user("Root", is_site_owner=True))
    project.save(update_fields=["connection"])
    Budget.objects.filter(project=project).update(cap_micros=1_000)
    return project


def settle(**options):
    return aftermath.settle(**{"made_at": "2026-01-02T03:04:05+00:00", "forgets_keys": False, **options})


def test_leases_give_their_slots_and_money_back_once(paid):
    make_round(paid, make_items(paid))
    (held,) = leases.lease_next(project=paid, annotator=make_member(paid))
    assert settle().n_leases == 1
    held.refresh_from_db()
    held.entry.refresh_from_db()
    assert (held.outcome, held.entry.n_taken) == (Lease.Outcome.RELEASED, 0)
    assert LedgerEntry.objects.get().state == LedgerEntry.State.RELEASED
    assert settle().n_leases == 0
    for name in ("money adds up", "answers stay within the overlap", "each attempt to spend ends once"):
        assert first_problem(CHECKS[name], paid) is None


def test_runs_that_cost_money_are_paused_and_their_calls_written_off(paid):
    run = make_run(paid, "prelabel", "running", host="h", pid=1)
    ledger.reserve(paid.budgets.get(kind="machine"), [ledger.Ask(100)], run=run)
    done = settle()
    run.refresh_from_db()
    assert (run.state, run.attempt, run.lease_until, done.paused) == ("paused", 2, None, [run.public_id])
    entry = LedgerEntry.objects.get()
    assert (entry.state, entry.final_micros, entry.reason) == (
        "written_off", 100, "In flight when the backup was taken.",
    )  # fmt: skip
    assert first_problem(CHECKS["money adds up"], paid) is None


@pytest.mark.parametrize("asked", ["", "cancel"])
def test_paid_runs_that_wait_are_paused_too(paid, asked):
    run = make_run(paid, "prelabel", "queued", requested_action=asked)
    settle()
    run.refresh_from_db()
    assert (run.state, run.requested_action) == ("paused", "")


@pytest.mark.parametrize(
    "fields, state",
    [
        ({}, "queued"),
        ({"requested_action": "cancel"}, "queued"),  # whose worker will obey
        ({"requested_action": "pause"}, "paused"),
        ({"performer": "command"}, "errored"),
    ],
)
def test_other_runs_wait_for_a_worker_or_end(fields, state):
    run = make_run(make_project(), "train", "running", host="h", pid=1, **fields)
    assert settle().n_runs == 1
    run.refresh_from_db()
    assert run.state == state


def test_a_free_prelabeling_goes_on():
    run = make_run(make_project(), "prelabel", "running", host="h", pid=1)
    settle()
    run.refresh_from_db()
    assert run.state == "queued"


def test_sessions_end(client):
    client.force_login(make_user())
    assert settle().n_sessions == 1
    assert not Session.objects.exists()


def test_keys_that_nobody_can_read_are_deleted_and_the_seals_know(paid):
    connection = Connection.objects.get()
    sealing.seal(None)
    assert settle().keys_forgotten == []
    assert settle(forgets_keys=True).keys_forgotten == [connection.public_id]
    assert bytes(Connection.objects.get().key_encrypted) == b""
    assert (sealing.seal_all(None).refused, list(checking.row_problems(None))) == ([], [])


class TestConfirm:
    def test_mail_is_held_until_then(self):
        assert not restored.mail_is_held()
        settle()
        assert restored.mail_is_held()
        aftermath.confirm()
        assert not restored.mail_is_held()
        settle()  # restored once more, from a backup of this site
        assert restored.mail_is_held()

    def test_no_mail_goes_out_until_then(self, mailoutbox):
        def send():
            mail._send(PasswordReset, 0, "", mail.Letter("ann@example.org", "A link", "Here."))
            return len(mailoutbox)

        settle()
        assert send() == 0
        aftermath.confirm()
        assert send() == 1

    def test_what_the_restore_paused_goes_on(self, paid):
        run = make_run(paid, "prelabel", "queued")
        settle()
        others = make_run(make_project(), "train", "paused")
        assert aftermath.confirm() == (1, [])
        run.refresh_from_db()
        others.refresh_from_db()
        assert (run.state, others.state) == (Run.State.QUEUED, Run.State.PAUSED)

    def test_there_must_be_something_to_confirm(self):
        with pytest.raises(Conflict, match="Nothing waits"):
            aftermath.confirm()
