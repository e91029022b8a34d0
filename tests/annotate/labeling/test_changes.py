"""Answers that are changed: revisions stay, gold and slots follow, and there is an end to it."""

import pytest

from annotate import rounds
from annotate.errors import Conflict, LeaseLost
from annotate.labeling import answers
from annotate.labeling import leases as leasing
from annotate.models import Annotation, Gold
from annotate.models.base import database_now
from tests.annotate.asking import (
    answer,
    change,
    problems,
    question,
    said,
    state_of,
    submit,
)
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db


class TestChange:
    def test_the_earlier_answer_stays_as_a_revision(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        change(entry, olga, "no")
        rows = Annotation.objects.filter(item=entry.item).order_by("revision")
        assert [(row.label.name, row.is_current) for row in rows] == [("yes", False), ("no", True)]

    def test_gold_follows_and_stays_single(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        change(entry, olga, "no")
        assert [gold.label.name for gold in Gold.objects.current()] == ["no"]

    def test_a_replay_returns_the_first_change(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        assert change(entry, olga, "no", key="2").pk == change(entry, olga, "no", key="2").pk
        assert Annotation.objects.count() == 2

    def test_after_the_round_closed_answers_stand(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        rounds.close_round(project=project, by=olga, force=True)
        with pytest.raises(Conflict, match="closed"):
            change(entry, olga, "no")

    def test_nothing_is_changed_before_an_answer(self, asked):
        project = asked()
        entry = question(project)
        leasing.lease(entry=entry, annotator=owner_of(project))
        with pytest.raises(Conflict, match="has not answered"):
            change(entry, owner_of(project), "no")

    def test_somebody_elses_answer_is_refused(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        submit(lease)
        with pytest.raises(LeaseLost):
            answers.change(
                lease_id=lease.public_id,
                project=project,
                answer=said(project, "no"),
                key="2",
                by=make_member(project),
            )

    def test_a_label_taken_back_frees_its_slot_and_its_gold_falls(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        ann = make_member(project)
        answer(entry, olga)
        change(entry, olga, "skip")
        assert state_of(entry) == (0, "open")
        assert not Gold.objects.current().exists()
        answer(entry, ann, "no")
        assert [gold.label.name for gold in Gold.objects.current()] == ["no"]
        assert problems(project) == {}

    def test_a_label_taken_back_by_the_only_person_ends_the_question(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        change(entry, olga, "skip")
        assert state_of(entry) == (0, "skipped")
        change(entry, olga, "yes")
        assert state_of(entry) == (1, "answered")
        assert problems(project) == {}

    def test_a_label_taken_back_from_a_withdrawn_item_leaves_it_unresolved(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        answer(entry, olga)
        type(entry.item).objects.filter(pk=entry.item_id).update(withdrawn_at=database_now())
        change(entry, olga, "skip")
        assert state_of(entry) == (0, "unresolved")

    def test_a_skip_that_becomes_a_label_takes_a_free_slot(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        answer(entry, olga, "skip")
        change(entry, olga, "yes")
        assert state_of(entry) == (1, "answered")
        assert problems(project) == {}

    def test_a_skip_stands_where_others_have_the_question(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        ann = make_member(project)
        answer(entry, olga, "skip")
        leasing.lease(entry=entry, annotator=ann)
        with pytest.raises(Conflict, match="your skip stands"):
            change(entry, olga, "yes")
        assert state_of(entry) == (1, "open")

    def test_a_skip_leased_once_more_uses_that_slot(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        answer(entry, olga, "skip")
        leasing.lease(entry=entry, annotator=olga)
        change(entry, olga, "yes")
        assert state_of(entry) == (1, "answered")
        assert problems(project) == {}

    def test_a_late_answer_stays_uncounted(self, asked, late):
        project = asked()
        entry, olga = question(project), owner_of(project)
        lease = leasing.lease(entry=entry, annotator=olga)
        leasing.expire(entry=entry, now=late)
        submit(lease, now=late)
        for name in ("no", "skip", "yes"):
            assert not change(entry, olga, name).is_counted
        assert state_of(entry) == (0, "open")
        assert problems(project) == {}


class TestLimit:
    def test_the_fifty_first_revision_is_refused(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        for number in range(49):
            change(entry, olga, ("yes", "no")[number % 2])
        with pytest.raises(Conflict, match="50 times"):
            change(entry, olga, "yes")
