"""Paid pre-labels: below the cap, each attempt once in the ledger, each item asked until it has an answer."""

import threading
import time
from contextlib import suppress

import pytest
from django.db import connections as databases
from django.db.models import Sum

from annotate import tasks, verification
from annotate.errors import BudgetReached, Conflict, GoldloopError, RunPaused
from annotate.models import Budget, LedgerEntry, Prediction, Project, Run, RunLine
from annotate.money import budgets, ledger
from annotate.runs import lifecycle
from annotate.silver import connections, prelabel, prompts, quotes
from annotate.web.run_status import status
from tests.factories import make_project, make_user, owner_of
from tests.rows import make_items
from tests.stub_llm import CHARGED, UNCHARGED, stub_llm
from tests.waiting import wait_until

KEY = "sk-canary-4f1d9b7ae2"
ANSWERS = {"ok", "refusal", "out_of_set", "truncated", "empty", "malformed"}


@pytest.fixture(autouse=True)
def own_folder(settings, tmp_path):
    settings.VAR_DIR = tmp_path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("annotate.providers.retries.FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def stub():
    with stub_llm(key=KEY) as running:
        yield running


def paid_project(stub, n=20, cap=10**9, texts=None, **settings):
    owner = make_user("Sara", is_site_owner=True)
    project = make_project(by=owner)
    make_items(project, n, texts)
    given = {
        "name": f"Stub {project.pk}", "base_url": stub.base_url, "model": "stub-1", "key": KEY, "allows_private": True,
        "input_price_micros": stub.options.input_price, "output_price_micros": stub.options.output_price,
        "timeout_seconds": 5,
    }  # fmt: skip
    row = connections.create(by=owner, **(given | settings))
    connections.lend(connection=row, project=project, by=owner)
    connections.choose(project=project, connection=row, by=owner)
    if cap is not None:
        budgets.set_cap(project=project, kind="machine", cap_micros=cap, by=owner)
    return project


def ask(project):
    """In this process; the run as it ended."""
    with suppress(GoldloopError):
        prelabel.prelabel(project=project, by=owner_of(project))
    return project.runs.filter(kind="prelabel").latest("pk")


def asking(project):
    """A thread that asks, with a database connection of its own."""

    def work():
        try:
            ask(Project.objects.get(pk=project.pk))
        finally:
            databases.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def perform_next():
    claimed = lifecycle.claim_next()
    with lifecycle.taken_up(public_id=claimed.public_id, attempt=claimed.attempt) as attempt:
        tasks.perform(attempt)


def money(project):
    return budgets.of(project, Budget.Kind.MACHINE)


def assert_sums_are_right(project):
    budget, entries = money(project), LedgerEntry.objects.filter(budget__project=project)
    by_state = dict(entries.order_by().values_list("state").annotate(n=Sum("final_micros")))
    assert (by_state.get("settled", 0), by_state.get("written_off", 0)) == (
        budget.settled_micros,
        budget.written_off_micros,
    )
    assert budget.reserved_micros == 0 and "reserved" not in by_state
    assert budget.cap_micros is None or budget.spent_micros <= budget.cap_micros


@pytest.mark.django_db
class TestOnce:
    def test_every_item_is_asked_and_paid_once(self, stub):
        project = paid_project(stub)
        run = ask(project)
        assert run.state == "succeeded", run.message
        assert stub.bill().n_charged == 20
        assert money(project).settled_micros == stub.bill().micros
        assert_sums_are_right(project)
        assert run.result["n_items"] == 20 and run.result["n_unanswered"] == run.result["n_failed"] == 0
        assert run.result["micros"] == stub.bill().micros
        assert run.result["n_input_tokens"] == stub.bill().n_input_tokens
        row = Prediction.objects.filter(item__project=project)[0]
        assert row.vector().sum() == pytest.approx(1)
        assert row.cost_micros > 0

    def test_asked_again_it_costs_nothing(self, stub):
        project = paid_project(stub)
        ask(project)
        assert ask(project).state == "succeeded"
        assert stub.bill().n_requests == 20

    def test_new_items_alone_are_asked(self, stub):
        project = paid_project(stub, n=5)
        ask(project)
        make_items(project, 3)
        assert ask(project).result["n_items"] == 8
        assert stub.bill().n_requests == 8

    def test_an_item_without_text_is_not_sent(self, stub):
        project = paid_project(stub, n=2, texts=["  ", "text"])
        assert ask(project).result["failed"] == {"empty": 1}
        assert stub.bill().n_requests == 1

    def test_the_version_says_all_but_the_key(self, stub):
        project = paid_project(stub, n=1)
        ask(project)
        prompt = project.prompts.get()
        assert (prompt.annotator, prompt.model) == ("openai", "stub-1")
        assert prompt.parameters["server"] == stub.root.removeprefix("http://")
        assert prompt.parameters["temperature"] == 0 and "canary" not in str(prompt.parameters)

    def test_what_costs_nothing_needs_no_cap(self, stub):
        project = paid_project(stub, n=3, cap=None, input_price_micros=0, output_price_micros=0)
        assert ask(project).state == "succeeded"


@pytest.mark.portable  # the faults differ, the statements do not
@pytest.mark.django_db
class TestFaults:
    @pytest.mark.parametrize("kind", sorted({*CHARGED, *UNCHARGED} - {"timeout", "slow_drip", "huge", "gzip_bomb"}))
    def test_each_fault_is_booked(self, kind):
        """A fifth of the requests; what stops the run stops it, all else is answered, failed or left."""
        with stub_llm(key=KEY, faults={kind: 0.2}, retry_after=0.01) as stub:
            project = paid_project(stub, n=30, max_concurrency=4)
            run = ask(project)
            assert run.state in ("succeeded", "failed") and (run.state == "succeeded" or run.message)
            assert_sums_are_right(project)
            assert stub.bill().micros <= money(project).spent_micros
            statuses = set(Prediction.objects.values_list("status", flat=True))
            assert statuses <= ANSWERS | {"too_long"}
            if run.state == "succeeded":
                n_predictions = Prediction.objects.count()
                assert run.result["n_items"] == n_predictions == 30 - run.result["n_unanswered"]

    def test_what_was_unavailable_is_asked_next_time(self):
        with stub_llm(key=KEY, faults={"503": 0.5}, fault_attempts=4) as stub:
            project = paid_project(stub, n=12, max_concurrency=1)
            for _ in range(20):
                if ask(project).state == "succeeded" and not prompts.pending(project, project.prompts.get()).exists():
                    break
            assert Prediction.objects.filter(status="ok").count() == 12
            assert_sums_are_right(project)

    def test_a_wrong_key_ends_the_run_with_a_sentence(self, stub):
        project = paid_project(stub, key="another-key-0000")
        run = ask(project)
        assert (run.state, run.message) == ("failed", "The server refuses the key.")
        assert money(project).spent_micros == 0
        assert not Prediction.objects.exists()
        assert_sums_are_right(project)

    def test_a_dead_server_is_waited_for_and_then_the_run_pauses(self, stub, settings):
        settings.PRELABEL_OUTAGE_SECONDS = 0.1
        project = paid_project(stub, base_url="http://127.0.0.1:9/v1")
        run = ask(project)
        assert run.state == "paused" and "has not answered for 0 s" in run.message
        assert "does not accept connections" in run.message
        assert LedgerEntry.objects.count() <= 80 and money(project).spent_micros == 0
        assert_sums_are_right(project)
        connections.change(connection=project.connection, base_url=stub.base_url, key=KEY, by=owner_of(project))
        tasks.resume(run=run, by=owner_of(project))
        perform_next()
        assert Prediction.objects.filter(status="ok").count() == 20 == stub.bill().n_charged


@pytest.mark.django_db
class TestCap:
    def test_it_pauses_at_the_cap_and_goes_on(self, stub):
        project = paid_project(stub, n=40)
        need = quotes.quote(project=project, by=owner_of(project)).micros.likely
        budgets.set_cap(project=project, kind="machine", cap_micros=need // 2, by=owner_of(project))
        run = ask(project)
        assert run.state == "paused"
        assert "The cap of" in run.message and "Raise the cap to go on." in run.message
        n_before = Prediction.objects.count()
        assert 0 < n_before < 40 and run.result["n_items"] == n_before
        assert stub.bill().micros <= money(project).spent_micros <= need // 2
        assert_sums_are_right(project)
        budgets.set_cap(project=project, kind="machine", cap_micros=need * 20, by=owner_of(project))
        tasks.resume(run=run, by=owner_of(project))
        perform_next()
        assert Prediction.objects.count() == 40 == stub.bill().n_charged
        assert Run.objects.get(pk=run.pk).state == "succeeded"

    def test_no_cap_no_call(self, stub):
        project = paid_project(stub, cap=None)
        with pytest.raises(BudgetReached, match="No cap is set"):
            tasks.enqueue(kind="prelabel", project=project, by=owner_of(project))
        with pytest.raises(RunPaused, match="No cap is set"):
            prelabel.prelabel(project=project, by=owner_of(project))
        assert stub.bill().n_requests == 0

    def test_a_connection_that_was_taken_back_is_refused(self, stub):
        project = paid_project(stub)
        connections.take_back(connection=project.connection, project=project, by=owner_of(project))
        with pytest.raises(Conflict, match="not lent"):
            tasks.enqueue(kind="prelabel", project=project, by=owner_of(project))


@pytest.mark.django_db
def test_a_new_attempt_writes_off_what_the_lost_one_had_reserved(stub):
    project = paid_project(stub, n=3)
    run = tasks.enqueue(kind="prelabel", project=project, by=owner_of(project))
    claimed = lifecycle.claim_next()
    ledger.reserve(money(project), [ledger.Ask(1_000)], run=claimed)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    with lifecycle.taken_up(public_id=run.public_id, attempt=2) as attempt:
        tasks.perform(attempt)
    assert money(project).written_off_micros == 1_000
    assert_sums_are_right(project)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestStopping:
    """Pause, cancel, the kill switch, a connection that is switched off: nothing is sent five seconds later."""

    @pytest.fixture
    def slow(self):
        with stub_llm(key=KEY, latency_seconds=0.2) as running:
            yield running

    @pytest.mark.parametrize(
        ("how", "state", "sentence"),
        [
            ("pause", "paused", "Paused"),
            ("cancel", "cancelled", "Cancelled"),
            ("kill", "paused", "stopped spending"),
            ("switch off", "failed", "switched off"),
        ],
    )
    def test_it_stops_within_five_seconds(self, slow, how, state, sentence):
        project = paid_project(slow, n=400)
        thread = asking(project)
        wait_until(lambda: slow.bill().n_requests > 20)
        began = time.monotonic()
        self.stop(project, how)
        thread.join()
        assert time.monotonic() - began < 5
        run = project.runs.get(kind="prelabel")
        assert run.state == state and sentence in run.message
        assert 20 < Prediction.objects.count() < 400
        assert slow.bill().micros <= money(project).spent_micros
        assert_sums_are_right(project)

    @staticmethod
    def stop(project, how):
        run, by = project.runs.get(kind="prelabel"), owner_of(project)
        if how == "pause":
            lifecycle.pause(run=run, by=by)
        elif how == "cancel":
            tasks.cancel(run=run, by=by)
        elif how == "kill":
            budgets.stop(project=project, kind="machine", by=by)
        else:
            connections.set_active(connection=project.connection, is_active=False, by=by)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestFinishing:
    """A run that stops sends nothing more, waits for the calls in flight, and settles each at its price."""

    @pytest.fixture(autouse=True)
    def quick_beats(self, monkeypatch):
        monkeypatch.setattr("annotate.runs.attempt._SECONDS_BETWEEN_BEATS", 0.05)

    @pytest.fixture
    def slow(self):
        with stub_llm(key=KEY, latency_seconds=2.5) as running:
            yield running

    @pytest.fixture
    def project(self, slow):
        return paid_project(slow, n=40, timeout_seconds=60)

    @staticmethod
    def finishing(project):
        """The run, once it was asked to pause with calls in flight, and says how many there are."""
        run = project.runs.get(kind="prelabel")
        lifecycle.pause(run=run, by=owner_of(project))
        wait_until(lambda: run.refresh_from_db() or run.result.get("finishing") == 8)
        return run

    def test_a_pause_costs_what_the_provider_charges(self, slow, project):
        thread = asking(project)
        wait_until(lambda: slow.bill().n_requests == 8)
        run = self.finishing(project)
        thread.join()
        run.refresh_from_db()
        assert run.state == "paused" and "finishing" not in run.result
        assert Prediction.objects.count() == 8 == slow.bill().n_requests
        assert money(project).spent_micros == slow.bill().micros and not money(project).written_off_micros
        assert_sums_are_right(project)

    @pytest.mark.parametrize(
        ("how", "state"),
        [("pause", "paused"), pytest.param("cancel", "cancelled", marks=pytest.mark.slow)],
    )
    def test_whoever_cannot_wait_stops_it_now(self, slow, project, how, state):
        slow.change(latency_seconds=50)
        thread = asking(project)
        wait_until(lambda: slow.bill().n_requests == 8)
        run, stop = self.finishing(project), lifecycle.pause if how == "pause" else tasks.cancel
        stop(run=run, by=owner_of(project), now=True)
        thread.join(10)
        run.refresh_from_db()
        assert run.state == state and not thread.is_alive()
        assert slow.bill().micros <= money(project).written_off_micros == money(project).spent_micros
        assert_sums_are_right(project)

    def test_taken_back_meanwhile_it_goes_on(self, slow, project):
        thread = asking(project)
        wait_until(lambda: slow.bill().n_requests == 8)
        lifecycle.resume(run=self.finishing(project), by=owner_of(project))
        slow.change(latency_seconds=0)
        thread.join()
        assert project.runs.get(kind="prelabel").state == "succeeded"
        assert Prediction.objects.count() == 40 == slow.bill().n_requests
        assert money(project).spent_micros == slow.bill().micros

    def test_cancelled_meanwhile_it_ends_as_cancelled(self, slow, project):
        thread = asking(project)
        wait_until(lambda: slow.bill().n_requests == 8)
        run = self.finishing(project)
        tasks.cancel(run=run, by=owner_of(project))
        thread.join()
        run.refresh_from_db()
        assert run.state == "cancelled"
        assert money(project).spent_micros == slow.bill().micros and not money(project).written_off_micros


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestOutages:
    """A server that goes away in mid-run and comes back."""

    def test_killed_and_restarted_three_times_it_has_answered_each_item_once(self):
        with stub_llm(key=KEY, latency_seconds=0.05) as stub:
            project = paid_project(stub, n=120, max_concurrency=8)
            thread = asking(project)
            for n in (1, 2, 3):
                wait_until(lambda n=n: stub.bill().n_charged >= 25 * n)
                stub.kill()
                wait_until(lambda n=n: self.n_outages() == n)
                stub.restart()
            thread.join()
        run = project.runs.get(kind="prelabel")
        assert (run.state, run.attempt, run.result["n_unanswered"]) == ("succeeded", 1, 0)
        assert Prediction.objects.filter(status="ok").values("item").distinct().count() == 120
        assert Prediction.objects.count() == 120
        self.assert_the_bill_is_exact(project, stub)
        for name in ("money adds up", "each attempt to spend ends once", "every run ends"):
            assert verification.first_problem(verification.CHECKS[name], project) is None

    @staticmethod
    def n_outages():
        return RunLine.objects.filter(text__startswith="The server does not answer").count()

    @staticmethod
    def assert_the_bill_is_exact(project, stub):
        """An answer that came is settled at its price; one that was cut off is written off, once for each charge."""
        assert_sums_are_right(project)
        entries = LedgerEntry.objects.filter(budget__project=project)
        settled = entries.filter(state="settled")
        assert settled.values("item").distinct().count() == settled.count() == 120
        assert money(project).settled_micros == Prediction.objects.aggregate(n=Sum("cost_micros"))["n"]
        n_cut_off = entries.filter(state="written_off").count()
        assert 120 < stub.bill().n_charged <= 120 + n_cut_off and n_cut_off <= 3 * 8
        assert stub.bill().micros <= money(project).spent_micros

    def test_it_says_since_when_and_until_when(self, stub, settings):
        settings.PRELABEL_OUTAGE_SECONDS = 60
        project = paid_project(stub, n=20, base_url="http://127.0.0.1:9/v1")
        thread = asking(project)
        wait_until(lambda: project.runs.filter(kind="prelabel", result__has_key="waiting").exists())
        run = project.runs.get(kind="prelabel")
        said = status(run).sentence
        assert "has not answered for" in said and "is asked again in" in said
        assert "The server does not accept connections." in said
        tasks.cancel(run=run, by=owner_of(project))
        thread.join()
        run.refresh_from_db()
        assert run.state == "cancelled" and status(run).sentence == run.message


@pytest.mark.django_db
class TestQuote:
    def test_it_is_near_what_it_costs_and_never_below_the_bound(self, stub):
        texts = [f"Where is the card number {n} that I ordered some weeks ago? It has not come yet." for n in range(60)]
        project = paid_project(stub, n=60, texts=texts)
        quote = quotes.quote(project=project, by=owner_of(project))
        assert quote.n_items == quote.n_read == 60 and quote.fits
        ask(project)
        bill = stub.bill().micros
        assert quote.micros.low <= bill <= quote.micros.high
        assert abs(quote.micros.likely - bill) <= 0.2 * bill
        assert quotes.quote(project=project, by=owner_of(project)).n_items == 0

    def test_it_sends_and_stores_nothing(self, stub):
        project = paid_project(stub)
        quotes.quote(project=project, by=owner_of(project))
        assert stub.bill().n_requests == 0
        assert not project.prompts.exists() and not LedgerEntry.objects.exists()

    def test_what_is_not_there_yet_costs_about_the_same(self, stub):
        texts = [f"Where is the card number {n} that I ordered some weeks ago? It has not come yet." for n in range(60)]
        project = paid_project(stub, n=60, texts=texts)
        owner, mean = owner_of(project), sum(map(len, texts)) / 60
        about = quotes.of_new(project=project, n_items=60, mean_characters=mean, by=owner)
        likely = quotes.quote(project=project, by=owner).micros.likely
        assert abs(about - likely) <= 0.01 * likely
        assert quotes.of_new(project=project, n_items=0, mean_characters=mean, by=owner) is None
        connections.set_active(connection=project.connection, is_active=False, by=owner)
        assert quotes.of_new(project=project, n_items=60, mean_characters=mean, by=owner) is None

    def test_a_preview_is_what_is_sent(self, stub):
        project = paid_project(stub, n=1, texts=["Where is my card?"])
        (preview,) = quotes.quote(project=project, by=owner_of(project)).previews
        assert [message["role"] for message in preview.messages] == ["system", "user"]
        assert '{"text": "Where is my card?"}' in preview.messages[-1]["content"]
        assert preview.server == f"{stub.base_url}/chat/completions"

    def test_it_says_what_does_not_fit(self, stub):
        project = paid_project(stub, n=50, cap=100)
        quote = quotes.quote(project=project, by=owner_of(project))
        assert not quote.fits and quote.left_micros == 100
