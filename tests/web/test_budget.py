"""The budget page: caps, the switch, the ledger and its file."""

import csv
import io
import re

import pytest
from django.urls import reverse

from annotate.labeling import leases
from annotate.models import Budget, LedgerEntry, Run
from annotate.models.project import Role
from annotate.money import budgets, ledger
from annotate.money.ledger import Ask, End, State
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_items, make_round, make_run
from tests.web.test_translation import known_strings, pseudo_locale, untranslated

__all__ = ["pseudo_locale"]
pytestmark = pytest.mark.django_db
MACHINE, HUMAN = Budget.Kind.MACHINE, Budget.Kind.HUMAN


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def olga(signed_in, project):
    return signed_in(owner_of(project))


def page(client, project, query=""):
    return client.get(reverse("budget-show", args=[project.slug]) + query)


def send(client, project, what, **data):
    return client.post(reverse(f"budget-{what}", args=[project.slug]), data)


def cap(project, micros, kind=MACHINE):
    return budgets.set_cap(project=project, kind=kind, cap_micros=micros, by=owner_of(project))


def spend(project, *amounts, settled=0, run=None, items=()):
    """Reservations of these micros; the first `settled` of them are settled at half of it."""
    ids = [item.pk for item in items] or [None] * len(amounts)
    asks = [Ask(micros, item) for micros, item in zip(amounts, ids, strict=True)]
    budget = budgets.of(project, MACHINE)
    entries = ledger.reserve(budget, asks, run=run)
    ledger.end(budget, [End(entry, State.SETTLED, entry.reserved_micros // 2, 1234, 4) for entry in entries[:settled]])
    return entries


def text_of(response):
    html = re.sub(r"</?(span|strong)[^>]*>", "", response.content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


class TestPage:
    def test_empty_it_says_what_will_be_here(self, olga, project):
        text = text_of(page(olga, project))
        assert "no model that costs money is asked" in text
        assert "Nothing was spent yet" in text

    def test_it_shows_cap_spent_reserved_and_left(self, olga, project):
        cap(project, 2_000_000)
        spend(project, 600_000, 100_003, settled=1)
        text = text_of(page(olga, project))
        for figure in ("0.400003 USD of 2.00 USD", "Spent 0.30 USD", "Reserved 0.100003 USD", "Left 1.599997 USD"):
            assert figure in text, figure

    @pytest.mark.parametrize(
        ("micros", "said"),
        [(40, None), (50, "50 % of the cap is passed."), (85, "80 % of the cap is passed."), (100, "100 % of the cap")],
    )
    def test_thresholds_are_said(self, olga, project, micros, said):
        cap(project, 100)
        spend(project, micros)
        text = text_of(page(olga, project))
        assert said in text if said else "of the cap is passed" not in text

    def test_a_paused_pre_label_says_why(self, olga, project):
        """A cap stops a run before all of it is spent: 85 % passed explains nothing."""
        cap(project, 100)
        spend(project, 85)
        make_run(project, kind="prelabel", state=Run.State.PAUSED, message="The cap of 0.0001 USD is reached.")
        text = text_of(page(olga, project))
        assert "A pre-label is paused. It stopped with: The cap of 0.0001 USD is reached. To the pre-label" in text
        assert "80 % of the cap" not in text

    def test_a_cap_that_holds_a_run_up_is_passed(self, olga, project):
        """What is left pays for no further item: each reserved 20."""
        cap(project, 100)
        run = make_run(project, kind="prelabel", state=Run.State.PAUSED, message="The cap of 0.0001 USD is reached.")
        spend(project, 20, 20, 25, 20, run=run)
        text = text_of(page(olga, project))
        assert "100 % of the cap is passed: the next attempt does not fit" in text and "80 %" not in text

    def test_with_a_price_people_count_too(self, signed_in):
        project = make_project(human_price_micros=50_000)
        make_round(project, make_items(project, 2))
        cap(project, 1_000_000, HUMAN)
        ann = make_member(project)
        leases.lease_next(project=project, annotator=ann)
        assert "Reserved 0.05 USD" in text_of(page(signed_in(owner_of(project)), project))
        assert "Ann" in text_of(page(signed_in(owner_of(project)), project))

    def test_who_only_reads_sees_no_names_and_no_forms(self, signed_in):
        project = make_project(human_price_micros=50_000)
        make_round(project, make_items(project, 2))
        leases.lease_next(project=project, annotator=make_member(project))
        vera = signed_in(make_member(project, "Vera", Role.VIEWER, is_trusted=False))
        response = page(vera, project)
        assert "Ann" not in text_of(response)
        assert "budget/cap" not in response.content.decode()
        assert "person" not in b"".join(page(vera, project, "?format=csv").streaming_content).decode()

    @pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
    def test_who_is_paid_does_not_see_it(self, signed_in, project, role):
        person = signed_in(make_member(project, role=role))
        assert page(person, project).status_code == 403
        assert page(person, project, "?format=csv").status_code == 403

    def test_its_queries_do_not_grow(self, olga, project, django_assert_max_num_queries):
        cap(project, 10**9)
        items = make_items(project, 40)
        spend(project, *[1] * 40, items=items, run=make_run(project, kind="prelabel"), settled=20)
        with django_assert_max_num_queries(13):
            page(olga, project)

    @pytest.mark.usefixtures("pseudo_locale")
    def test_every_state_is_translated(self, olga, project):
        cap(project, 100)
        spend(project, 60, 40, settled=1, items=make_items(project, 2))
        budgets.stop(project=project, kind=MACHINE, by=owner_of(project))
        html = page(olga, project).content.decode()
        assert untranslated(html, known_strings() | {"machine", "human"}) == []


class TestCap:
    def test_it_is_set_to_the_micro_unit(self, olga, project):
        response = send(olga, project, "cap", kind="machine", cap="12.000001")
        assert (response.status_code, budgets.of(project, MACHINE).cap_micros) == (303, 12_000_001)
        assert 'value="12.000001"' in page(olga, project).content.decode()

    def test_empty_takes_it_away(self, olga, project):
        cap(project, 5)
        send(olga, project, "cap", kind="machine", cap="")
        assert budgets.of(project, MACHINE).cap_micros is None

    def test_below_what_is_spent_it_is_refused_beside_the_field(self, olga, project):
        cap(project, 1_000_000)
        spend(project, 500_000)
        response = send(olga, project, "cap", kind="machine", cap="0.4")
        html = response.content.decode()
        assert response.status_code == 422
        assert 'id="machine_cap_error"' in html
        assert "cannot be lower than what is spent" in html
        assert 'value="0.4"' in html
        assert budgets.of(project, MACHINE).cap_micros == 1_000_000

    @pytest.mark.parametrize("text", ["-1", "1e400", "nan", "0.0000001", "many", "99999999999999"])
    def test_what_is_no_amount_is_refused(self, olga, project, text):
        assert send(olga, project, "cap", kind="machine", cap=text).status_code == 422
        assert budgets.of(project, MACHINE).cap_micros is None

    def test_other_kinds_are_refused(self, olga, project):
        assert send(olga, project, "cap", kind="gold", cap="1").status_code == 422

    def test_viewers_cannot(self, signed_in, project):
        vera = signed_in(make_member(project, role=Role.VIEWER))
        assert send(vera, project, "cap", kind="machine", cap="1").status_code == 403


class TestSwitch:
    @pytest.mark.parametrize("kind", ["machine", "human"])
    def test_it_stops_and_goes_on(self, olga, project, kind):
        send(olga, project, "stop", kind=kind)
        assert budgets.of(project, kind).is_stopped
        assert "Let spending go on" in text_of(page(olga, project))
        send(olga, project, "resume", kind=kind)
        assert not budgets.of(project, kind).is_stopped

    def test_it_comes_back_to_where_it_was_pressed(self, olga, project):
        response = send(olga, project, "stop", kind="machine", back="prelabel")
        assert response.url == reverse("prelabel-show", args=[project.slug])


class TestLedger:
    @pytest.fixture
    def entries(self, project):
        cap(project, 10**9)
        return spend(
            project, *[1_000] * 60, items=make_items(project, 60), run=make_run(project, kind="prelabel"), settled=10
        )

    def test_pages_hold_every_entry_once(self, olga, project, entries):
        first = page(olga, project).content.decode()
        older = re.search(r'href="(\?before=[0-9a-f]+)"', first).group(1)
        second = page(olga, project, older).content.decode()
        shown = [re.findall(r"/items/([0-9a-f]{20})", html) for html in (first, second)]
        assert [len(part) for part in shown] == [50, 10]
        assert sum(shown, []) == [entry.item.public_id for entry in reversed(entries)]
        assert 'rel="next"' not in second

    @pytest.mark.parametrize(
        ("query", "n"),
        [("?kind=human", 0), ("?state=settled", 10), ("?state=reserved", 50), ("?kind=machine&state=written_off", 0)],
    )
    def test_filters(self, olga, project, entries, query, n):
        assert len(re.findall(r"/items/[0-9a-f]{20}", page(olga, project, query).content.decode())) == n

    def test_by_run_and_item(self, olga, project, entries):
        other = spend(project, 7, run=make_run(project, kind="prelabel", state="failed"))[0]
        assert "reserved 0.000007 USD" in text_of(page(olga, project, f"?run={other.run.public_id}"))
        item = entries[0].item.public_id
        text = text_of(page(olga, project, f"?item={item}"))
        assert "settled 0.0005 USD" in text
        assert "1,234 / 4" in text

    def test_totals_equal_the_budget(self, olga, project, entries):
        budget = budgets.of(project, MACHINE)
        counted = text_of(page(olga, project, f"?run={entries[0].run.public_id}"))
        assert (budget.reserved_micros, budget.settled_micros) == (50_000, 5_000)
        for text in (counted, text_of(page(olga, project))):
            assert "reserved 0.05 USD settled 0.005 USD released 0.00 USD written off 0.00 USD" in text

    def test_of_another_projects_entries_nothing_is_said(self, olga, project, entries):
        elsewhere = make_project()
        cap(elsewhere, 100)
        theirs = spend(elsewhere, 50, run=make_run(elsewhere, kind="prelabel"))[0]
        assert page(olga, project, f"?before={theirs.public_id}").status_code == 404
        assert "No entry fits." in text_of(page(olga, project, f"?run={theirs.run.public_id}"))

    def test_words_that_mean_nothing_are_left_out(self, olga, project, entries):
        assert page(olga, project, "?kind=gold&state='; --&run=x&item=%00").status_code == 200

    def test_the_file_has_all_of_them_and_no_formula(self, olga, project, entries):
        item = entries[0].item
        item.external_id = "=HYPERLINK(1)"
        type(item).objects.filter(pk=item.pk).update(external_id=item.external_id)
        response = page(olga, project, "?format=csv&state=settled")
        rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert len(rows) == 10
        assert sum(int(row["final_micros"]) for row in rows) == 5_000
        assert "'=HYPERLINK(1)" in {row["external_id"] for row in rows}
        assert LedgerEntry.objects.filter(public_id=rows[0]["id"]).exists()
