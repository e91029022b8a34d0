"""Skipped questions: whom they come back to, when they are over, and what one can do where they wait for others."""

import pytest

from annotate import members, rounds
from annotate.labeling import queue, waiting, workload
from annotate.labeling.waiting import Waiting
from annotate.models import Draw, Item, Lease, Member, QueueEntry
from annotate.models.base import database_now
from annotate.models.project import Arm, Role
from tests.annotate.asking import (
    Statements,
    answer,
    change,
    leave_open,
    problems,
    question,
    state_of,
    submit,
    take,
)
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db


def work_off(project, person, name="skip"):
    """Answer whatever the person is asked, alike; returns the positions in the order of asking."""
    asked = []
    while held := take(project, person):
        asked.append(held[0].entry.position)
        submit(held[0], name)
        assert len(asked) < 50
    return asked


def n_for_nobody(project):
    return waiting.waiting(project=project, person=owner_of(project)).n_for_nobody


def states(project):
    return list(QueueEntry.objects.filter(round__project=project).order_by("position").values_list("state", flat=True))


class TestAlone:
    def test_what_was_skipped_comes_back_once_after_all_others(self, asked):
        project = asked()
        leave_open(project, 3)
        assert work_off(project, owner_of(project)) == [1, 2, 3, 1, 2, 3]
        assert states(project)[:3] == ["skipped"] * 3
        assert problems(project) == {}

    def test_it_may_be_answered_when_it_comes_back(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        submit(take(project, olga)[0], "skip")
        submit(take(project, olga)[0], "yes")
        assert states(project)[0] == "answered"
        assert rounds.close_round(project=project, by=olga).gold.count() == 1
        assert problems(project) == {}

    def test_it_is_counted_as_left_until_the_second_skip(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        for n_left in (1, 1, 0):
            assert workload.remaining(project=project, annotator=olga).n_left == n_left
            assert waiting.waiting(project=project, person=olga) == Waiting(n=n_left, n_for_me=n_left)
            if n_left:
                submit(take(project, olga)[0], "skip")
        assert workload.why_empty(project=project, annotator=olga).kind == "round_done"

    def test_another_reason_is_no_second_skip(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        submit(take(project, olga)[0], "skip")
        change(question(project), olga, "skip")
        assert len(take(project, olga)) == 1

    def test_it_comes_back_in_one_window_only(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        submit(take(project, olga)[0], "skip")
        (first,), (second,) = take(project, olga), take(project, olga)
        assert first == second
        assert state_of(first.entry) == (1, "open")

    def test_a_withdrawn_one_does_not_come_back(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        submit(take(project, olga)[0], "skip")
        Item.objects.filter(queue_entries__position=1).update(withdrawn_at=database_now())
        assert take(project, olga) == []

    def test_of_two_answers_wanted_the_last_person_left_is_asked_again(self, asked):
        project = asked(overlap=2)
        leave_open(project, 1)
        olga, ann = owner_of(project), make_member(project)
        submit(take(project, olga)[0])
        submit(take(project, ann)[0], "skip")
        assert work_off(project, ann) == [1]
        assert state_of(QueueEntry.objects.get(round__project=project, position=1)) == (1, "skipped")

    def test_the_last_person_left_is_asked_again_though_the_label_came_after_the_skip(self, asked):
        project = asked(overlap=2)
        leave_open(project, 1)
        olga, ann = owner_of(project), make_member(project)
        submit(take(project, ann)[0], "skip")
        submit(take(project, olga)[0])
        assert work_off(project, ann) == [1]

    def test_handing_it_out_again_takes_few_statements(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        submit(take(project, olga)[0], "skip")
        with Statements() as statements:
            assert take(project, olga)
        assert len(statements) <= 8, statements.sql


class TestTwo:
    def test_a_skip_of_each_ends_it(self, asked):
        project = asked()
        leave_open(project, 1)
        olga, ann = owner_of(project), make_member(project)
        assert work_off(project, olga) == [1]
        assert work_off(project, ann) == [1]
        assert states(project)[0] == "skipped"
        assert problems(project) == {}

    def test_it_waits_for_the_other_and_may_be_had_again(self, asked):
        project = asked()
        leave_open(project, 1)
        olga = owner_of(project)
        make_member(project)
        work_off(project, olga)
        assert waiting.waiting(project=project, person=olga) == Waiting(n=1, n_skipped=1)
        (lease,) = waiting.lease_skipped(project=project, by=olga, n=3)
        assert waiting.waiting(project=project, person=olga) == Waiting(n=1, n_for_me=1)
        submit(lease)
        assert states(project)[0] == "answered"
        assert problems(project) == {}

    def test_what_the_other_holds_may_not_be_had(self, asked):
        project = asked()
        leave_open(project, 1)
        olga, ann = owner_of(project), make_member(project)
        work_off(project, olga)
        take(project, ann)
        assert waiting.lease_skipped(project=project, by=olga, n=3) == []
        assert waiting.waiting(project=project, person=olga) == Waiting(n=1)

    def test_when_the_other_leaves_it_comes_back(self, asked):
        project = asked()
        leave_open(project, 1)
        olga, ann = owner_of(project), make_member(project)
        work_off(project, olga)
        members.remove(project=project, person=ann.public_id, by=olga)
        assert work_off(project, olga) == [1]
        assert states(project)[0] == "skipped"

    def test_a_third_who_comes_late_is_asked_what_is_open(self, asked):
        project = asked()
        leave_open(project, 2)
        olga = owner_of(project)
        submit(take(project, olga)[0], "skip")
        submit(take(project, olga)[0], "skip")
        (held,) = take(project, olga)
        submit(held, "skip")  # the first one for the second time: over
        ann = make_member(project)
        assert work_off(project, ann, "yes") == [2]
        assert states(project)[:2] == ["skipped", "answered"]

    def test_two_who_skipped_are_asked_again_when_the_third_has_left(self, asked):
        project = asked()
        leave_open(project, 1)
        olga, ann, ravi = owner_of(project), make_member(project), make_member(project, "Ravi")
        work_off(project, olga)
        work_off(project, ann)
        members.remove(project=project, person=ravi.public_id, by=olga)
        assert n_for_nobody(project) == 0
        assert work_off(project, ann) == [1]
        assert work_off(project, olga) == []
        assert states(project)[0] == "skipped"


class TestForNobody:
    def test_two_answers_wanted_of_one_person(self, asked):
        project = asked(overlap=2)
        olga = owner_of(project)
        work_off(project, olga, "yes")
        assert waiting.waiting(project=project, person=olga) == Waiting(n=10, n_for_nobody=10)

    def test_a_viewer_is_nobody_and_a_new_annotator_is_somebody(self, asked):
        project = asked(overlap=2)
        work_off(project, owner_of(project), "yes")
        make_member(project, role=Role.VIEWER)
        assert n_for_nobody(project) == 10
        make_member(project, "Ravi")
        assert n_for_nobody(project) == 0

    def test_a_dispute_among_all(self, asked):
        project = asked()
        olga = owner_of(project)
        submit(take(project, olga)[0])
        rounds.close_round(project=project, by=olga, force=True)
        again = rounds.draw_round(project=project, batch=5, by=olga)
        item = project.annotations.get().item
        Draw.objects.create(project=project, item=item, round=again, arm=Arm.CONFLICT, reason="disputed")
        again.queue.exclude(item=item).delete()
        again.queue.get_or_create(item=item, defaults={"position": 99, "overlap": 1, "is_blind": True})
        assert n_for_nobody(project) == 1

    def test_somebody_who_skipped_twice_and_left_is_nobody(self, asked):
        project = asked()
        leave_open(project, 1)
        olga, ann = owner_of(project), make_member(project)
        work_off(project, ann)
        Member.objects.filter(user=olga).update(role=Role.VIEWER)
        Member.objects.filter(user=ann).update(role=Role.VIEWER)
        assert waiting.waiting(project=project, person=ann) == Waiting(n=1, n_for_nobody=1)


@pytest.mark.portable
def test_the_rule_agrees_with_a_recount_in_plain_words(asked):
    """Who is asked, over every mix of responses of three members to one question wanted twice."""
    project = asked(overlap=2)
    leave_open(project, 1)
    entry = question_at(project, 1)
    people = [owner_of(project), make_member(project), make_member(project, "Ravi")]
    for responses in [(a, b, c) for a in range(4) for b in range(4) for c in range(4)]:
        Lease.objects.all().delete()
        project.annotations.all().delete()
        for person, n in zip(people, responses, strict=True):
            respond(project, entry, person, n)
        others_left = [sum(n == 0 for place, n in enumerate(responses) if place != mine) for mine in range(3)]
        wanted = {
            person.pk
            for person, n, left in zip(people, responses, others_left, strict=True)
            if n == 0 or (n == 1 and not left)
        }
        found = {person.pk for person in people if queue.askable(person, project).filter(pk=entry.pk).exists()}
        assert found == wanted, responses
        assert n_for_nobody(project) == (not wanted), responses


def respond(project, entry, person, n):
    """n: 0 nothing, 1 one skip, 2 two skips, 3 a label."""
    for place in range(1 if n == 3 else n):
        outcome = Lease.Outcome.ANSWERED if n == 3 else Lease.Outcome.SKIPPED
        now = database_now()
        Lease.objects.create(
            entry=entry, annotator=person, granted_at=now, expires_at=now, ended_at=now, outcome=outcome
        )
        said = {"label": project_label(project)} if n == 3 else {"skip_reason": "unclear"}
        project.annotations.create(
            item=entry.item,
            entry=entry,
            annotator=person,
            revision=place + 1,
            is_current=place == n - 1 or n == 3,
            is_blind=True,
            idempotency_key=f"{person.pk} {place} {project.annotations.count()}",
            **said,
        )


def project_label(project):
    return project.schemas.get().labels.first()


def question_at(project, position):
    return QueueEntry.objects.get(round__project=project, position=position)


@pytest.mark.parametrize("times", [1, 2])
def test_answering_by_entry_still_works(asked, times):
    project = asked()
    entry = question(project)
    for _ in range(times):
        answer(entry, owner_of(project), "skip")
    assert state_of(entry) == (0, "open" if times == 1 else "skipped")
