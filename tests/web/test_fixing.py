"""Before a step that fixes something, the page where it is started says so; what is fixed already is not said again."""

import html
import re

import pytest
from django.urls import reverse

from annotate import label_changes, projects
from annotate.label_changes import NextLabel
from annotate.models.project import Role
from annotate.money import budgets
from annotate.web.fixing import Fixing
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_estimate, make_finished_round, make_items, make_round, make_silver
from tests.web.imports.sending import sent

pytestmark = pytest.mark.django_db

IN_USE = "the labels are in use. They can still be changed later, at a price"
SIZE = "The first round fixes the size of the audit sample: 200 items."
RULE = "While the round is open, the rule by which answers become gold stays as it is."
NO_UNDO = "The last change of the labels can then no longer be taken back."


@pytest.fixture
def project():
    return make_project(name="Letters")


@pytest.fixture
def text(project, signed_in):
    """What a page says to the owner, or to somebody else."""

    def text(name, *ids, who=None, **query):
        client = signed_in(who or owner_of(project))
        page = client.get(reverse(name, args=[project.slug, *ids]), query).content.decode()
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))

    return text


class TestLabels:
    def test_pre_labeling_takes_them_into_use(self, project, text):
        make_items(project)
        for name in ("prelabel-show", "overview-show"):
            assert f"From then on {IN_USE}" in text(name)

    def test_answers_take_them_into_use(self, project, text):
        make_items(project)
        assert f"With the first answer {IN_USE}" in text("overview-show")

    @pytest.mark.parametrize("column", ["column_gold", "column_silver"])
    def test_a_file_with_labels_takes_them_into_use(self, project, text, column):
        upload = sent(project, b"id,text,y\n1,one,yes\n")
        without = {"column_text": "text", "column_id": "id", "column_gold": "", "column_silver": ""}
        assert IN_USE in text("imports-preview", upload.public_id, **{**without, column: "y"})
        assert IN_USE not in text("imports-preview", upload.public_id, **without)

    def test_once_in_use_it_is_not_said_again(self, project, text):
        make_silver(project, make_items(project))
        for name in ("prelabel-show", "overview-show"):
            assert IN_USE not in text(name)

    def test_the_page_of_labels_says_what_later_changes_cost(self, project, text):
        assert "Nothing is labeled yet, so changing them costs nothing. Later they can still change" in text(
            "settings-labels"
        )
        make_silver(project, make_items(project))
        assert "The labels are in use, and they can change" in text("settings-labels")


class TestRounds:
    def test_the_first_fixes_the_audit_sample(self, project, text):
        make_silver(project, make_items(project))
        assert SIZE in text("overview-show") and RULE in text("overview-show")

    def test_later_ones_do_not(self, project, text):
        make_finished_round(project)
        assert SIZE not in text("overview-show") and RULE in text("overview-show")

    def test_who_starts_nothing_is_told_nothing(self, project, text):
        make_silver(project, make_items(project))
        assert SIZE not in text("overview-show", who=make_member(project, role=Role.VIEWER))


class TestLooks:
    def test_an_estimate_spends_one(self, project, text):
        project.target_accuracy = 0.9
        project.save()
        version = make_finished_round(project)
        assert "Once 40 audited items are answered, an estimate takes look 1 of 5" in text("overview-show")
        make_estimate(version, "look")
        assert "Once 60 audited items are answered, an estimate takes look 2 of 5" in text("overview-show")

    def test_without_a_target_there_are_none(self, project, text):
        make_finished_round(project)
        assert "takes look" not in text("overview-show")

    def test_nor_when_all_are_spent(self, project):
        project.target_accuracy, project.audit_target = 0.9, 1
        project.save()
        make_estimate(make_finished_round(project), "look")
        assert Fixing(project).by_run("estimate") == []


class TestMoney:
    def test_the_first_cap_fixes_the_currency(self, project, text):
        sentence = "The first cap fixes the currency: it stays USD."
        assert sentence in text("budget-show")
        budgets.set_cap(project=project, kind="human", cap_micros=1_000_000, by=owner_of(project))
        assert sentence not in text("budget-show")

    def test_the_first_paid_answer_fixes_it(self, project, text):
        make_items(project)
        assert "The first paid answer" not in text("overview-show")
        project.human_price_micros = 10_000
        project.save()
        assert "The first paid answer fixes the currency: it stays USD." in text("overview-show")


class TestItems:
    def test_the_first_import_fixes_random_numbers(self, project, text):
        upload = sent(project, b"id,text\n1,one\n")
        assert "Number and content stay" in text("imports-preview", upload.public_id)
        make_items(project)
        assert "Number and content stay" not in text("imports-preview", upload.public_id)


class TestUndo:
    def test_whatever_follows_a_change_of_labels_makes_it_final(self, project, text):
        make_finished_round(project)
        assert NO_UNDO not in text("overview-show")
        names = [label.name for label in projects.labels_of(projects.current_schema(project))]
        new = [NextLabel(projects.NewLabel(name), was=(name,)) for name in reversed(names)]
        label_changes.change(project=project, new=new, by=owner_of(project))
        upload = sent(project, b"id,text\n1,one\n")
        for name, *ids in (
            ["overview-show"], ["prelabel-show"], ["training-show"], ["exports-list"],
            ["imports-preview", upload.public_id],
        ):  # fmt: skip
            assert NO_UNDO in text(name, *ids), name
        make_round(project, list(project.items.all())[2:], index=2)
        assert NO_UNDO not in text("overview-show")


def test_making_a_project_says_what_stays(signed_in):
    page = signed_in(make_user("Root", is_site_owner=True)).get("/new").content.decode()
    assert "Fixed from then on: the short name, what is labeled, and a secret key" in page
