"""The overview: who sees what, what it says in each state, and how much it asks of the database."""

import re
import sys

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate import projects
from annotate.models import Draw, Gold, Item, Label
from annotate.models.project import Arm, Role
from annotate.seals import head, sealing
from tests.annotate.asking import leave_open, submit, take
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import (
    make_estimate,
    make_finished_round,
    make_items,
    make_model,
    make_round,
    make_run,
    make_silver,
    make_version,
)

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


def make_known(project, n=4):
    """A closed round with figures for everything, and reference gold on two items."""
    version = make_finished_round(project, n)
    labels = list(Label.objects.filter(schema=version.schema))
    closed = project.rounds.get()
    for draw, label in zip(Draw.objects.filter(round=closed), labels, strict=False):
        Gold.objects.create(
            project=project,
            item=draw.item,
            label=label,
            rule="one_trusted",
            origin=Arm.RANDOM,
            is_blind=True,
            round=closed,
        )
    Gold.objects.filter(project=project).update(created_at=closed.closed_at)
    for estimand in ("llm", "model", "model_new_data", "delivered"):
        population = None if estimand == "model_new_data" else 100
        make_estimate(version, estimand, value=0.931, low=0.9104, high=0.95, population=population)
    make_estimate(version, "precision", label=labels[0], value=None, low=None, high=None, reason="not enough data")
    return version


def page(client, project, **headers):
    return client.get(reverse("overview-show", args=[project.slug]), **headers)


