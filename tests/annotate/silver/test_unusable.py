"""Paid answers in all wrappings, answers that name no label, and asking the failed ones again."""

from dataclasses import replace

import pytest
from django.core.management import call_command

from annotate import labels, tasks
from annotate.errors import Conflict
from annotate.learning import delivery, pool
from annotate.models import Prediction
from annotate.reports import progress
from annotate.runs import lifecycle
from annotate.silver import connections, prelabel, prompts, quotes
from annotate.silver.unusable import UnusableAnswers
from annotate.verification import CHECKS, first_problem
from models_ml.types import Failure, FailureKind, Judgement
from tests.annotate.silver.test_prelabel import (
    KEY,
    ask,
    assert_sums_are_right,
    money,
    no_waiting,
    own_folder,
    paid_project,
)
from tests.factories import owner_of
from tests.stub_llm import WRAPPINGS, stub_llm

pytestmark = pytest.mark.django_db
FAILED = Failure(FailureKind.OUT_OF_SET, "It names none.")
__all__ = ["no_waiting", "own_folder"]  # fixtures


@pytest.fixture(autouse=True)
def room_for_wrappings(monkeypatch):
    """Models may use more tokens than an option needs."""
    usual = connections.endpoint_of
    monkeypatch.setattr(
        connections, "endpoint_of", lambda *given, **more: replace(usual(*given, **more), max_output_tokens=40)
    )


def ask_again(project):
    prelabel.prelabel(project=project, by=owner_of(project), failed_again=True)
    return project.runs.filter(kind="prelabel").latest("pk")


@pytest.fixture
def half_failed():
    """Twelve items of which some failed, with the stub that answered them, mended since."""
    with stub_llm(key=KEY, faults={"prose": 0.4}, seed=3) as stub:
        project = paid_project(stub, n=12, max_concurrency=4)
        ask(project)
        n_failed = Prediction.objects.exclude(status="ok").count()
        assert 0 < n_failed < 12
        stub.change(faults={})
        yield project, stub, n_failed


class TestWrappings:
    def test_an_answer_in_any_wrapping_is_a_label(self):
        with stub_llm(key=KEY, wrappings=sorted(WRAPPINGS)) as stub:
            project = paid_project(stub, n=60)
            assert ask(project).state == "succeeded"
            rows = list(Prediction.objects.all())
            assert {row.status for row in rows} == {"ok"}
            # The bare name carries no distribution over the codes; all else does.
            assert 0 < sum(row.probabilities is None for row in rows) < 20
            assert all(row.reply is None for row in rows)
            assert_sums_are_right(project)

    def test_the_same_answer_to_everything_is_an_answer(self):
        with stub_llm(key=KEY, says="A.") as stub:
            project = paid_project(stub, n=30)
            assert ask(project).state == "succeeded"
            assert set(Prediction.objects.values_list("label_index", flat=True)) == {0}


class TestPause:
    @pytest.mark.parametrize("n_at_once", [1, 8, 64])
    def test_after_so_many_in_a_row_nothing_more_is_paid(self, settings, n_at_once):
        settings.PRELABEL_UNUSABLE_IN_A_ROW = 7
        with stub_llm(key=KEY, says="The message is about yes and no.") as stub:
            project = paid_project(stub, n=300, max_concurrency=n_at_once)
            run = ask(project)
            assert run.state == "paused" and "7 answers in a row" in run.message
            assert stub.bill().n_charged == Prediction.objects.count() == 7
            assert money(project).spent_micros == stub.bill().micros
            assert_sums_are_right(project)
            row = Prediction.objects.first()
            assert (row.status, row.reply) == ("out_of_set", "The message is about yes and no.")

    def test_the_default_is_twenty(self):
        with stub_llm(key=KEY, says="neither") as stub:
            assert ask(paid_project(stub, n=300)).state == "paused"
            assert stub.bill().n_charged == 20

    def test_resumed_it_goes_on_until_the_next_so_many(self, settings):
        settings.PRELABEL_UNUSABLE_IN_A_ROW = 5
        with stub_llm(key=KEY, says="neither") as stub:
            project = paid_project(stub, n=20)
            ask(project)
            assert ask(project).state == "paused"
            assert stub.bill().n_charged == 10
            stub.change(says=None)
            assert ask(project).state == "succeeded"
            assert stub.bill().n_charged == 20 and progress.progress(project).n_silver == 10

    def test_a_large_share_pauses_too(self, settings):
        settings.PRELABEL_UNUSABLE_IN_A_ROW, settings.PRELABEL_UNUSABLE_LEAST = 0, 20
        with stub_llm(key=KEY, faults={"prose": 0.8}) as stub:
            project = paid_project(stub, n=200, max_concurrency=1)
            run = ask(project)
            assert run.state == "paused" and "of 20 answers" in run.message
            assert 20 <= stub.bill().n_charged <= 22

    def test_items_that_are_too_long_do_not_count(self, settings):
        settings.PRELABEL_UNUSABLE_IN_A_ROW = 3
        with stub_llm(key=KEY, faults={"context_length": 1.0}) as stub:
            assert ask(paid_project(stub, n=10)).state == "succeeded"

    def test_by_hand(self, settings):
        settings.PRELABEL_UNUSABLE_IN_A_ROW, settings.PRELABEL_UNUSABLE_LEAST = 3, 6
        settings.PRELABEL_UNUSABLE_SHARE = 0.5
        counted = UnusableAnswers()
        assert counted.room(1) == 2
        for answer in (FAILED, FAILED, Judgement(0), FAILED, FAILED):
            counted.record(answer)
            assert counted.why is None
        assert counted.room(50) is None
        counted.record(Judgement(0))
        assert "4 of 6" in counted.why


