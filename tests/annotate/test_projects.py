"""Making projects: what is refused, what is committed to, who gets in."""

import hashlib
import re
from functools import partial
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from annotate import access, projects
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.models import Event, GuidelineVersion, Label, User
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_items, make_silver

pytestmark = pytest.mark.django_db
CASES = Path(__file__).parents[1] / "cases"


class TestCreate:
    def test_the_key_is_random_and_committed_to(self):
        first = make_project(key=None)
        second = make_project(key=None)
        assert first.key != second.key
        assert first.key_commitment == hashlib.sha256(first.key).hexdigest()
        assert Event.objects.filter(project=first, kind="project.created").get().data == {
            "key_commitment": first.key_commitment
        }

    def test_the_owner_is_trusted(self):
        project = make_project()
        assert access.membership(owner_of(project), project).is_trusted

    def test_labels_get_keys_and_colours(self):
        labels = list(projects.current_schema(make_project(tuple(f"label {i}" for i in range(14)))).labels.all())
        assert [label.key for label in labels[:11]] == [*"1234567890", None]
        assert [label.colour for label in labels[10:14]] == [11, 12, 1, 2]

    @pytest.mark.parametrize(
        "labels", [(), ("one",), ("twin", "twin"), ("", "two"), ("a\nb", "two"), ("x" * 101, "two")]
    )
    def test_it_refuses_unusable_labels(self, labels):
        with pytest.raises(InvalidInput):
            make_project(labels)

    @pytest.mark.parametrize(
        "wrong",
        [{"overlap": 0}, {"gold_rule": "best"}, {"gold_rule": "agree_k", "agree_k": 3}, {"audit_share": 2.0}],
    )
    def test_it_refuses_settings_that_cannot_work(self, wrong):
        with pytest.raises(InvalidInput):
            make_project(**wrong)

    def test_a_short_name_is_taken_once(self):
        make_project(slug="banking")
        with pytest.raises(Conflict, match="choose another"):
            make_project(slug="banking")

    @pytest.mark.parametrize("name", ["", "!!!", "日本"])
    def test_a_name_without_letters_for_a_short_name_says_so(self, name):
        with pytest.raises(InvalidInput, match="short name"):
            make_project(name=name)


class TestWhoMayCreate:
    def test_owners_of_the_site_and_who_manages_already(self):
        project = make_project()
        assert projects.may_create(make_user(is_site_owner=True))
        assert projects.may_create(owner_of(project))
        assert projects.may_create(make_member(project, role=Role.ADMIN))

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_nobody_else(self, role):
        for person in (make_member(make_project(), role=role), make_user(is_site_owner=True, is_active=False)):
            with pytest.raises(AccessDenied, match="Ask them"):
                projects.require_may_create(person)

    def test_the_first_one_is_made_on_the_machine(self):
        call_command("create_user", "root@example.org", "--site-owner", "--no-password")
        assert projects.may_create(User.objects.get(email="root@example.org"))
        sam = make_user()
        call_command("create_user", sam.email, "--site-owner")
        sam.refresh_from_db()
        assert sam.is_site_owner


class TestAddSchema:
    def add(self, project, by=None, **fields):
        labels = [projects.NewLabel("spam"), projects.NewLabel("ham")]
        return projects.add_schema(project=project, labels=labels, by=by or owner_of(project), **fields)

    def test_a_new_version_before_anything_is_labeled(self):
        project = make_project()
        assert self.add(project).version == 2
        assert [label.name for label in projects.current_schema(project).labels.all()] == ["spam", "ham"]

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_only_who_manages(self, role):
        project = make_project()
        with pytest.raises(AccessDenied):
            self.add(project, by=make_member(project, role=role))

    def test_not_once_they_are_in_use(self):
        project = make_project()
        make_silver(project, make_items(project, 1))
        with pytest.raises(Conflict, match="in use"):
            self.add(project)

    def test_the_later_of_two_is_told(self):
        project = make_project()
        self.add(project, base=1)
        with pytest.raises(Conflict, match="Somebody else"):
            self.add(project, base=1)


