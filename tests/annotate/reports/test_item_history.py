"""All that happened to one item, and who may see which part of it."""

import pytest

from annotate import items, label_changes, rounds
from annotate.label_changes import NextLabel
from annotate.labeling import adjudication, visibility
from annotate.labeling.visibility import Visibility
from annotate.models.project import Role
from annotate.projects import NewLabel
from annotate.reports import item_history
from tests.annotate.asking import answer, label, question
from tests.factories import make_member, owner_of
from tests.rows import make_silver

pytestmark = pytest.mark.django_db
ALL = Visibility(people=True, machines=True, work=True)


def member_of(project, role):
    user = owner_of(project) if role == Role.OWNER else make_member(project, role=role)
    member = project.members.get(user=user)
    member.project = project
    return member


def kinds(item, seen=ALL):
    return [one.kind for one in item_history.load(items.find(project=item.project, public_id=item.public_id), seen)]


class TestLoad:
    def test_it_tells_everything_in_order(self, asked):
        project = asked(overlap=2)
        olga, ann, ben = owner_of(project), make_member(project, "Ann"), make_member(project, "Ben")
        entry = question(project)
        item = entry.item
        make_silver(project, [item])
        answer(entry, ann, "yes")
        answer(entry, ben, "no")
        adjudication.adjudicate(
            project=project, round_index=1, item=item.public_id, label=label(project), reason="why", by=olga
        )
        items.withdraw(project=project, public_ids=[item.public_id], by=olga)
        items.bring_back(project=project, public_id=item.public_id, by=olga)
        new = items.correct(project=project, public_id=item.public_id, content={"text": "right"}, by=olga)
        told = kinds(item)
        assert sorted(told[:8]) == [
            "answered", "answered", "asked", "drawn", "held", "held", "imported", "predicted",
        ]  # fmt: skip
        assert told[0] == "imported"
        assert told[8:] == ["decided", "gold", "withdrawn", "brought_back", "replaced"]
        assert [kind for kind in kinds(new) if kind != "drawn"] in (["imported", "corrected"], ["corrected"])

    def test_a_predictions_label_and_probability_are_named(self, asked):
        project = asked()
        item = question(project).item
        make_silver(project, [item])
        [said] = [one for one in item_history.load(item, ALL) if one.kind == "predicted"]
        assert said.facts == {"label": "yes", "p": None}

    def test_another_items_events_are_not_told(self, asked):
        project = asked()
        one, other = project.items.all()[:2]
        items.withdraw(project=project, public_ids=[other.public_id], by=owner_of(project))
        assert "withdrawn" not in kinds(one)
        assert "withdrawn" in kinds(other)

    def test_what_is_not_to_be_seen_is_not_read(self, asked):
        project = asked()
        entry = question(project)
        make_silver(project, [entry.item])
        answer(entry, owner_of(project))
        assert kinds(entry.item, Visibility(people=False, machines=False, work=False)) == ["imported"]
        nothing_of_machines = kinds(entry.item, Visibility(people=True, machines=False, work=True))
        assert not {"predicted", "drawn"} & set(nothing_of_machines)

    @pytest.mark.parametrize("n", [2, 6])
    def test_its_queries_do_not_grow(self, asked, django_assert_num_queries, n):
        project = asked(overlap=n)
        entry = question(project)
        for _ in range(n):
            answer(entry, make_member(project))
        item = items.find(project=project, public_id=entry.item.public_id)
        with django_assert_num_queries(10):
            item_history.load(item, ALL)


class TestSight:
    def sees(self, project, entry, role):
        seen = visibility.sight(entry.item, member_of(project, role))
        return seen.people, seen.machines, seen.work

    def test_while_the_round_is_open(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, owner_of(project))
        assert self.sees(project, entry, Role.VIEWER) == (True, True, True)
        assert self.sees(project, entry, Role.ADMIN) == (True, False, True)
        assert self.sees(project, entry, Role.OWNER) == (True, False, True)
        assert self.sees(project, entry, Role.REVIEWER) == (False, False, False)

    def test_once_it_is_closed_and_decided(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert self.sees(project, entry, Role.OWNER) == (True, True, True)
        assert self.sees(project, entry, Role.REVIEWER) == (True, False, False)

    def test_while_it_is_disputed_no_machine_speaks_to_who_may_decide(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        for name in ("yes", "no"):
            answer(entry, make_member(project), name)
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert self.sees(project, entry, Role.OWNER) == (True, False, True)
        assert self.sees(project, entry, Role.REVIEWER) == (False, False, False)
        assert self.sees(project, entry, Role.VIEWER) == (True, True, True)


class TestAfterAChangeOfLabels:
    def test_names_are_those_given_and_what_they_read_as_now(self, asked):
        project = asked()
        entry = question(project)
        make_silver(project, [entry.item])
        answer(entry, owner_of(project))
        for new in ("yes", "sure"):
            was = {"yes": ("no", "yes"), "sure": ("yes",)}[new]
            plan = [NextLabel(NewLabel(new), was=was), NextLabel(NewLabel("maybe"), was=("maybe",))]
            label_changes.change(project=project, new=plan, by=owner_of(project))
        found = {one.kind: one for one in item_history.load(entry.item, ALL)}
        assert found["answered"].row.label.name == "yes"
        assert found["answered"].facts["now"].name == found["gold"].facts["now"].name == "sure"
        assert (found["predicted"].facts["label"], found["predicted"].facts["now"].name) == ("yes", "sure")

    def test_what_is_void_says_so(self, asked):
        project = asked()
        entry = question(project)
        make_silver(project, [entry.item])
        answer(entry, owner_of(project))
        plan = [NextLabel(NewLabel(name), was=(name,)) for name in ("no", "maybe")]
        label_changes.change(project=project, new=plan, by=owner_of(project))
        found = {one.kind: one for one in item_history.load(entry.item, ALL)}
        assert all(found[kind].facts["is_void"] for kind in ("answered", "gold", "predicted"))
