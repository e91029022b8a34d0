"""Agreement with gold that somebody's own answer had no part in."""

import pytest

from annotate import label_changes
from annotate.label_changes import NextLabel
from annotate.models import Annotation, Gold, Label
from annotate.models.project import Arm
from annotate.projects import NewLabel
from annotate.reports import agreement
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_items

pytestmark = pytest.mark.django_db


class Answers:
    """A project in which each person says a label of each item, by index."""

    def __init__(self, project, n=6):
        self.project, self.items = project, make_items(project, n)
        self.labels = list(Label.objects.filter(schema__project=project))

    def say(self, person, said, **fields):
        for item, label in zip(self.items, said, strict=False):
            if label is not None:
                Annotation.objects.create(
                    project=self.project, item=item, annotator=person, label=self.labels[label], revision=1,
                    is_blind=True, idempotency_key=f"{person.pk} {item.pk}", **fields,
                )  # fmt: skip

    def judge(self, item, label, rule="adjudicated"):
        Gold.objects.create(
            project=self.project, item=self.items[item], label=self.labels[label], rule=rule, origin=Arm.ACTIVE,
            is_blind=True,
        )  # fmt: skip

    def of(self, person):
        found = agreement.with_gold(self.project).get(person.pk, agreement.Agreement())
        return found.n_agreed, found.n


def test_under_one_trusted_others_are_compared_with_the_trusted():
    answers = Answers(make_project())
    tess, ann = make_member(answers.project, "Tess"), make_member(answers.project, is_trusted=False)
    answers.say(tess, [0, 0, 1, 1])
    answers.say(ann, [0, 1, 1, None, 0])
    assert answers.of(ann) == (2, 3)


def test_whose_answer_makes_the_gold_is_not_compared_with_it():
    """Ann's answers say nothing of Tess: they make no gold."""
    answers = Answers(make_project())
    tess, ann = make_member(answers.project, "Tess"), make_member(answers.project, is_trusted=False)
    answers.say(tess, [0, 0])
    answers.say(ann, [0, 1])
    assert answers.of(tess) == (0, 0)


def test_two_trusted_people_are_compared_with_each_other():
    answers = Answers(make_project())
    tess, ted = (make_member(answers.project, name) for name in ("Tess", "Ted"))
    answers.say(tess, [0, 0, 1])
    answers.say(ted, [0, 1, 1])
    assert answers.of(tess) == answers.of(ted) == (2, 3)


def test_under_agree_k_enough_others_must_agree():
    answers = Answers(make_project(gold_rule="agree_k", agree_k=2, overlap=3))
    ann, ben, cat = (make_member(answers.project, name) for name in ("Ann", "Ben", "Cat"))
    answers.say(ann, [0, 1, 0, 0])
    answers.say(ben, [0, 0, 1, 0])
    answers.say(cat, [0, 0, 0, None])
    assert answers.of(ann) == (1, 2)  # the third: Ben and Cat differ; the fourth: Ben alone is not enough


def test_what_was_judged_counts_without_others():
    answers = Answers(make_project())
    tess = make_member(answers.project, "Tess")
    answers.say(tess, [0, 0, 0])
    answers.judge(0, 0)
    answers.judge(1, 1, rule="imported")
    answers.judge(2, 1, rule="one_trusted")
    assert answers.of(tess) == (1, 2)


def test_what_was_judged_goes_before_what_others_say():
    answers = Answers(make_project())
    tess, ann = make_member(answers.project, "Tess"), make_member(answers.project, is_trusted=False)
    answers.say(tess, [0])
    answers.say(ann, [1])
    answers.judge(0, 1)
    assert (answers.of(tess), answers.of(ann)) == ((0, 1), (1, 1))


@pytest.mark.parametrize("fields", [{"is_counted": False}, {"is_current": False}])
def test_only_what_counts_now_is_compared(fields):
    answers = Answers(make_project())
    tess, ann = make_member(answers.project, "Tess"), make_member(answers.project, is_trusted=False)
    answers.say(tess, [0])
    answers.say(ann, [0], **fields)
    assert answers.of(ann) == (0, 0)


def test_it_has_a_95_percent_interval_or_none():
    assert agreement.Agreement().interval is None
    assert agreement.Agreement().share is None
    figure = agreement.Agreement(n=10, n_agreed=9)
    assert figure.share == 0.9
    assert [round(end, 4) for end in figure.interval.values()] == [0.5958, 0.9821]  # Wilson, by hand


def test_it_costs_four_queries(django_assert_num_queries):
    answers = Answers(make_project(), n=20)
    tess, ann = make_member(answers.project, "Tess"), make_member(answers.project, is_trusted=False)
    for person in (tess, ann):
        answers.say(person, [0] * 20)
    with django_assert_num_queries(4):
        agreement.with_gold(answers.project)


def test_labels_are_compared_as_they_read_now():
    """Ann said yes and Tess no; merged they agree. What was retired is compared with nothing."""
    answers = Answers(make_project(labels=("yes", "no", "maybe")))
    tess, ann = make_member(answers.project, "Tess"), make_member(answers.project, is_trusted=False)
    answers.say(tess, [0, 2])
    answers.say(ann, [1, 2])
    assert answers.of(ann) == (1, 2)
    new = [NextLabel(NewLabel("sure"), was=("yes", "no")), NextLabel(NewLabel("new"), takes_from=())]
    label_changes.change(project=answers.project, new=new, by=owner_of(answers.project))
    assert answers.of(ann) == (1, 1)
