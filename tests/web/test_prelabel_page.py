"""The page on pre-labeling: whom to ask, what it costs, what is sent, how it goes, what came of it."""

import re

import pytest
from django.urls import reverse

from annotate import projects
from annotate.models import Budget, Prediction, Run
from annotate.models.project import Role
from annotate.money import budgets, ledger
from annotate.money.ledger import Ask, End, State
from annotate.silver import connections, prompts
from tests.factories import make_connection, make_member, make_project, make_user, owner_of
from tests.rows import make_items, make_round, make_run, make_silver
from tests.web.test_budget import text_of
from tests.web.test_translation import known_strings, pseudo_locale, untranslated

__all__ = ["pseudo_locale"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("keys_in_a_temporary_folder")]
HTMX = {"HTTP_HX_REQUEST": "true"}
EVIL = '<script>alert("x")</script>'


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def olga(signed_in, project):
    return signed_in(owner_of(project))


def page(client, project, query="", **headers):
    return client.get(reverse("prelabel-show", args=[project.slug]) + query, **headers)


def lend(project, **changes):
    """A connection that the project may ask and has chosen."""
    sara = make_user("Sara", is_site_owner=True)
    made = make_connection(sara, **changes)
    connections.lend(connection=made, project=project, by=sara)
    if "input_price_micros" not in changes:
        connections.choose(project=project, connection=made, by=owner_of(project))
    return made


def cap(project, micros):
    return budgets.set_cap(project=project, kind=Budget.Kind.MACHINE, cap_micros=micros, by=owner_of(project))


def is_off(html):
    """Whether the button that starts a pre-label is disabled."""
    return re.search(r'<button class="btn btn-primary"( disabled)?[^>]*>Pre-label</button>', html).group(1) is not None


class TestStart:
    def test_without_items_it_says_what_to_do(self, olga, project):
        text = text_of(page(olga, project))
        assert "Import some first" in text
        assert "No machine has answered yet" in text

    def test_by_this_site_it_is_free_and_starts_from_here(self, olga, project):
        make_items(project, 3)
        response = page(olga, project)
        assert "3 of 3 items have no answer yet." in text_of(response)
        assert not is_off(response.content.decode())
        data = {"kind": "prelabel", "back": "prelabel", "seen": ""}
        sent = olga.post(reverse("runs-start", args=[project.slug]), data)
        assert sent.url == reverse("prelabel-show", args=[project.slug])
        assert Run.objects.get().kind == "prelabel"
        assert "run-" + Run.objects.get().public_id in page(olga, project).content.decode()

    def test_with_a_cap_it_can_start_and_says_what_it_may_cost(self, olga, project):
        make_items(project, 3)
        lend(project)
        cap(project, 10_000_000)
        response = page(olga, project)
        assert not is_off(response.content.decode())
        assert "10.00 USD is left below the cap." in text_of(response)
        assert "Reckoned from the texts of 3 items, nothing was sent." in text_of(response)

    def test_the_button_says_why_it_rests(self, olga, project):
        make_items(project, 3)
        made = lend(project)
        said = []

        def look():
            response = page(olga, project)
            assert is_off(response.content.decode())
            said.append(re.search(r'id="why-not">([^<]+)<', response.content.decode()).group(1))

        look()
        cap(project, 10_000_000)
        budgets.stop(project=project, kind=Budget.Kind.MACHINE, by=owner_of(project))
        look()
        type(made).objects.update(output_price_micros=None)
        look()
        type(made).objects.update(is_active=False)
        look()
        for found, expected in zip(
            said, ("No cap is set", "stopped spending", "prices of", "switched off"), strict=True
        ):
            assert expected in found

    def test_with_every_item_answered_there_is_nothing_to_do(self, olga, project):
        make_silver(project, make_items(project, 2))
        project.prompts.update(annotator="offline")
        assert is_off(page(olga, project).content.decode())

    def test_too_little_money_for_all_is_said(self, olga, project):
        make_items(project, 50)
        lend(project)
        cap(project, 400)
        assert "the run will pause at the cap" in text_of(page(olga, project))

    def test_while_a_run_is_alive_its_controls_are_there_and_no_second_start(self, olga, project):
        make_items(project, 3)
        run = make_run(project, kind="prelabel", state="running", n_done=1, n_total=3)
        html = page(olga, project).content.decode()
        assert reverse("runs-pause", args=[project.slug, run.public_id]) in html
        assert reverse("runs-cancel", args=[project.slug, run.public_id]) in html
        assert ">Pre-label</button>" not in html


