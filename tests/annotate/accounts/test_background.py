"""Small jobs after the request: in the order in which they are due, and after a commit only."""

import threading
import time

import pytest

from annotate.accounts import background, passwords
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def threads(settings):
    settings.MAIL_IN_BACKGROUND = True


@pytest.fixture
def after(threads, django_capture_on_commit_callbacks):
    """Has jobs done, each after so many seconds; returns when all were tried."""

    def after(*jobs):
        with django_capture_on_commit_callbacks(execute=True):
            for job, delay in jobs:
                background.after_commit(job, delay=delay)
        background.flush()

    return after


def test_a_job_begins_after_its_delay_and_holds_up_no_other(after):
    began, at = time.monotonic(), {}
    late = [(lambda name=name: at.setdefault(name, time.monotonic() - began), 0.3) for name in "abc"]
    after(*late, (lambda: at.setdefault("now", time.monotonic() - began), 0.0))
    assert next(iter(at)) == "now"
    assert min(at[name] for name in "abc") >= 0.3


def test_one_that_is_due_is_done_while_another_takes_long(after):
    done = threading.Event()
    after((lambda: done.wait(30), 0.0), (done.set, 0.05))
    assert done.is_set()


def test_one_that_fails_ends_no_thread(after):
    done = []
    after(*[(lambda: 1 / 0, 0.0)] * 3, (lambda: done.append(1), 0.01))
    assert done == [1]


def test_further_ones_are_refused_where_too_many_wait(after, monkeypatch):
    monkeypatch.setattr(background, "_MOST_WAITING", 1)
    done = []
    after((lambda: done.append("first"), 0.3), (lambda: done.append("second"), 0.0))
    assert done == ["first"]


class TestAForgottenPassword:
    """Else the next requests would be slower where the address has an account: its mail is made and sent meanwhile."""

    @pytest.fixture
    def jobs(self, monkeypatch, has_mail):
        """What was left for later, with its delays."""
        jobs = []
        monkeypatch.setattr(background, "after_commit", lambda job, *, delay=0.0: jobs.append((job, delay)))
        return jobs

    def test_every_request_waits_whether_there_is_an_account_or_not(self, jobs):
        for email in (make_user("Ann").email, "nobody@example.org"):
            passwords.ask(email=email, client="x", delay=iter([3.25]).__next__)
        assert [delay for _, delay in jobs] == [3.25, 3.25]

    def test_for_another_time_within_seconds(self, jobs):
        for n in range(20):
            passwords.ask(email=f"n{n}@example.org", client=f"c{n}")
        delays = {delay for _, delay in jobs}
        assert len(delays) == 20 and all(1 <= delay <= 5 for delay in delays)

    def test_the_mail_itself_does_not_wait_again(self, jobs):
        passwords.ask(email=make_user("Ann").email, client="x")
        [(job, _)] = jobs
        job()
        assert jobs[1][1] == 0.0