class TestFailedAgain:
    def test_the_failed_ones_alone_are_asked_and_paid_again(self, half_failed):
        project, stub, n_failed = half_failed
        good = dict(Prediction.objects.filter(status="ok").values_list("item", "pk"))
        stub.reset()
        assert ask_again(project).state == "succeeded"
        assert stub.bill().n_charged == n_failed
        assert dict(Prediction.objects.filter(item__in=good).values_list("item", "pk")) == good
        now = progress.progress(project)
        assert (now.n_silver, now.n_failed) == (12, 0)
        again = Prediction.objects.filter(attempt=2)
        assert again.count() == n_failed and all(again.values_list("is_current", flat=True))
        assert Prediction.objects.filter(attempt=1, is_current=False).count() == n_failed
        assert_sums_are_right(project)
        for name in ("failures are labels nowhere", "each attempt to spend ends once", "money adds up"):
            assert first_problem(CHECKS[name], project) is None

    def test_what_fails_again_is_asked_once(self, half_failed):
        project, stub, n_failed = half_failed
        stub.change(says="neither")
        stub.reset()
        assert ask_again(project).result["n_failed"] == n_failed
        assert stub.bill().n_charged == n_failed
        assert max(Prediction.objects.values_list("attempt", flat=True)) == 2

    def test_a_quote_comes_before(self, half_failed):
        project, stub, n_failed = half_failed
        quote = quotes.quote(project=project, by=owner_of(project), failed_again=True)
        assert quote.n_items == n_failed and 0 < quote.micros.likely <= quote.micros.high
        stub.reset()
        ask_again(project)
        assert stub.bill().micros <= quote.micros.high
        assert quotes.quote(project=project, by=owner_of(project), failed_again=True).n_items == 0

    def test_the_delivered_version_is_another(self, half_failed):
        project, _stub, _n = half_failed
        before = delivery._fingerprint(project)
        ask_again(project)
        assert delivery._fingerprint(project) != before

    def test_every_reader_takes_the_newest_attempt(self, half_failed):
        project, _stub, _n = half_failed
        ask_again(project)
        items = pool.load(project)
        silver = pool.load_silver(items, prompts.current_prompt(project), labels.current(project))
        assert (silver.label < 3).all() and not silver.failed.any()
        assert prompts.in_force(project).n == 12

    def test_a_worker_that_was_lost_asks_for_the_rest(self, half_failed):
        project, stub, n_failed = half_failed
        run = tasks.enqueue(kind="prelabel", project=project, by=owner_of(project), parameters={"failed_again": True})
        assert run.parameters == {"failed_again": True, "failed_until": Prediction.objects.failed().latest("pk").pk}
        stub.change(says="neither")
        stub.reset()
        for _attempt in range(2):  # the second finds nothing left: all failed again, under this run
            lifecycle.claim_next()
            run.refresh_from_db()
            with lifecycle.taken_up(public_id=run.public_id, attempt=run.attempt) as attempt:
                tasks.perform(attempt)
            run.state = "queued"
            run.save()
        assert stub.bill().n_charged == n_failed

    def test_nobody_chooses_which(self, half_failed):
        project, _stub, _n = half_failed
        given = {"failed_again": True, "failed_until": 1}
        prepared = tasks.prepare(kind="prelabel", project=project, by=owner_of(project), parameters=given)
        assert prepared["failed_until"] > 1
        assert tasks.prepare(kind="prelabel", project=project, by=owner_of(project), parameters={}) == {}

    def test_the_command(self, half_failed, capsys):
        project, stub, n_failed = half_failed
        stub.reset()
        call_command("prelabel", project.slug, "--failed-again")
        assert stub.bill().n_charged == n_failed
        assert "12 items" in capsys.readouterr().out

    def test_without_failures_there_is_nothing_to_repeat(self):
        with stub_llm(key=KEY) as stub:
            project = paid_project(stub, n=2)
            for _times in range(2):
                with pytest.raises(Conflict, match="nothing to repeat"):
                    ask_again(project)
                ask(project)

    def test_this_sites_own_annotator_would_say_the_same(self, half_failed):
        project, _stub, _n = half_failed
        project.connection = None
        project.save()
        with pytest.raises(Conflict, match="same answers"):
            ask_again(project)