class TestChoice:
    def test_it_is_chosen_and_left_again(self, olga, project):
        made = lend(project)
        for value, annotator in (("", "offline"), (made.public_id, "openai")):
            olga.post(reverse("prelabel-choose", args=[project.slug]), {"connection": value})
            project.refresh_from_db()
            assert project.annotator == annotator

    def test_what_is_not_lent_is_not_found(self, olga, project):
        theirs = lend(make_project())
        sent = olga.post(reverse("prelabel-choose", args=[project.slug]), {"connection": theirs.public_id})
        assert sent.status_code == 404

    def test_what_has_no_price_cannot_be_chosen_here_and_says_so(self, olga, project):
        lend(project, input_price_micros=None)
        assert "has no price yet" in text_of(page(olga, project))

    def test_under_way_it_stays(self, olga, project):
        make_run(project, kind="prelabel", state="running")
        assert olga.post(reverse("prelabel-choose", args=[project.slug]), {"connection": ""}).status_code == 409


class TestPreview:
    def test_it_steps_through_items_and_comes_round(self, olga, project):
        make_items(project, 2, texts=["first of all", "second of all"])
        lend(project)
        texts = [page(olga, project, query).content.decode() for query in ("", "?look=1", "?look=2", "?look=x")]
        assert ["first of all" in html for html in texts] == [True, False, True, True]
        assert "second of all" in texts[1]
        assert 'href="?look=1#prompt"' in texts[2]

    def test_a_text_stays_a_text(self, olga, project):
        make_items(project, 1, texts=[EVIL])
        lend(project)
        html = page(olga, project).content.decode()
        assert EVIL not in html
        assert "alert(" in html

    def test_the_key_is_nowhere(self, olga, project):
        make_items(project, 1)
        lend(project)
        assert "sk-canary" not in page(olga, project).content.decode()


class TestAnswers:
    def test_failures_are_counted_by_kind_with_items_to_look_at(self, olga, project):
        items = make_items(project, 12)
        make_silver(project, items[:2])
        make_silver(project, items[2:9], status="refusal")
        make_silver(project, items[9:11], status="too_long")
        html = page(olga, project).content.decode()
        assert "2 items with a valid answer, 9 without." in text_of(page(olga, project))
        assert "would not answer" in html
        assert html.index("would not answer") < html.index("does not fit into what the model reads")
        answers = html[html.index('id="answers"') :]
        assert len(re.findall(r"/items/[0-9a-f]{20}", answers)) == 5 + 2

    def test_every_kind_of_failure_has_its_words(self, olga, project):
        kinds = [kind for kind in Prediction.Status if kind != Prediction.Status.OK]
        for item, kind in zip(make_items(project, len(kinds)), kinds, strict=True):
            make_silver(project, [item], status=kind)
        assert page(olga, project).content.decode().count('<dt class="font-semibold">') == len(kinds)

    def test_older_versions_can_be_looked_at(self, olga, project):
        items = make_items(project, 4)
        make_silver(project, items, version=1, status="refusal")
        make_silver(project, items, version=2)
        assert "Prompt version 2: 4 items" in text_of(page(olga, project))
        assert "Prompt version 1: 0 items with a valid answer, 4 without." in text_of(page(olga, project, "?version=1"))

    def test_money_of_a_run_is_the_ledgers(self, olga, project):
        make_items(project, 1)
        lend(project)
        budget, run = cap(project, 1000), make_run(project, kind="prelabel", state="running")
        first, _second = ledger.reserve(budget, [Ask(300), Ask(200)], run=run)
        ledger.end(budget, [End(first, State.SETTLED, 123)])
        said = "This run has spent 0.000123 USD; 0.0002 USD is reserved"
        assert said in text_of(page(olga, project))
        part = olga.get(reverse("prelabel-spent", args=[project.slug]), **HTMX)
        assert said in text_of(part)
        assert "<html" not in part.content.decode()
        assert "every 2s" in part.content.decode()
        Run.objects.update(state="paused")
        assert "every 2s" not in olga.get(reverse("prelabel-spent", args=[project.slug]), **HTMX).content.decode()


class TestWhoMay:
    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.VIEWER])
    def test_who_reads_gets_no_forms_and_no_quote(self, signed_in, project, role):
        make_items(project, 3)
        lend(project)
        html = page(signed_in(make_member(project, role=role)), project).content.decode()
        assert "prelabel/choose" not in html
        assert "What exactly is sent" not in html
        assert "Items are pre-labeled by Server" in html

    def test_reviewers_see_no_money(self, signed_in, project):
        make_silver(project, make_items(project, 1))
        make_run(project, kind="prelabel")
        ravi = signed_in(make_member(project, role=Role.REVIEWER))
        assert "USD" not in page(ravi, project).content.decode()
        assert ravi.get(reverse("prelabel-spent", args=[project.slug])).status_code == 403

    def test_annotators_do_not_see_it(self, signed_in, project):
        assert page(signed_in(make_member(project)), project).status_code == 403


