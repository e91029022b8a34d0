"""Nothing is spent that was not reserved, and whatever was reserved ends once."""

import random
import threading

import pytest
from django.db import connection, transaction
from django.db.models import Sum

from annotate.errors import BudgetReached, Conflict
from annotate.models import Budget, LedgerEntry, Run
from annotate.models.write_lock import sqlite_write_lock
from annotate.money import budgets, ledger
from annotate.money.ledger import Ask, End, State
from tests.factories import make_project, owner_of
from tests.rows import make_run

MACHINE = Budget.Kind.MACHINE


@pytest.fixture
def project(db):
    return make_project()


@pytest.fixture
def budget(project):
    return budgets.set_cap(project=project, kind=MACHINE, cap_micros=100, by=owner_of(project))


def sums(budget):
    budget.refresh_from_db()
    return budget.reserved_micros, budget.settled_micros, budget.written_off_micros


def asks(*amounts):
    return [Ask(micros) for micros in amounts]


class TestReserve:
    def test_a_group_costs_two_queries_and_a_savepoint(self, budget, django_assert_num_queries):
        with django_assert_num_queries(5):  # the clock, begin and end of the savepoint beside them
            entries = ledger.reserve(budget, asks(*[1] * 50))
        assert len(entries) == 50
        assert sums(budget) == (50, 0, 0)

    def test_as_many_as_fit(self, budget):
        assert [entry.reserved_micros for entry in ledger.reserve(budget, asks(60, 40, 1))] == [60, 40]

    def test_none_fits(self, budget):
        ledger.reserve(budget, asks(90))
        with pytest.raises(BudgetReached, match="could cost up to 0.000011 USD"):
            ledger.reserve(budget, asks(11, 1))
        assert sums(budget) == (90, 0, 0)

    def test_nothing_without_a_cap(self, project):
        with pytest.raises(BudgetReached, match="No cap is set for machines"):
            ledger.reserve(budgets.of(project, MACHINE), asks(1))

    def test_what_is_free_needs_none(self, project):
        assert ledger.reserve(budgets.of(project, MACHINE), asks(0, 0))

    def test_nothing_once_it_was_stopped(self, project, budget):
        budgets.stop(project=project, kind=MACHINE, by=owner_of(project))
        with pytest.raises(BudgetReached, match="stopped"):
            ledger.reserve(budget, asks(0))

    def test_it_knows_its_attempt(self, project, budget):
        run = make_run(project, state="running", attempt=3)
        (entry,) = ledger.reserve(budget, asks(1), run=run)
        assert (entry.run, entry.run_attempt, entry.state) == (run, 3, "reserved")


class TestEnd:
    def test_a_group_ends_in_each_way(self, budget):
        one, two, three = ledger.reserve(budget, asks(10, 20, 30))
        ends = [End(one, State.SETTLED, 4, 100, 1), End(two, State.RELEASED), End(three, State.WRITTEN_OFF, reason="?")]
        ledger.end(budget, ends)
        assert sums(budget) == (0, 4, 30)
        rows = LedgerEntry.objects.order_by("pk").values_list("state", "final_micros", "n_input_tokens", "reason")
        assert list(rows) == [("settled", 4, 100, ""), ("released", 0, None, ""), ("written_off", 30, None, "?")]
        assert not LedgerEntry.objects.filter(ended_at=None).exists()

    @pytest.mark.parametrize("micros", [11, -1, None])
    def test_what_cannot_have_cost_that_is_written_off(self, budget, micros):
        (entry,) = ledger.reserve(budget, asks(10))
        ledger.end(budget, [End(entry, State.SETTLED, micros)])
        assert sums(budget) == (0, 0, 10)

    @pytest.mark.parametrize("again", [State.SETTLED, State.RELEASED, State.WRITTEN_OFF])
    def test_nothing_ends_twice(self, budget, again):
        one, two = ledger.reserve(budget, asks(10, 10))
        ledger.end(budget, [End(one, State.SETTLED, 3)])
        with pytest.raises(Conflict, match="ended by another"):
            ledger.end(budget, [End(two, State.RELEASED), End(one, again, 0)])
        assert sums(budget) == (10, 3, 0)
        two.refresh_from_db()
        assert two.state == "reserved"


class TestOrphans:
    def test_a_new_attempt_writes_off_what_the_lost_one_had(self, project, budget):
        run, other = make_run(project, state="running"), make_run(project, kind="draw", state="running")
        ledger.reserve(budget, asks(10, 20), run=run)
        ledger.reserve(budget, asks(5), run=other)
        assert ledger.write_off_orphans(run) == 2
        assert sums(budget) == (5, 0, 30)

    @pytest.mark.parametrize("state", ["errored", "failed", "cancelled", "queued"])
    def test_the_sweeper_writes_off_what_nobody_works_on(self, project, budget, state):
        ledger.reserve(budget, asks(10), run=make_run(project, state=state))
        assert ledger.sweep() == 1
        assert sums(budget) == (0, 0, 10)

    def test_and_what_an_earlier_attempt_had(self, project, budget):
        run = make_run(project, state="running")
        ledger.reserve(budget, asks(10), run=run)
        assert ledger.sweep() == 0
        Run.objects.filter(pk=run.pk).update(attempt=2)
        assert ledger.sweep() == 1


N_THREADS, N_EACH, MOST = 16, 1_000 // 16, 1_000


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
@pytest.mark.parametrize("group", [1, 5])
def test_many_at_once_never_pass_the_cap_and_come_close(group):
    """F-BUDGET."""
    project = make_project()
    total = N_THREADS * N_EACH * group * MOST // 2
    cap = total // 3
    budget = budgets.set_cap(project=project, kind=MACHINE, cap_micros=cap, by=owner_of(project))
    seen, problems = [], []

    def work(seed):
        rng = random.Random(seed)
        try:
            for _ in range(N_EACH):
                try:
                    with sqlite_write_lock(), transaction.atomic():
                        entries = ledger.reserve(budget, asks(*(rng.randint(1, MOST) for _ in range(group))))
                except BudgetReached:
                    continue
                with sqlite_write_lock(), transaction.atomic():
                    ledger.end(budget, [End(e, State.SETTLED, e.reserved_micros) for e in entries])
                seen.append(Budget.objects.values_list("settled_micros", "reserved_micros").get(pk=budget.pk))
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert max(map(sum, seen)) <= cap
    reserved, settled, written_off = sums(budget)
    assert reserved == written_off == 0
    assert cap - MOST <= settled <= cap
    assert LedgerEntry.objects.aggregate(n=Sum("final_micros"))["n"] == settled
