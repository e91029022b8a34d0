"""Items: who sees the pages, the list and each item with its history, and how it is corrected or withdrawn."""

import pytest
from django.urls import reverse

from annotate import items
from annotate.access import MAY
from annotate.models import Item, SeenLabel
from annotate.models.project import Arm, Role
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_items, make_round, make_silver
from tests.web.items.rows import EVIL, HTMX, PAGES, get, make_annotation, make_gold

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", PAGES)
class TestEach:
    def test_empty_it_says_what_that_means(self, signed_in, name):
        project = make_project()
        response = get(signed_in(owner_of(project)), project, name)
        assert response.status_code == 200
        assert '<p class="panel">' in response.content.decode()

    def test_htmx_gets_the_part_alone(self, signed_in, name):
        project = make_project()
        assert "<html" not in get(signed_in(owner_of(project)), project, name, **HTMX).content.decode()

    @pytest.mark.parametrize(
        ("role", "status"), [(Role.ADMIN, 200), (Role.REVIEWER, 200), (Role.VIEWER, 200), (Role.ANNOTATOR, 403)]
    )
    def test_who_may_see_it(self, signed_in, name, role, status):
        project = make_project()
        if (name, role) == ("items-quarantined", Role.REVIEWER):
            status = 403  # raw lines may hold machine labels
        assert get(signed_in(make_member(project, role=role)), project, name).status_code == status

    def test_a_stranger_does_not_find_it(self, signed_in, name):
        assert get(signed_in(make_user()), make_project(), name).status_code == 404

    def test_post_is_refused(self, signed_in, name):
        project = make_project()
        assert signed_in(owner_of(project)).post(reverse(name, args=[project.slug])).status_code == 405


class TestList:
    def test_it_shows_texts_harmlessly_with_their_ids(self, signed_in):
        project = make_project()
        [item] = make_items(project, 1, texts=[EVIL])
        body = get(signed_in(owner_of(project)), project, "items-list").content.decode()
        assert "&lt;script&gt;alert" in body
        assert reverse("items-show", args=[project.slug, item.public_id]) in body
        assert "metadata" not in body

    def test_ids_of_the_file_which_may_hold_labels_are_not_for_who_decides_blind(self, signed_in):
        project = make_project()
        [item] = make_items(project, 1, texts=["a text"])
        Item.objects.filter(pk=item.pk).update(external_id="spam-17")
        reviewer, owner = signed_in(make_member(project, role=Role.REVIEWER)), signed_in(owner_of(project))
        shown = reverse("items-show", args=[project.slug, item.public_id])
        for query, n in (("", 1), ("?q=spam", 0), ("?q=spam-17", 0), ("?q=a text", 1)):
            response = get(reviewer, project, "items-list", query)
            assert (len(response.context["rows"]), len(response.context["exact"])) == (n, 0), query
            assert query.endswith("17") or b"spam-17" not in response.content, (
                query
            )  # what was asked for stands in its field
        assert b"spam-17" not in reviewer.get(shown).content
        assert b"spam-17" in owner.get(shown).content
        assert len(get(owner, project, "items-list", "?q=spam-17").context["exact"]) == 1

    def test_it_is_searched(self, signed_in):
        project = make_project()
        make_items(project, 2, texts=["first text", "second text"])
        body = get(signed_in(owner_of(project)), project, "items-list", "?q=SECOND").content.decode()
        assert "second text" in body
        assert "first text" not in body
        assert "Looked at 2 items" in body

    def test_a_public_id_finds_its_item(self, signed_in):
        project = make_project()
        item = make_items(project, 2, texts=["first text", "second text"])[1]
        body = get(signed_in(owner_of(project)), project, "items-list", f"?q={item.public_id}").content.decode()
        assert "With this id" in body
        assert "second text" in body

    def test_pages_go_on_after_the_last(self, signed_in):
        project = make_project()
        make_items(project, 60)
        client = signed_in(owner_of(project))
        body = get(client, project, "items-list", "?state=pool").content.decode()
        assert "text 49" in body
        assert "text 50" not in body
        assert "?state=pool&amp;after=49" in body
        assert "text 50" in get(client, project, "items-list", "?state=pool&after=49").content.decode()

    @pytest.mark.parametrize("query", ["?after=x&import=9&state=b&has=x", "?q=%00%ff", "?import=-1", "?after=9e9"])
    def test_forged_queries_are_as_if_not_asked(self, signed_in, query):
        project = make_project()
        make_items(project, 1, texts=["the text"])
        body = get(signed_in(owner_of(project)), project, "items-list", query).content.decode()
        assert "the text" in body or "No item fits" in body

    def test_reviewers_do_not_learn_what_a_machine_was_asked(self, signed_in):
        project = make_project()
        one, _other = make_items(project, 2, texts=["asked text", "other text"])
        make_silver(project, [one])
        ravi = signed_in(make_member(project, role=Role.REVIEWER))
        assert "other text" in get(ravi, project, "items-list", "?has=silver").content.decode()
        vera = signed_in(make_member(project, role=Role.VIEWER))
        assert "other text" not in get(vera, project, "items-list", "?has=silver").content.decode()

    @pytest.mark.parametrize("n", [10, 50])
    def test_its_queries_do_not_grow(self, signed_in, django_assert_num_queries, n):
        project = make_project()
        make_items(project, n)
        client = signed_in(owner_of(project))
        get(client, project, "items-list")
        with django_assert_num_queries(9):
            get(client, project, "items-list")


