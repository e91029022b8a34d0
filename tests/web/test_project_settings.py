"""Making a project and changing its rules, labels and guidelines, as pages."""

import re

import pytest
from django.urls import reverse

from annotate import project_settings, projects
from annotate.models import Event, Project
from annotate.models.project import Role
from annotate.web.project_settings import Line, difference
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_items, make_round, make_silver

pytestmark = pytest.mark.django_db
NEW = "/new"


@pytest.fixture
def project():
    return make_project(name="Letters")


@pytest.fixture
def owner(project, signed_in):
    return signed_in(owner_of(project))


def url(project, name, *ids):
    return reverse(name, args=[project.slug, *ids])


def fields_of(client, address) -> dict[str, str]:
    """What the form of a page would send as it stands."""
    form = client.get(address).context["form"]
    values = {field.html_name: field.value() for field in form if not field.field.disabled}
    return {name: "" if value is None else str(value) for name, value in values.items()}


class TestCreate:
    def create(self, client, **fields):
        return client.post(NEW, {**fields_of(client, NEW), "name": "Bank letters", "labels": "yes\nno", **fields})

    def test_a_project_with_all_that_was_said(self, signed_in):
        root = make_user("Root", is_site_owner=True, time_zone="Europe/Berlin")
        response = self.create(
            signed_in(root),
            slug="letters", modality="pair", guidelines="# Read\r\nall", target_accuracy="92.5", gold_rule="agree_k",
            overlap="3", agree_k="2", currency="EUR", human_price="0.05", suggestion_active="shown",
        )  # fmt: skip
        project = Project.objects.get()
        assert response.headers["Location"] == url(project, "settings-labels")
        assert (project.slug, project.modality, project.target_accuracy) == ("letters", "pair", 0.925)
        assert (project.gold_rule, project.overlap, project.agree_k) == ("agree_k", 3, 2)
        assert (project.currency, project.human_price_micros, project.time_zone) == ("EUR", 50_000, "Europe/Berlin")
        assert project.suggestion_policy == {"start": "hidden", "active": "shown", "conflict": "hidden"}
        assert projects.current_guidelines(project).markdown == "# Read\nall"
        assert owner_of(project) == root

    def test_as_little_as_can_be_said(self, owner):
        assert self.create(owner).status_code == 303
        made, usual = Project.objects.get(slug="bank-letters"), Project()
        for name in project_settings.CHANGEABLE:
            if name != "name":
                assert getattr(made, name) == getattr(usual, name), name

    def test_labels_may_be_json(self, owner):
        self.create(owner, labels='["a", {"name": "b", "definition": "is b", "examples": ["bee"]}]')
        labels = projects.current_schema(Project.objects.get(slug="bank-letters")).labels.all()
        assert [(label.name, label.definition, label.examples) for label in labels] == [
            ("a", "", []), ("b", "is b", ["bee"]),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""), ("name", "日本"), ("slug", "A b"), ("slug", "letters"), ("modality", "smell"),
            ("labels", "one"), ("labels", "a\na"), ("labels", '["a",\n oops]'), ("labels", "[" * 3000),
            ("guidelines", "a\x00b"), ("guidelines", "x" * 100_001), ("guidelines", "[" * 9_000),
            ("target_accuracy", "100"),
            ("target_accuracy", "x"), ("overlap", "0"), ("gold_rule", "best"), ("currency", "eur"),
            ("human_price", "-1"), ("human_price", "0.0000001"), ("time_zone", "Mars"), ("audit_target", "-1"),
            ("suggestion_active", "loud"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_beside_the_field_and_nothing_is_lost(self, owner, field, value):
        given = {"name": "Bank letters", "labels": "yes\nno", "guidelines": "Read all of it.", field: value}
        response = self.create(owner, **given)
        text = response.content.decode()
        assert response.status_code == 422
        assert f'id="id_{field}_error"' in text
        assert ("Bank letters" if field != "name" else "Read all of it.") in text
        assert Project.objects.count() == 1

    def test_more_must_agree_than_are_asked(self, owner):
        response = self.create(owner, gold_rule="agree_k", overlap="1", agree_k="2")
        assert b'id="id_agree_k_error"' in response.content

    def test_others_are_told_whom_to_ask(self, signed_in, project):
        client = signed_in(make_member(project))
        for response in (client.get(NEW), client.post(NEW, {})):
            assert response.status_code == 403
            assert b"Ask them." in response.content
        assert b'href="/new"' not in client.get("/").content

    def test_an_empty_site_says_where_to_begin(self, signed_in):
        text = signed_in(make_user("Root", is_site_owner=True)).get("/").content.decode()
        assert 'href="/new"' in text
        assert "Make one" in text


class TestSettings:
    def save(self, client, project, **fields):
        address = url(project, "settings-show")
        shown = client.get(address).context["shown"]
        return client.post(address, {**fields_of(client, address), "shown": shown, **fields})

    def test_saving_what_is_shown_changes_nothing(self, owner, project):
        Project.objects.update(target_accuracy=0.953, human_price_micros=1_234_567, overlap=2)
        assert self.save(owner, project).status_code == 303
        assert not Event.objects.filter(kind="settings.changed").exists()

    def test_a_rule_is_changed(self, owner, project):
        response = self.save(owner, project, overlap="2", human_price="1.5", target_accuracy="")
        assert "The settings are saved." in owner.get(response.headers["Location"]).content.decode()
        project.refresh_from_db()
        assert (project.overlap, project.human_price_micros, project.target_accuracy) == (2, 1_500_000, None)

    def test_the_policy_of_an_arm_that_is_never_drawn_is_not_asked_and_stays(self, owner, project):
        stored = {"start": "revealed", "active": "hidden", "conflict": "hidden"}
        Project.objects.update(suggestion_policy=stored)
        assert "suggestion_start" not in fields_of(owner, url(project, "settings-show"))
        assert self.save(owner, project, suggestion_active="shown").status_code == 303
        project.refresh_from_db()
        assert project.suggestion_policy == {**stored, "active": "shown"}

    def test_who_comes_second_is_told_and_may_save_then(self, owner, project):
        address = url(project, "settings-show")
        before = {**fields_of(owner, address), "shown": owner.get(address).context["shown"]}
        self.save(owner, project, overlap="3")
        late = owner.post(address, {**before, "reference_target": "99"})
        assert late.status_code == 409
        assert b"Somebody else changed the settings meanwhile." in late.content
        assert b'value="99"' in late.content
        again = owner.post(address, {**before, "reference_target": "99", "shown": late.context["shown"]})
        assert again.status_code == 303
        project.refresh_from_db()
        assert (project.overlap, project.reference_target) == (1, 99)

    def test_what_is_fixed_now_says_why_and_is_not_read(self, owner, project):
        make_round(project, make_items(project))
        text = owner.get(url(project, "settings-show")).content.decode()
        assert "A round is open" in text
        assert re.search(r'<select name="gold_rule"[^>]* disabled', text)
        assert self.save(owner, project, gold_rule="agree_k", overlap="2").status_code == 303
        project.refresh_from_db()
        assert (project.gold_rule, project.overlap) == ("one_trusted", 2)

    def test_a_mistake_is_beside_its_field(self, owner, project):
        response = self.save(owner, project, currency="euro", overlap="7")
        assert response.status_code == 422
        assert b'id="id_currency_error"' in response.content
        assert b'value="7"' in response.content


class TestLabels:
    def rows(self, *rows, **more):
        data = {"base": "1", "label-TOTAL_FORMS": str(len(rows)), "label-INITIAL_FORMS": "0", **more}
        for place, row in enumerate(rows):
            data |= dict(
                zip([f"label-{place}-{name}" for name in ("name", "definition", "examples")], row, strict=True)
            )
        return data

    def test_meanings_are_edited_row_by_row(self, owner, project):
        data = self.rows(("yes", "agrees", "sure\r\nof course"), ("no", "", ""), ("", "left out", ""))
        response = owner.post(url(project, "settings-labels"), data)
        assert "saved as version 2" in owner.get(response.headers["Location"]).content.decode()
        labels = projects.current_schema(project).labels.all()
        assert [(label.name, label.definition, label.examples) for label in labels] == [
            ("yes", "agrees", ["sure", "of course"]), ("no", "", []),
        ]  # fmt: skip

    def test_a_row_more_loses_nothing(self, owner, project):
        data = self.rows(("yes", "agrees", ""), ("no", "", ""), add="1")
        response = owner.post(url(project, "settings-labels"), data)
        assert len(response.context["rows"]) == 3
        assert b"agrees" in response.content
        assert projects.current_schema(project).version == 1

    def test_all_can_be_replaced_at_once(self, owner, project):
        owner.post(url(project, "settings-labels"), {"paste": "1", "base": "1", "labels": "spam\nham"})
        assert [label.name for label in projects.current_schema(project).labels.all()] == ["spam", "ham"]

    @pytest.mark.parametrize("data", [{"paste": "1", "labels": "one"}, {"label-TOTAL_FORMS": "x"}, {}])
    def test_what_cannot_be_is_said(self, owner, project, data):
        response = owner.post(url(project, "settings-labels"), {"base": "1", **data})
        assert response.status_code == 422
        assert projects.current_schema(project).version == 1

    def test_one_label_is_too_few(self, owner, project):
        response = owner.post(url(project, "settings-labels"), self.rows(("yes", "", ""), ("", "", "")))
        assert response.status_code == 422
        assert b"2 to 1000 labels; 1 were given" in response.content

    def test_the_later_of_two_is_told_and_may_still_save(self, owner, project):
        owner.post(url(project, "settings-labels"), self.rows(("a", "", ""), ("b", "", "")))
        late = owner.post(url(project, "settings-labels"), self.rows(("c", "", ""), ("d", "", "")))
        assert late.status_code == 409
        assert b"Somebody else saved other labels meanwhile." in late.content and b"Show theirs" in late.content
        owner.post(url(project, "settings-labels"), self.rows(("c", "", ""), ("d", "", ""), base=late.context["base"]))
        assert [label.name for label in projects.current_schema(project).labels.all()] == ["c", "d"]

    def test_of_hundreds_only_pasting_is_offered(self, signed_in):
        many = make_project(tuple(f"label {i}" for i in range(101)))
        text = signed_in(owner_of(many)).get(url(many, "settings-labels")).content.decode()
        assert "Add a label" not in text
        assert "label 100" in text


class TestGuidelines:
    def test_a_version_is_saved(self, owner, project):
        address = url(project, "settings-guidelines")
        response = owner.post(address, {"base": "0", "guidelines": "one\r\ntwo"})
        assert "saved as version 1" in owner.get(response.headers["Location"]).content.decode()
        assert projects.current_guidelines(project).markdown == "one\ntwo"
        response = owner.post(address, {"base": "1", "guidelines": "one\r\ntwo"})
        assert "Nothing was changed" in owner.get(response.headers["Location"]).content.decode()

    def test_the_later_of_two_keeps_the_text_and_may_save_then(self, owner, project):
        projects.set_guidelines(project=project, markdown="theirs", by=owner_of(project))
        late = owner.post(url(project, "settings-guidelines"), {"base": "0", "guidelines": "mine"})
        assert late.status_code == 409
        assert b">\nmine</textarea>" in late.content
        assert late.context["base"] == 1
        owner.post(url(project, "settings-guidelines"), {"base": "1", "guidelines": "mine"})
        assert projects.current_guidelines(project).markdown == "mine"

    @pytest.mark.parametrize("text", ["", " \n", "a\x00b"])
    def test_what_cannot_be_kept_is_said_beside_it(self, owner, project, text):
        response = owner.post(url(project, "settings-guidelines"), {"base": "0", "guidelines": text})
        assert response.status_code == 422
        assert b'id="id_guidelines_error"' in response.content

    def test_it_says_that_pre_labels_would_be_asked_again(self, owner, project):
        address = url(project, "settings-guidelines")
        assert b"asked again" not in owner.get(address).content
        make_silver(project, make_items(project, 1))
        assert b"asked again" in owner.get(address).content

    def test_a_version_shows_what_it_changed_without_colour(self, owner, project):
        for text in ("keep\nold <b>", "keep\nnew <i>"):
            projects.set_guidelines(project=project, markdown=text, by=owner_of(project))
        text = owner.get(url(project, "settings-guidelines-version", 2)).content.decode()
        assert re.search(r"gone:</span></span><del [^>]*>old &lt;b&gt;</del>", text)
        assert re.search(r"new:</span></span><ins [^>]*>new &lt;i&gt;</ins>", text)
        assert "What changed" not in owner.get(url(project, "settings-guidelines-version", 1)).content.decode()

    @pytest.mark.parametrize("version", [0, 2, 10**6, 10**30])
    def test_no_such_version(self, owner, project, version):
        projects.set_guidelines(project=project, markdown="one", by=owner_of(project))
        assert owner.get(url(project, "settings-guidelines-version", version)).status_code == 404

    def test_the_preview_is_harmless(self, owner):
        evil = "# Hi\n<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror=y>"
        html = owner.post("/preview", {"guidelines": evil}).content.decode()
        assert "<h3>Hi</h3>" in html
        for bad in ("<script", "<img", 'href="javascript', "<html"):
            assert bad not in html

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_others_do_not_edit(self, project, signed_in, role):
        client = signed_in(make_member(project, role=role))
        for name in ("settings-show", "settings-labels", "settings-guidelines"):
            assert client.get(url(project, name)).status_code == client.post(url(project, name)).status_code == 403


class TestDifference:
    def test_of_what_is_the_same_only_the_neighbourhood_is_shown(self):
        before = [f"line {i}" for i in range(30)]
        after = [*before[:15], "new", *before[16:]]
        lines = difference("\n".join(before), "\n".join(after))
        assert lines[0] == Line("…", "")
        assert Line("-", "line 15") in lines
        assert Line("+", "new") in lines
        assert len(lines) == 1 + 3 + 2 + 3

    def test_lines_that_look_like_headings_of_a_difference_are_kept(self):
        assert difference("a\n-- b", "a\n++ c") == [
            Line("…", ""), Line("", "a"), Line("-", "-- b"), Line("+", "++ c"),
        ]  # fmt: skip