class TestParseLabels:
    def test_it_takes_names_and_objects(self):
        labels = projects.parse_labels({"labels": ["a", {"name": "b", "definition": "is b", "examples": ["bee"]}]})
        assert labels == [projects.NewLabel("a"), projects.NewLabel("b", "is b", ("bee",))]

    @pytest.mark.parametrize(
        "data", [None, 3, "a", {}, [1, 2], [{"name": 1}, "b"], [{"name": "a", "examples": "x"}, "b"]]
    )
    def test_it_names_what_is_wrong(self, data):
        with pytest.raises(InvalidInput):
            projects.parse_labels(data)

    @pytest.mark.parametrize(
        ("first", "second"),
        [("spam", "Spam"), ("spam", " spam\u00a0"), ("é", "e\u0301"), ("not sure", "not\u00a0sure"), ("1", "1.0")],
    )
    def test_names_that_differ_in_form_only_are_refused(self, first, second):
        with pytest.raises(InvalidInput, match="differ only|there twice"):
            projects.parse_labels([first, second])

    def test_a_project_that_has_such_names_keeps_both(self):
        project = make_project(labels=("IT", "other"))
        Label.objects.filter(schema__project=project, name="other").update(name="it")
        new = [projects.NewLabel("it"), projects.NewLabel("IT", "the trade"), projects.NewLabel("more")]
        schema = projects.add_schema(project=project, labels=new, by=owner_of(project))
        assert [label.name for label in projects.labels_of(schema)] == ["it", "IT", "more"]
        with pytest.raises(InvalidInput, match="'It'"):
            projects.add_schema(project=project, labels=[*new, projects.NewLabel("It")], by=owner_of(project))

    @pytest.mark.parametrize("name", ["\u200b", "a\u200bb", "a\nb", "a\x07", "\ufeff", "x" * 101])
    def test_names_that_cannot_be_seen_are_refused(self, name):
        with pytest.raises(InvalidInput, match="printable"):
            projects.parse_labels([name, "b"])

    def test_joiners_inside_a_name_are_kept(self):
        names = ["می\u200cخواهم", "👩\u200d🔬", "d'accord\u00a0!"]
        assert [label.name for label in projects.parse_labels(names)] == names

    def test_names_are_stored_without_blanks_around_them(self):
        call_command("create_project", "Mail", str(CASES / "labels_trailing_space.json"), "--owner", make_user().email)
        assert list(Label.objects.values_list("name", flat=True)) == ["spam", "ham"]

    def test_a_broken_file_is_named_with_its_line(self, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text('["a",\n oops]')
        make_user("Olga", is_active=True)
        with pytest.raises(CommandError, match="line 2"):
            call_command("create_project", "X", str(path), "--owner", make_user("Olga").email)


class TestGuidelines:
    def test_the_same_text_is_no_new_version(self):
        project = make_project()
        for text in ("one", "one", "two"):
            projects.set_guidelines(project=project, markdown=text, by=owner_of(project))
        assert [g.version for g in project.guidelines.order_by("version")] == [1, 2]

    def test_the_later_of_two_is_told(self):
        project = make_project()
        save = partial(projects.set_guidelines, project=project, by=owner_of(project))
        save(markdown="one", base=0)
        with pytest.raises(Conflict, match="saved version 1"):
            save(markdown="two", base=0)
        assert save(markdown="two", base=1).version == 2

    @pytest.mark.parametrize("text", [" ", "a\x00b", "x" * 100_001, "\ud800"])
    def test_what_cannot_be_kept_is_refused(self, text):
        project = make_project()
        with pytest.raises(InvalidInput):
            projects.set_guidelines(project=project, markdown=text, by=owner_of(project))

    def test_html_is_harmless(self):
        text = (
            "# Rules\n<script>alert(1)</script>\n[x](javascript:alert(1)) <img src=x onerror=y>\n\n| a |\n|---|\n| b |"
        )
        html = GuidelineVersion(markdown=text).html()
        assert "<h3>Rules</h3>" in html
        assert "<table>" in html
        for evil in ("<script", "<img", 'href="javascript'):
            assert evil not in html

    def test_its_headings_come_below_those_of_the_page(self):
        html = GuidelineVersion(markdown="\n".join(f"{'#' * n} H{n}" for n in range(1, 7)) + "\n\nSet\n===").html()
        assert re.findall(r"<h(\d)>(\w+)</h\1>", html) == [
            ("3", "H1"), ("4", "H2"), ("5", "H3"), ("6", "H4"), ("6", "H5"), ("6", "H6"), ("3", "Set"),
        ]  # fmt: skip

    def test_a_table_scrolls_in_an_area_that_the_keyboard_reaches(self):
        html = GuidelineVersion(markdown="| a |\n|---|\n| b |").html()
        area = re.search(r"<div ([^>]*)>\s*<table>.*</table>\s*</div>", html, re.S)
        assert all(part in area[1] for part in ('class="table-scroll"', 'role="region"', 'tabindex="0"', "aria-label="))


class TestMembers:
    def test_only_who_manages_lets_people_in(self):
        project = make_project()
        ann = make_member(project)
        with pytest.raises(AccessDenied):
            projects.add_member(project=project, user=make_user(), role=Role.ADMIN, is_trusted=True, by=ann)

    def test_nobody_is_made_owner(self):
        project = make_project()
        with pytest.raises(InvalidInput):
            projects.add_member(
                project=project, user=make_user(), role=Role.OWNER, is_trusted=True, by=owner_of(project)
            )

    def test_another_projects_owner_finds_nothing(self):
        project, other = make_project(), make_project()
        with pytest.raises(NotFound):
            access.project_for(owner_of(other), project.slug, to="view")

    def test_a_deactivated_member_is_out(self):
        project = make_project()
        ann = make_member(project)
        ann.is_active = False
        with pytest.raises(NotFound):
            access.require(ann, project, to="view")