class TestShow:
    def page(self, client, project, item):
        return client.get(reverse("items-show", args=[project.slug, item.public_id])).content.decode()

    def make(self, project, is_closed=True):
        [item] = make_items(project, 1, texts=[EVIL])
        make_silver(project, [item]).predictions.update(label_index=1)
        make_round(project, [item], answered=1, is_closed=is_closed, arm=Arm.ACTIVE)
        make_annotation(project, item, make_member(project, "Ann"), comment="a comment", is_flagged=True)
        return item

    def test_an_owner_sees_the_whole_history_of_a_closed_question(self, signed_in):
        project = make_project(labels=("yes", "machine-said-this"))
        item = self.make(project)
        make_gold(project, item)
        body = self.page(signed_in(owner_of(project)), project, item)
        assert "&lt;script&gt;alert" in body
        assert "<script>alert" not in body
        for words in ("machine-<wbr>said-<wbr>this", "a comment", "Ann", "least sure", "secret", "Withdraw"):
            assert words in body

    @pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.REVIEWER])
    def test_while_it_is_asked_no_machine_speaks_to_who_may_answer(self, signed_in, role):
        project = make_project(labels=("yes", "machine-said-this"))
        item = self.make(project, is_closed=False)
        item.content.metadata = {"gpt_label": "secret", "from": "the shop"}
        item.content.save()
        person = owner_of(project) if role == Role.OWNER else make_member(project, role=role)
        body = self.page(signed_in(person), project, item)
        for words in ("machine-<wbr>said-<wbr>this", "least sure", "secret"):
            assert words not in body
        assert ("the shop" in body) == (role in MAY["download"])
        assert not SeenLabel.objects.exists()

    def test_that_somebody_saw_a_machines_label_is_recorded_first(self, signed_in):
        project = make_project(labels=("yes", "machine-said-this"))
        item, olga = self.make(project), owner_of(project)
        make_gold(project, item)
        client = signed_in(olga)
        for _ in range(2):
            assert "you have seen a machine" in self.page(client, project, item)
        assert list(SeenLabel.objects.values_list("user", "item")) == [(olga.pk, item.pk)]

    def test_reviewers_see_answers_once_there_is_gold_and_never_a_machine(self, signed_in):
        project = make_project(labels=("yes", "machine-said-this"))
        item = self.make(project)
        ravi = signed_in(make_member(project, role=Role.REVIEWER))
        assert "a comment" not in self.page(ravi, project, item)
        make_gold(project, item)
        body = self.page(ravi, project, item)
        assert "a comment" in body
        for words in ("machine-<wbr>said-<wbr>this", "least sure", "secret", "Withdraw it", "Correct"):
            assert words not in body

    def test_a_viewer_sees_all_and_changes_nothing(self, signed_in):
        project = make_project(labels=("yes", "machine-said-this"))
        item = self.make(project, is_closed=False)
        body = self.page(signed_in(make_member(project, role=Role.VIEWER)), project, item)
        assert "machine-<wbr>said-<wbr>this" in body
        assert "Withdraw it" not in body

    @pytest.mark.parametrize("n", [1, 5])
    def test_its_queries_do_not_grow(self, signed_in, django_assert_num_queries, n):
        project = make_project()
        [item] = make_items(project, 1)
        for _ in range(n):
            make_annotation(project, item, make_member(project))
        client = signed_in(owner_of(project))
        self.page(client, project, item)
        with django_assert_num_queries(23):
            self.page(client, project, item)


class TestChange:
    def post(self, client, project, name, item, data=None):
        return client.post(reverse(name, args=[project.slug, item.public_id]), data or {})

    def test_withdrawn_and_brought_back(self, signed_in):
        project = make_project()
        [item] = make_items(project, 1)
        client = signed_in(owner_of(project))
        response = self.post(client, project, "items-withdraw", item)
        assert response.status_code == 303
        assert "Bring back" in client.get(response.url).content.decode()
        assert self.post(client, project, "items-withdraw", item).status_code == 404
        self.post(client, project, "items-bring-back", item)
        item.refresh_from_db()
        assert item.withdrawn_at is None

    def test_the_confirmation_counts(self, signed_in):
        project = make_project()
        [item] = make_items(project, 1)
        make_round(project, [item])
        make_annotation(project, item)
        make_gold(project, item)
        body = signed_in(owner_of(project)).get(reverse("items-show", args=[project.slug, item.public_id])).content
        for words in (b"1 answer stays", b"1 open question ends", b"no longer delivered"):
            assert words in body

    def test_corrected(self, signed_in):
        project = make_project()
        [item] = make_items(project, 1, texts=["wrogn"])
        client = signed_in(owner_of(project))
        assert "wrogn" in client.get(reverse("items-correct", args=[project.slug, item.public_id])).content.decode()
        response = self.post(client, project, "items-correct", item, {"text": "right"})
        assert response.status_code == 303
        assert ">right<" in client.get(response.url).content.decode()
        old = client.get(reverse("items-show", args=[project.slug, item.public_id])).content.decode()
        assert response.url in old

    @pytest.mark.parametrize(("text", "status"), [("", 422), ("wrogn", 409)])
    def test_what_cannot_be_is_said_and_kept_in_the_form(self, signed_in, text, status):
        project = make_project()
        [item] = make_items(project, 1, texts=["first"])
        items.correct(project=project, public_id=item.public_id, content={"text": "wrogn"}, by=owner_of(project))
        new = project.items.get(replaces=item)
        response = self.post(signed_in(owner_of(project)), project, "items-correct", new, {"text": text})
        assert response.status_code == status
        assert 'role="alert"' in response.content.decode()
