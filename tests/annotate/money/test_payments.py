"""What people are paid: reserved with the lease, settled with the answer, free again without one."""

from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate import rounds
from annotate.errors import BudgetReached
from annotate.labeling import answers, workload
from annotate.labeling import leases as leasing
from annotate.labeling.answers import Answer
from annotate.models import Budget, Lease, LedgerEntry, Project, QueueEntry
from annotate.models.base import database_now
from annotate.money import budgets, payments
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db
PRICE = 50_000


@pytest.fixture
def project(asked):
    return asked(human_price_micros=PRICE)


def money(project):
    budget = budgets.of(project, Budget.Kind.HUMAN)
    return budget.reserved_micros // PRICE, budget.settled_micros // PRICE


def cap(project, n):
    budgets.set_cap(project=project, kind="human", cap_micros=n * PRICE, by=owner_of(project))


def submit(lease, project, by, key="k", **answer):
    return answers.submit(lease_id=lease.public_id, project=project, answer=Answer(**answer), key=key, by=by)


def n_without_savepoints(context):
    return sum("SAVEPOINT" not in query["sql"] for query in context.captured_queries)


def test_a_label_is_paid_once(project):
    by = owner_of(project)
    (lease,) = leasing.lease_next(project=project, annotator=by)
    assert money(project) == (1, 0)
    assert submit(lease, project, by, label=0).price_micros == PRICE
    assert money(project) == (0, 1)
    again = answers.change(lease_id=lease.public_id, project=project, answer=Answer(label=1), key="l", by=by)
    assert again.price_micros == 0 and money(project) == (0, 1)
    entry = LedgerEntry.objects.get()
    assert (entry.lease, entry.item_id, entry.state) == (lease, lease.entry.item_id, "settled")


def test_a_skip_is_not_paid_until_it_becomes_a_label(project):
    by = owner_of(project)
    (lease,) = leasing.lease_next(project=project, annotator=by)
    assert submit(lease, project, by, skip_reason="unclear").price_micros == 0
    assert money(project) == (0, 0)
    labeled = answers.change(lease_id=lease.public_id, project=project, answer=Answer(label=1), key="l", by=by)
    assert labeled.price_micros == PRICE and money(project) == (0, 1)


def test_what_is_given_back_is_free_again(project):
    by = owner_of(project)
    leases = leasing.lease_next(project=project, annotator=by, n=3)
    assert money(project) == (3, 0)
    leasing.release(project=project, by=by, public_ids=[lease.public_id for lease in leases])
    assert money(project) == (0, 0)


def test_a_closed_round_frees_what_was_held(project):
    by = owner_of(project)
    leasing.lease_next(project=project, annotator=by, n=3)
    rounds.close_round(project=project, by=by, force=True)
    assert money(project) == (0, 0)


class TestCap:
    def test_fewer_are_handed_out_than_asked_for(self, project):
        cap(project, 2)
        assert len(leasing.lease_next(project=project, annotator=owner_of(project), n=3)) == 2
        assert QueueEntry.objects.filter(n_taken=1).count() == 2

    def test_none_without_money_and_the_reason(self, project):
        cap(project, 1)
        leasing.lease_next(project=project, annotator=owner_of(project))
        ann = make_member(project)
        assert leasing.lease_next(project=project, annotator=ann) == []
        assert workload.why_empty(project=project, annotator=ann).kind == "budget"
        with pytest.raises(BudgetReached, match="The cap of 0.05 USD for people is reached"):
            free = QueueEntry.objects.select_related("round__project").filter(n_taken=0)[0]
            leasing.lease(entry=free, annotator=ann)
        assert Lease.objects.count() == 1

    def test_what_ran_out_for_others_gives_its_money_back(self, project):
        cap(project, 1)
        leasing.lease_next(project=project, annotator=owner_of(project))
        later = database_now() + timedelta(seconds=1.1 * django_settings.ANSWER_LEASE_SECONDS)
        assert len(leasing.lease_next(project=project, annotator=make_member(project), now=later)) == 1
        assert money(project) == (1, 0)

    def test_a_late_answer_is_kept_without_pay_where_nothing_is_left(self, project):
        cap(project, 1)
        by, ann = owner_of(project), make_member(project)
        (lease,) = leasing.lease_next(project=project, annotator=by)
        later = database_now() + timedelta(seconds=1.1 * django_settings.ANSWER_LEASE_SECONDS)
        (other,) = leasing.lease_next(project=project, annotator=ann, now=later)
        late = submit(lease, project, by, label=0)
        assert (late.price_micros, late.is_counted) == (0, False)
        assert submit(other, project, ann, key="m", label=0).price_micros == PRICE
        assert money(project) == (0, 1)

    def test_a_late_answer_is_paid_where_something_is_left(self, project):
        by = owner_of(project)
        (lease,) = leasing.lease_next(project=project, annotator=by)
        leasing.expire(entry=lease.entry, now=database_now() + timedelta(days=1))
        assert submit(lease, project, by, label=0).price_micros == PRICE
        assert money(project) == (0, 1)

    def test_stopped_spending_hands_out_nothing(self, project):
        by = owner_of(project)
        budgets.stop(project=project, kind="human", by=by)
        assert leasing.lease_next(project=project, annotator=by) == []


class TestQueries:
    """The hot path: nothing more where the price is 0, two more for each of lease and answer where it is not."""

    @pytest.mark.parametrize(("price", "n_lease", "n_submit"), [(0, 4, 6), (PRICE, 6, 8)])
    def test_they_are_few(self, asked, price, n_lease, n_submit):
        project = asked(human_price_micros=price)
        by = owner_of(project)
        n_locks = int(connection.features.has_select_for_update)
        with CaptureQueriesContext(connection) as asked_for:
            (lease,) = leasing.lease_next(project=project, annotator=by)
        assert n_without_savepoints(asked_for) <= n_lease + n_locks
        with CaptureQueriesContext(connection) as asked_for:
            submit(lease, project, by, label=0)
        assert n_without_savepoints(asked_for) <= n_submit + n_locks

    def test_nothing_is_asked_where_the_price_is_0(self, asked, django_assert_num_queries):
        project = asked()
        with django_assert_num_queries(0):
            assert payments.hold(project, 3).n == 3
            payments.hold(project, 3).book([])
            assert payments.settle(Lease(), project, now=database_now) == 0
            assert payments.release([]) == 0
            assert payments.refusal(project) is None


def test_a_price_that_became_0_leaves_nothing_reserved(project):
    by = owner_of(project)
    (lease,) = leasing.lease_next(project=project, annotator=by)
    Project.objects.filter(pk=project.pk).update(human_price_micros=0)
    assert submit(lease, Project.objects.get(pk=project.pk), by, label=0).price_micros == 0
    assert payments.sweep() == 1
    assert money(project) == (0, 0)
