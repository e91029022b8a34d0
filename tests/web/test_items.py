"""Items that need a look: every text as it is, harmless; nothing that sways who may still be asked."""

import csv
import io
import json
import re

import pytest
from django.urls import reverse

from annotate import items, projects
from annotate.models import Annotation, Gold, Import, Item, RejectedRow
from annotate.models.project import Arm, Role
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_export, make_items, make_round, make_run, make_silver, make_version

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
PAGES = ("items-list", "items-skipped", "items-flagged", "items-quarantined")
EVIL = '<script>alert("x")</script>'


def get(client, project, name, query="", **headers):
    return client.get(reverse(name, args=[project.slug]) + query, **headers)


def make_annotation(project, item, by=None, **fields):
    person = by or owner_of(project)
    if "skip_reason" not in fields:
        fields["label"] = projects.current_schema(project).labels.get(name="yes")
    key = f"{item.pk}-{person.pk}"
    return Annotation.objects.create(
        project=project, item=item, annotator=person, revision=1, is_blind=True, idempotency_key=key, **fields
    )


def make_gold(project, item):
    label = projects.current_schema(project).labels.get(name="yes")
    return Gold.objects.create(
        project=project, item=item, label=label, rule="one_trusted", origin=Arm.ACTIVE, is_blind=True
    )


def make_import(project, rejected=(), kind="rejected"):
    source = Import.objects.create(
        project=project, file_name="rows.jsonl", file_sha256="0", state="complete", n_rejected=len(rejected)
    )
    RejectedRow.objects.bulk_create(
        RejectedRow(source=source, line=line, reason='has no "text"', excerpt=text, kind=kind)
        for line, text in enumerate(rejected, start=1)
    )
    return source


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
        with django_assert_num_queries(8):
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
        person = owner_of(project) if role == Role.OWNER else make_member(project, role=role)
        body = self.page(signed_in(person), project, item)
        for words in ("machine-<wbr>said-<wbr>this", "least sure", "secret"):
            assert words not in body

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
        with django_assert_num_queries(19):
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


class TestSkipped:
    def test_it_counts_reasons_and_people_and_shows_the_text(self, signed_in):
        project = make_project()
        first, second = make_items(project, 2, texts=[EVIL, "plain"])
        ann = make_member(project)
        make_annotation(project, first, ann, skip_reason="unclear")
        make_annotation(project, second, ann, skip_reason="bad_data")
        body = get(signed_in(owner_of(project)), project, "items-skipped").content.decode()
        assert "&lt;script&gt;alert" in body
        assert "<script>alert" not in body
        assert "Broken or empty text" in body
        assert "Ann" in body

    def test_one_reason_can_be_chosen(self, signed_in):
        project = make_project()
        first, second = make_items(project, 2, texts=["first text", "second text"])
        make_annotation(project, first, skip_reason="unclear")
        make_annotation(project, second, skip_reason="technical")
        body = get(signed_in(owner_of(project)), project, "items-skipped", "?reason=technical").content.decode()
        assert "second text" in body
        assert "first text" not in body

    def test_an_unknown_reason_is_all_of_them(self, signed_in):
        project = make_project()
        make_annotation(project, make_items(project, 1, texts=["first text"])[0], skip_reason="unclear")
        body = get(signed_in(owner_of(project)), project, "items-skipped", "?reason=%3Cb%3E").content.decode()
        assert "first text" in body

    def test_neither_machines_nor_metadata_speak(self, signed_in):
        project = make_project(labels=("yes", "machine-said-this"))
        items = make_items(project, 1)
        prompt = make_silver(project, items)
        prompt.predictions.update(label_index=1)
        make_annotation(project, items[0], skip_reason="unclear")
        body = get(signed_in(owner_of(project)), project, "items-skipped").content.decode()
        assert "machine-said-this" not in body
        assert "metadata" not in body

    def test_a_long_text_is_cut_with_the_whole_behind(self, signed_in):
        project = make_project()
        make_annotation(project, make_items(project, 1, texts=["a" * 299 + "bc"])[0], skip_reason="unclear")
        body = get(signed_in(owner_of(project)), project, "items-skipped").content.decode()
        assert "a" * 299 + "b…" in body
        assert "a" * 299 + "bc</p></details>" in body

    def test_another_projects_skips_stay_there(self, signed_in):
        project, other = make_project(), make_project()
        make_annotation(other, make_items(other, 1, texts=["theirs alone"])[0], skip_reason="unclear")
        assert "theirs alone" not in get(signed_in(owner_of(project)), project, "items-skipped").content.decode()

    def test_its_queries_are_bounded(self, signed_in, django_assert_max_num_queries):
        project = make_project()
        for item in make_items(project, 60):
            make_annotation(project, item, skip_reason="unclear")
        client = signed_in(owner_of(project))
        with django_assert_max_num_queries(8):
            get(client, project, "items-skipped")


