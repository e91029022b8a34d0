"""Who has seen the machine's label of one item, or had it in a file: what becomes of their later answers."""

import pytest

from annotate.labeling import leases, visibility, workload
from annotate.models import Gold
from annotate.models.project import Arm
from tests.annotate.asking import answer, change, problems, question, take
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db


def member_of(project, user):
    member = project.members.get(user=user)
    member.project = project
    return member


def sees(entry, *people):
    for person in people:
        assert visibility.record_seen(items=[entry.item_id], by=person)


class TestAnswers:
    def test_who_saw_the_label_answers_as_not_blind_and_the_sample_does_not_count_it(self, asked):
        project = asked()
        entry, olga = question(project, Arm.AUDIT), owner_of(project)
        sees(entry, olga)
        assert answer(entry, olga).is_blind is False
        assert not Gold.objects.exists()
        assert problems(project) == {}

    def test_a_change_after_seeing_is_not_blind_and_the_audit_keeps_the_earlier_answer(self, asked):
        project = asked()
        entry, olga = question(project, Arm.AUDIT), owner_of(project)
        answer(entry, olga, "yes")
        sees(entry, olga)
        later = change(entry, olga, "no")
        assert (later.is_blind, later.is_current) == (False, True)
        assert [(gold.label.name, gold.is_blind) for gold in Gold.objects.current()] == [("yes", True)]
        assert problems(project) == {}

    def test_who_saw_another_item_answers_as_blind(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        other = project.items.exclude(pk=entry.item_id).first()
        visibility.record_seen(items=[other.pk], by=olga)
        visibility.record_seen(items=[entry.item_id], by=make_member(project))
        assert answer(entry, olga).is_blind


class TestWhoIsAsked:
    def test_an_item_goes_to_somebody_who_has_not_seen_it(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        sees(entry, olga)
        n = project.rounds.get().queue.count()
        assert workload.remaining(project=project, annotator=olga).n_left == n - 1
        assert entry.pk not in [lease.entry_id for lease in take(project, olga, 3)]
        assert [lease.entry_id for lease in take(project, ann)] == [entry.pk]

    def test_where_everybody_has_seen_it_they_are_asked(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        sees(entry, olga, ann)
        assert [lease.entry_id for lease in take(project, olga)] == [entry.pk]

    def test_who_holds_it_already_keeps_it(self, asked):
        project = asked()
        make_member(project)
        [lease] = take(project, owner_of(project))
        sees(lease.entry, owner_of(project))
        assert [one.pk for one in take(project, owner_of(project))] == [lease.pk]

    def test_a_question_that_is_not_blind_is_asked_of_anybody(self, asked):
        project = asked()
        make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        project.rounds.get().queue.update(is_blind=False, suggestion="shown")
        sees(entry, owner_of(project))
        assert [lease.entry_id for lease in take(project, owner_of(project))] == [entry.pk]

    def test_who_cannot_answer_any_more_is_nobody_to_leave_it_to(self, asked):
        project = asked(overlap=2)
        olga, ann = owner_of(project), make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        answer(entry, ann)
        sees(entry, olga)
        assert [lease.entry_id for lease in take(project, olga)] == [entry.pk]
        leases.release_all(project=project, user=olga)
        make_member(project, "Ben")
        assert [lease.entry_id for lease in take(project, olga)] != [entry.pk]