class TestShow:
    def test_it_answers_the_owner(self, signed_in):
        project = make_project()
        assert page(signed_in(owner_of(project)), project).status_code == 200

    def test_annotators_go_to_the_label_page(self, signed_in):
        project = make_project()
        response = page(signed_in(make_member(project)), project)
        assert (response.status_code, response["Location"]) == (303, reverse("labeling-work", args=[project.slug]))

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.REVIEWER, Role.VIEWER])
    def test_whoever_may_see_evidence_sees_it(self, signed_in, role):
        project = make_project()
        assert page(signed_in(make_member(project, role=role)), project).status_code == 200

    def test_a_stranger_does_not_find_it(self, signed_in):
        assert page(signed_in(make_user()), make_project()).status_code == 404

    def test_post_is_no_way_in(self, signed_in):
        project = make_project()
        client = signed_in(owner_of(project))
        assert client.post(reverse("overview-show", args=[project.slug])).status_code == 405

    def test_htmx_gets_the_part_alone(self, signed_in):
        project = make_project()
        body = page(signed_in(owner_of(project)), project, **HTMX).content.decode()
        assert body.strip().startswith('<div id="overview"')
        assert "<html" not in body

    @pytest.mark.parametrize(("role", "shows"), [(Role.ADMIN, 1), (Role.VIEWER, 1), (Role.REVIEWER, 0)])
    def test_money_is_for_those_whose_business_it_is(self, signed_in, role, shows):
        project = make_project(currency="CHF")
        body = page(signed_in(make_member(project, role=role)), project).content.decode()
        assert ("CHF" in body) is bool(shows)

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.VIEWER])
    def test_others_read_the_next_step_without_a_button(self, signed_in, role):
        project = make_project()
        make_items(project)
        body = page(signed_in(make_member(project, role=role)), project).content.decode()
        assert "Pre-label the items" in body
        assert reverse("runs-start", args=[project.slug]) not in body

    def test_the_next_step_has_one_primary_button(self, signed_in):
        project = make_project()
        make_silver(project, make_items(project))
        body = page(signed_in(owner_of(project)), project).content.decode()
        assert re.findall(r'<button class="btn btn-sm btn-primary">([^<]+)', body) == ["Draw a round"]
        assert 'name="batch"' in body

    def test_the_last_batch_is_the_default(self, signed_in):
        project = make_project()
        make_known(project)
        body = page(signed_in(owner_of(project)), project).content.decode()
        assert re.search(r'name="batch"[^>]*value="2"', body)

    def test_closing_over_open_questions_says_how_many_and_asks(self, signed_in):
        project = make_project()
        make_round(project, make_items(project), answered=1)
        body = page(signed_in(owner_of(project)), project).content.decode()
        assert "Close it over 3 open questions." in body
        assert re.search(r'name="force" value="yes" required', body)

    def test_closing_an_answered_round_asks_nothing(self, signed_in):
        project = make_project()
        make_round(project, make_items(project), answered=4)
        assert 'name="force"' not in page(signed_in(owner_of(project)), project).content.decode()

    def test_it_shows_value_interval_n_and_population(self, signed_in):
        project = make_project()
        make_known(project)
        body = page(signed_in(owner_of(project)), project).content.decode()
        for text in ("93.1 %", "91.0–95.0 %", "50 audited", "of 100 items", "for items to come"):
            assert text in body

    def test_without_a_figure_it_says_why(self, signed_in):
        project = make_project()
        version = make_finished_round(project)
        make_estimate(version, value=None, low=None, high=None, reason="nothing is audited yet")
        assert "nothing is audited yet" in page(signed_in(owner_of(project)), project).content.decode()

    def test_an_active_run_asks_again(self, signed_in):
        project = make_project()
        run = make_run(project, state="running", n_done=3, n_total=10, step="Training")
        body = page(signed_in(owner_of(project)), project).content.decode()
        assert f'id="run-{run.public_id}"' in body
        assert 'hx-trigger="every 1s"' in body
        assert '<progress class="progress progress-primary mt-2 w-full" value="3" max="10"' in body

    def test_a_failure_stays_until_something_else_ran(self, signed_in):
        project = make_project()
        make_run(project, state="failed", message="There is nothing to learn from.")
        client = signed_in(owner_of(project))
        assert "There is nothing to learn from." in page(client, project).content.decode()
        make_run(project, kind="estimate")
        assert "There is nothing to learn from." not in page(client, project).content.decode()

    def test_names_of_labels_are_escaped(self, signed_in):
        project = make_project(labels=("<script>alert(1)</script>", "no"))
        make_known(project)
        body = page(signed_in(owner_of(project)), project).content.decode()
        assert "<script>alert" not in body
        assert "&lt;script&gt;alert" in body

    def test_nothing_is_styled_inline(self, signed_in):
        project = make_project()
        make_known(project)
        assert "style=" not in page(signed_in(owner_of(project)), project).content.decode()

    def test_numbers_in_charts_do_not_follow_the_language(self, signed_in):
        project = make_project()
        make_known(project)
        client = signed_in(owner_of(project))
        body = page(client, project, HTTP_ACCEPT_LANGUAGE="de").content.decode()
        svg = "".join(re.findall(r"<svg class=\"chart.*?</svg>", body, re.S))
        assert not re.search(r'(?: x| y|x1|y1|width|cx|opacity)="\d+,\d', svg)

    def test_it_loads_no_model(self, signed_in):
        project = make_project()
        make_known(project)
        before = {name for name in sys.modules if name in ("torch", "transformers")}
        page(signed_in(owner_of(project)), project)
        assert {name for name in sys.modules if name in ("torch", "transformers")} == before

    @pytest.mark.parametrize("n", [4, 40])
    def test_its_queries_are_bounded(self, signed_in, django_assert_max_num_queries, n):
        project = make_project()
        make_known(project, n)
        for index in range(2, 2 + n // 8):
            items = project.items.order_by("-ordinal")[:2]
            make_round(project, items, index=index, answered=2, is_closed=True, arm=Arm.ACTIVE)
            model = make_model(project, version=index)
            make_estimate(make_version(project, model, version=index))
            make_run(project)
        client = signed_in(owner_of(project))
        page(client, project)
        with django_assert_max_num_queries(32):
            page(client, project)


class TestSeals:
    def said(self, signed_in, project):
        text = re.sub("<[^>]+>", "", page(signed_in(owner_of(project)), project).content.decode())
        return " ".join(text.split())

    def test_it_shows_the_head_and_what_came_since(self, signed_in):
        project = make_project()
        said = self.said(signed_in, project)
        assert f"Nothing is sealed yet; {head.n_since(project, None)} rows wait." in said
        seal = sealing.seal(project)
        said = self.said(signed_in, project)
        assert f"(seal 1, {seal.hash[:6]}…), nothing since." in said
        assert seal.hash in said
        assert "nobody can vouch" not in said
        make_items(project, 1)
        assert f"(seal 1, {seal.hash[:6]}…), 3 rows since." in self.said(signed_in, project)

    def test_of_an_older_project_it_says_what_nobody_vouches_for(self, signed_in):
        project = make_project(is_sealed_from_start=False)
        sealing.seal(project)
        assert "nobody can vouch for what happened to its rows before the first seal" in self.said(signed_in, project)

    def test_who_only_annotates_does_not_see_it(self, signed_in):
        project = make_project()
        assert page(signed_in(make_member(project)), project).status_code == 303


class TestWithdrawnAudit:
    def test_it_says_how_many_audited_items_were_withdrawn_one_by_one(self, signed_in):
        project = make_project()
        make_known(project, 5)
        project.draws.update(arm=Arm.AUDIT)
        project.estimates.update(n_unresolved=1)
        client = signed_in(owner_of(project))
        assert "withdrawn" not in page(client, project).content.decode()
        Item.objects.filter(pk=project.items.first().pk).update(withdrawn_at=timezone.now())
        body = page(client, project).content.decode()
        assert "1 audited item was withdrawn by itself. Which one it was can move the value" in body


class TestWaitingForOthers:
    """Questions wait, and the reader can answer none of them: never a button that leads to an empty page."""

    @pytest.fixture
    def skipped(self, asked, signed_in):
        """Olga skipped the only open question; `others`: how many more people there are."""

        def make(others=1, overlap=1, name="skip"):
            project = asked(overlap=overlap)
            leave_open(project, 1)
            olga = owner_of(project)
            for n in range(others):
                make_member(project, f"Ann {n}")
            submit(take(project, olga)[0], name)
            return project, signed_in(olga)

        return make

    def test_alone_the_skipped_one_is_asked_again(self, skipped):
        project, client = skipped(others=0)
        body = page(client, project).content.decode()
        assert "of round 1 waits for an answer." in body
        assert "Answer questions" in body

    def test_what_helps_is_offered(self, skipped):
        project, client = skipped()
        body = page(client, project).content.decode()
        assert "Answer questions" not in body
        assert "You have dealt with it already; it waits for somebody else." in body
        assert "Answer the 1 that I skipped" in body
        assert reverse("people-list", args=[project.slug]) in body
        assert "Close it over 1 open question." in body.split("What else is possible now")[0]

    def test_what_was_skipped_can_be_answered_after_all(self, skipped):
        project, client = skipped()
        response = client.post(reverse("labeling-again", args=[project.slug]))
        assert (response.status_code, response["Location"]) == (303, reverse("labeling-work", args=[project.slug]))
        assert "Answer questions" in page(client, project).content.decode()
        assert 'id="item"' in client.get(response["Location"]).content.decode()

    def test_where_somebody_else_took_it_the_page_says_so(self, skipped):
        project, client = skipped()
        take(project, project.members.get(user__name="Ann 0").user)
        response = client.post(reverse("labeling-again", args=[project.slug]))
        assert response["Location"].endswith("?empty")

    def test_what_nobody_can_be_asked_says_so(self, skipped):
        project, client = skipped(others=0, overlap=2, name="yes")
        body = page(client, project).content.decode()
        assert "1 question of round 1 waits, and nobody in this project can be asked it" in body
        assert "Invite somebody" in body
        assert "Answer questions" not in body

    @pytest.mark.parametrize(("n", "words"), [(1, "answer it after all"), (2, "answer them after all")])
    def test_the_label_page_offers_it_too(self, asked, signed_in, n, words):
        project = asked()
        leave_open(project, n)
        ann, _ = make_member(project), make_member(project, "Ravi")
        for _ in range(n):
            submit(take(project, ann)[0], "skip")
        body = signed_in(ann).get(reverse("labeling-work", args=[project.slug]), {"empty": ""}).content.decode()
        assert words in body
        assert reverse("labeling-again", args=[project.slug]) in body
        assert "You have answered everything" not in body


class TestRequests:
    def test_labels_with_too_little_gold_can_be_asked_for(self, signed_in):
        project = make_project()
        make_known(project)
        body = page(signed_in(owner_of(project)), project).content.decode()
        assert '<select class="select select-sm max-w-full" name="request"><option value="0">yes (too little)' in body
        assert '<input type="hidden" name="schema" value="1">' in body

    def test_only_by_who_manages_and_while_no_round_is_open(self, signed_in):
        project = make_project()
        make_known(project)
        reviewer = make_member(project, role=Role.REVIEWER)
        assert 'name="request"' not in page(signed_in(reviewer), project).content.decode()
        make_round(project, list(project.items.all())[:1], index=2, arm=Arm.ACTIVE)
        assert 'name="request"' not in page(signed_in(owner_of(project)), project).content.decode()


class TestGuidelines:
    def test_everybody_of_the_project_reads_them(self, signed_in):
        project = make_project()
        projects.set_guidelines(project=project, markdown="Say **yes** <script>", by=owner_of(project))
        url = reverse("guidelines-show", args=[project.slug])
        body = signed_in(make_member(project)).get(url).content.decode()
        assert "<strong>yes</strong>" in body
        assert "<script>" not in body.split('id="guidelines"')[1]
        assert "version 1" in body

    def test_without_any_the_labels_are_there(self, signed_in):
        project = make_project()
        body = signed_in(owner_of(project)).get(reverse("guidelines-show", args=[project.slug])).content.decode()
        assert "No guidelines were written yet" in body
        assert "maybe" in body

    def test_a_long_name_may_break_at_its_joints(self, signed_in):
        project = make_project(labels=("card_delivery-late", "in/out & <b>_c", "_x_"))
        body = signed_in(owner_of(project)).get(reverse("guidelines-show", args=[project.slug])).content.decode()
        for name in ("card_<wbr>delivery-<wbr>late", "in/<wbr>out &amp; &lt;b&gt;_c", ">_x_<"):
            assert name in body

    def test_a_stranger_does_not_find_them(self, signed_in):
        url = reverse("guidelines-show", args=[make_project().slug])
        assert signed_in(make_user()).get(url).status_code == 404