class TestFlagged:
    def test_it_shows_comments_without_the_answer(self, signed_in):
        project = make_project(labels=("yes", "no"))
        first, second, third = make_items(project, 3, texts=["flagged text", "noted text", "quiet text"])
        make_annotation(project, first, is_flagged=True)
        make_annotation(project, second, comment=EVIL)
        make_annotation(project, third)
        body = get(signed_in(owner_of(project)), project, "items-flagged").content.decode()
        assert "flagged text" in body
        assert "noted text" in body
        assert "quiet text" not in body
        assert "&lt;script&gt;alert" in body
        assert ">yes<" not in body

    def test_an_earlier_revision_is_not_shown(self, signed_in):
        project = make_project()
        make_annotation(project, make_items(project, 1, texts=["old text"])[0], is_flagged=True, is_current=False)
        assert "old text" not in get(signed_in(owner_of(project)), project, "items-flagged").content.decode()


class TestCommentsOnOpenQuestions:
    """They often say which label: who may still be asked must not read them."""

    @pytest.mark.parametrize("name", ["items-skipped", "items-flagged"])
    @pytest.mark.parametrize(
        ("role", "is_shown"), [(Role.OWNER, True), (Role.ADMIN, True), (Role.VIEWER, True), (Role.REVIEWER, False)]
    )
    def test_they_are_for_who_is_not_asked(self, signed_in, name, role, is_shown):
        project = make_project()
        asked, closed = make_items(project, 2, texts=["asked text", "closed text"])
        make_round(project, [asked, closed], is_closed=True)
        make_round(project, [asked], index=2, arm=Arm.CONFLICT)
        for item in (asked, closed):
            make_annotation(project, item, skip_reason="unclear", comment=f"surely yes {item.pk}.")
        who = owner_of(project) if role == Role.OWNER else make_member(project, role=role)
        body = get(signed_in(who), project, name).content.decode()
        assert (f"surely yes {asked.pk}." in body) == is_shown
        assert ("shown once the round is closed" in body) != is_shown
        assert f"surely yes {closed.pk}." in body
        assert "asked text" in body


class TestAnExport:
    """It holds a machine label of every item: what it shows at once is nothing that its reader may be asked."""

    @pytest.mark.parametrize(("role", "is_shown"), [(Role.ADMIN, False), (Role.VIEWER, True)])
    def test_its_first_rows_leave_out_open_questions(self, signed_in, settings, tmp_path, role, is_shown):
        settings.VAR_DIR = tmp_path
        folder = tmp_path / "exports" / "one"
        folder.mkdir(parents=True)
        project = make_project()
        items = make_items(project, 7)
        make_round(project, items[:1])
        rows = [{"id": item.public_id, "payload": {"text": f"row {place}."}} for place, item in enumerate(items)]
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        file = {"name": "data.jsonl", "bytes": 1, "sha256": "0"}
        run = make_run(project, kind="export")
        make_export(make_version(project), run=run, folder="exports/one", files=[file])
        body = get(signed_in(make_member(project, role=role)), project, "exports-list").content.decode()
        assert ("row 0." in body) == is_shown
        assert ("row 5." in body) != is_shown
        assert len(re.findall(r"row \d\.", body)) == 5
        assert ("no longer answers blind" in body) != is_shown


class TestQuarantined:
    def test_it_shows_line_reason_and_excerpt(self, signed_in):
        project = make_project()
        make_import(project, [EVIL])
        body = get(signed_in(owner_of(project)), project, "items-quarantined").content.decode()
        assert "has no &quot;text&quot;" in body
        assert "&lt;script&gt;alert" in body

    def test_pages_go_on_after_the_last_line(self, signed_in):
        project = make_project()
        make_import(project, [f"row-{line}." for line in range(1, 61)])
        client = signed_in(owner_of(project))
        body = get(client, project, "items-quarantined").content.decode()
        assert "row-50." in body
        assert "row-51." not in body
        assert "after=50" in body
        assert "row-51." in get(client, project, "items-quarantined", "?import=1&after=50").content.decode()

    def test_duplicates_are_not_in_quarantine(self, signed_in):
        project = make_project()
        make_import(project, ["a duplicate row"], kind="duplicate")
        assert "a duplicate row" not in get(signed_in(owner_of(project)), project, "items-quarantined").content.decode()

    @pytest.mark.parametrize("number", ["2", "0", "x", "-1", "1' OR 1"])
    def test_an_import_that_is_not_the_projects_is_not_there(self, signed_in, number):
        project = make_project()
        make_import(project, ["mine"])
        make_import(make_project(), ["theirs"])
        client = signed_in(owner_of(project))
        assert client.get(reverse("items-quarantined", args=[project.slug]), {"import": number}).status_code == 404

    @pytest.mark.parametrize("after", ["x", "-5", "9" * 5000, "²"])
    def test_a_forged_line_starts_at_the_first(self, signed_in, after):
        project = make_project()
        make_import(project, ["the first row"])
        client = signed_in(owner_of(project))
        body = client.get(reverse("items-quarantined", args=[project.slug]), {"after": after}).content.decode()
        assert "the first row" in body

    def test_as_csv_nothing_can_run_as_a_formula(self, signed_in):
        project = make_project()
        make_import(project, ["=HYPERLINK(1)", "fine"])
        response = get(signed_in(owner_of(project)), project, "items-quarantined", "?import=1&format=csv")
        assert response["Content-Disposition"].startswith("attachment")
        rows = list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert [row[3] for row in rows] == ["excerpt", "'=HYPERLINK(1)", "fine"]
