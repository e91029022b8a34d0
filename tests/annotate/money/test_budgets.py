"""Caps, the kill switch, and what pages show of the ledger."""

import pytest

from annotate.errors import AccessDenied, Conflict, InvalidInput
from annotate.models import Budget, Event
from annotate.money import budgets, ledger
from annotate.money.ledger import End, State
from tests.factories import make_member, make_project, owner_of

pytestmark = pytest.mark.django_db
MACHINE, HUMAN = Budget.Kind.MACHINE, Budget.Kind.HUMAN


@pytest.fixture
def project():
    return make_project()


def cap(project, micros, kind=MACHINE):
    return budgets.set_cap(project=project, kind=kind, cap_micros=micros, by=owner_of(project))


def spend(project, *amounts):
    budget = budgets.of(project, MACHINE)
    entries = ledger.reserve(budget, [ledger.Ask(micros) for micros in amounts])
    ledger.end(budget, [End(entry, State.SETTLED, entry.reserved_micros) for entry in entries])


class TestCap:
    def test_it_is_kept_with_an_event(self, project):
        assert cap(project, 5_000_000).cap_micros == 5_000_000
        event = Event.objects.get(kind="budget.capped")
        assert event.data == {"money": "machine", "cap_micros": 5_000_000, "before": None}

    def test_it_is_never_below_what_is_spent_and_reserved(self, project):
        cap(project, 5_000_000)
        spend(project, 3_000_000)
        ledger.reserve(budgets.of(project, MACHINE), [ledger.Ask(1_000_000)])
        with pytest.raises(Conflict, match=r"spent \(3.00 USD\) and reserved \(1.00 USD\)"):
            cap(project, 3_999_999)
        assert cap(project, 4_000_000).left_micros == 0

    def test_it_can_be_taken_away(self, project):
        cap(project, 5)
        assert cap(project, None).left_micros is None

    def test_it_needs_an_admin(self, project):
        reviewer = make_member(project, role="reviewer")
        with pytest.raises(AccessDenied):
            budgets.set_cap(project=project, kind=MACHINE, cap_micros=1, by=reviewer)

    @pytest.mark.parametrize("micros", [-1, 10**15 + 1])
    def test_it_has_bounds(self, project, micros):
        with pytest.raises(InvalidInput, match="A cap lies between"):
            cap(project, micros)

    def test_there_is_no_other_kind(self, project):
        with pytest.raises(InvalidInput, match="machine, human"):
            cap(project, 1, kind="gold")


class TestRefusal:
    def test_it_gives_the_numbers(self, project):
        cap(project, 5_000_000)
        spend(project, 4_980_000)
        ledger.reserve(budgets.of(project, MACHINE), [ledger.Ask(10_000)])
        assert budgets.refusal(budgets.of(project, MACHINE), 30_000) == (
            "The cap of 5.00 USD for machines is reached: 4.98 USD spent, 0.01 USD reserved; the next attempt could "
            "cost up to 0.03 USD. Raise the cap to go on."
        )

    def test_machines_need_a_cap(self, project):
        assert "No cap is set for machines" in budgets.refusal(budgets.of(project, MACHINE), 1)

    def test_what_costs_nothing_needs_none(self, project):
        assert budgets.refusal(budgets.of(project, MACHINE), 0) is None

    def test_people_need_none(self, project):
        assert budgets.refusal(budgets.of(project, HUMAN), 1) is None

    def test_the_switch_stops_all(self, project):
        cap(project, 5_000_000)
        budgets.stop(project=project, kind=MACHINE, by=owner_of(project))
        budgets.stop(project=project, kind=MACHINE, by=owner_of(project))
        assert "stopped spending on machines" in budgets.refusal(budgets.of(project, MACHINE), 0)
        budgets.resume_spending(project=project, kind=MACHINE, by=owner_of(project))
        assert budgets.refusal(budgets.of(project, MACHINE), 0) is None
        kinds = Event.objects.filter(kind__in=["budget.stopped", "budget.resumed"]).values_list("kind", flat=True)
        assert list(kinds.order_by("pk")) == ["budget.stopped", "budget.resumed"]


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.00 EUR"), (12_345, "0.012345 EUR"), (1_500_000, "1.50 EUR"), (10**15, "1000000000.00 EUR")],
)
def test_amounts_show_what_is_needed(micros, text):
    assert budgets.amount(micros, "EUR") == text


@pytest.mark.parametrize(
    ("used", "percent"), [(0, None), (499, None), (500, 50), (799, 50), (800, 80), (999, 80), (1_000, 100)]
)
def test_an_alert_names_the_threshold_that_is_passed(project, used, percent):
    cap(project, 1_000)
    ledger.reserve(budgets.of(project, MACHINE), [ledger.Ask(used)])
    assert budgets.alert(budgets.of(project, MACHINE)) == percent


def test_an_alert_says_100_where_the_next_does_not_fit(project):
    cap(project, 1_000)
    assert budgets.alert(budgets.of(project, MACHINE), next_micros=1_001) == 100


class TestEntries:
    def test_they_come_newest_first_and_go_on_before_a_key(self, project):
        cap(project, 100)
        spend(project, 1, 2, 3)
        first = list(budgets.entries(project)[:2])
        assert [entry.reserved_micros for entry in first] == [3, 2]
        rest = budgets.entries(project, before=first[-1].pk)
        assert [entry.reserved_micros for entry in rest] == [1]

    def test_they_are_filtered(self, project):
        cap(project, 100)
        spend(project, 1)
        ledger.reserve(budgets.of(project, MACHINE), [ledger.Ask(7)])
        assert [e.reserved_micros for e in budgets.entries(project, kind=MACHINE, state="reserved")] == [7]
        assert not budgets.entries(project, kind=HUMAN).exists()
        with pytest.raises(InvalidInput, match="reserved, settled"):
            budgets.entries(project, state="lost")

    def test_another_project_has_its_own(self, project):
        cap(project, 100)
        spend(project, 1)
        assert not budgets.entries(make_project()).exists()