def test_htmx_gets_the_part_alone(olga, project):
    assert "<html" not in page(olga, project, **HTMX).content.decode()


def test_queries_do_not_grow(olga, project, django_assert_max_num_queries):
    items = make_items(project, 30)
    for version, status in enumerate(("refusal", "too_long", "ok"), start=1):
        make_silver(project, items, version=version, status=status)
    make_run(project, kind="prelabel")
    lend(project)
    cap(project, 10**9)
    with django_assert_max_num_queries(42):
        page(olga, project)


@pytest.mark.usefixtures("pseudo_locale")
def test_every_state_is_translated(olga, project):
    items = make_items(project, 3)
    make_silver(project, items[:1], status="refusal")
    make_run(project, kind="prelabel")
    projects.set_guidelines(project=project, markdown="plugh", by=owner_of(project))
    lend(project)
    html = page(olga, project).content.decode()
    prompt = html[html.index("<pre") : html.rindex("</pre>")]
    assert untranslated(html.replace(prompt, "<pre>"), known_strings()) == []
    cap(project, 400)
    assert "⟦" in page(olga, project).content.decode()


class TestFailedAgain:
    REPLY = "The message is about yes and no."

    @pytest.fixture
    def failed(self, project):
        """Six items under the version that would be asked now: four failures with what was replied, two labels."""
        items = make_items(project, 6)
        lend(project)
        cap(project, 10**9)
        project.refresh_from_db()
        row = connections.of_project(project)
        prompt = prompts.version(**prompts.of_connection(project, row, connections.endpoint_of(row)))
        for place, item in enumerate(items):
            said = {"label_index": 0} if place > 3 else {"status": "out_of_set", "reply": f"{self.REPLY} {place}"}
            Prediction.objects.create(prompt=prompt, item=item, **({"status": "ok"} | said))
        return items

    def send(self, client, project, **said):
        kind = {"kind": "prelabel", "back": "prelabel", **said}
        return client.post(reverse("runs-start", args=[project.slug]), kind)

    def test_it_says_what_it_costs_and_asks_all_of_them(self, olga, project, failed):
        text = text_of(page(olga, project))
        assert "4 answers of this model to today's labels and guidelines give no label." in text
        assert re.search(r"Likely cost: 0\.\d+ USD", text) and "Ask 4 items again" in text
        assert self.send(olga, project, failed_again="yes").status_code == 303
        run = Run.objects.get()
        assert (
            run.parameters["failed_again"] and run.parameters["failed_until"] == Prediction.objects.failed().last().pk
        )

    def test_a_common_start_asks_for_the_others(self, olga, project, failed):
        make_items(project, 1)
        self.send(olga, project)
        assert Run.objects.get().parameters == {}

    def test_while_one_is_not_over_it_waits(self, olga, project, failed):
        make_run(project, kind="prelabel", state="paused", message="The last 20 answers in a row named no label")
        html = page(olga, project).content.decode()
        assert "let it end, or cancel it, first" in html and "named no label" in html
        assert 'disabled aria-describedby="why-not-again"' in html

    def test_without_failures_there_is_no_word_of_it(self, olga, project):
        make_items(project, 2)
        lend(project)
        assert "Ask the failed ones again" not in page(olga, project).content.decode()

    def test_who_manages_reads_what_was_replied(self, olga, project, failed):
        assert self.REPLY in page(olga, project).content.decode()

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.VIEWER])
    def test_nobody_else_does(self, signed_in, project, failed, role):
        client = signed_in(make_member(project, role=role))
        assert self.REPLY not in page(client, project).content.decode()
        item = client.get(reverse("items-show", args=[project.slug, failed[0].public_id]))
        assert self.REPLY not in item.content.decode()

    def test_nobody_does_while_people_are_asked_about_the_item(self, olga, project, failed):
        make_round(project, failed[:1])
        html = page(olga, project).content.decode()
        assert f"{self.REPLY} 0" not in html and f"{self.REPLY} 1" in html
        for place, is_shown in ((0, False), (1, True)):
            shown = olga.get(reverse("items-show", args=[project.slug, failed[place].public_id])).content.decode()
            assert (self.REPLY in shown) == is_shown

    @pytest.mark.usefixtures("pseudo_locale")
    def test_it_is_translated(self, olga, project, failed):
        html = page(olga, project).content.decode()
        html = html.replace(html[html.index("<pre") : html.rindex("</pre>")], "<pre>")
        html = re.sub(r"<blockquote.*?</blockquote>", "", html)
        assert untranslated(html, known_strings()) == []
