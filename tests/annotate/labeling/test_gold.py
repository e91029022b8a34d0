"""What becomes gold: by the rule, once the overlap is full, from blind answers where the question is blind."""

import pytest

from annotate import rounds
from annotate.labeling import gold as gold_rules
from annotate.labeling import leases, visibility
from annotate.models import Draw, Gold, Member, Project, QueueEntry
from annotate.models.project import Arm, GoldRule, Role
from tests.annotate.asking import answer, change, problems, question, state_of
from tests.factories import make_member, owner_of


def see(entry, person):
    """See the machine's label of the item: what this person says from now on is not blind."""
    assert visibility.record_seen(items=[entry.item_id], by=person)


def gold_of(entry):
    return [(gold.label.name, gold.is_blind) for gold in Gold.objects.current().filter(item=entry.item)]


class TestGoldLabel:
    @pytest.mark.parametrize(
        ("answers", "gold"),
        [
            ([(1, True)], 1),
            ([(1, False)], None),
            ([(1, True), (2, False)], 1),
            ([(1, True), (2, True)], None),
            ([(1, True), (1, True)], 1),
            ([], None),
        ],
    )
    def test_one_trusted(self, answers, gold):
        assert gold_rules.gold_label(Project(gold_rule=GoldRule.ONE_TRUSTED), answers) == gold

    @pytest.mark.parametrize(
        ("answers", "gold"),
        [
            ([(1, False), (1, True), (2, True)], 1),
            ([(1, True), (2, True)], None),
            ([(1, True), (1, True), (2, True), (2, True)], None),
        ],
    )
    def test_agree_k(self, answers, gold):
        assert gold_rules.gold_label(Project(gold_rule=GoldRule.AGREE_K, agree_k=2), answers) == gold


@pytest.mark.django_db
class TestSettle:
    def test_one_trusted_needs_somebody_trusted(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, make_member(project, is_trusted=False))
        assert state_of(entry) == (1, "answered")
        assert gold_of(entry) == []

    def test_it_waits_for_the_overlap(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project))
        assert gold_of(entry) == []
        answer(entry, make_member(project))
        assert gold_of(entry) == [("yes", True)]

    def test_two_trusted_who_disagree_give_none(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project))
        answer(entry, make_member(project), "no")
        assert gold_of(entry) == []

    def test_agree_k_counts_heads(self, asked):
        project = asked(overlap=3, gold_rule="agree_k", agree_k=2)
        entry = question(project)
        for person, name in ((owner_of(project), "no"), (make_member(project), "yes"), (make_member(project), "no")):
            answer(entry, person, name)
        assert gold_of(entry) == [("no", True)]

    def test_a_change_can_settle_a_disagreement(self, asked):
        project = asked(overlap=2)
        entry, olga, ann = question(project), owner_of(project), make_member(project)
        answer(entry, olga, "yes")
        answer(entry, ann, "no")
        change(entry, ann, "yes")
        assert gold_of(entry) == [("yes", True)]
        change(entry, olga, "maybe")
        assert gold_of(entry) == []

    def test_what_an_audit_draw_obtained_never_trains(self, asked):
        project = asked()
        answer(question(project, Arm.AUDIT), owner_of(project))
        assert Gold.objects.get().origin == Arm.AUDIT
        assert not Gold.objects.trainable().exists()

    def test_what_a_round_before_obtained_stays_beside_the_audits(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga, "no")
        make_member(project)
        Draw.objects.create(project=project, item=entry.item, round=entry.round, arm=Arm.AUDIT, reason="late")
        change(entry, olga, "yes")
        assert sorted(Gold.objects.current().values_list("label__name", "origin")) == [
            ("no", "random"),
            ("yes", "audit"),
        ]

    def test_gold_falls_when_the_overlap_is_no_longer_full(self, asked):
        project = asked(overlap=2)
        entry, olga, ann = question(project), owner_of(project), make_member(project)
        answer(entry, olga)
        answer(entry, ann)
        change(entry, ann, "skip")
        assert gold_of(entry) == []
        assert state_of(entry) == (1, "skipped")  # nobody else could answer
        assert problems(project) == {}

    def test_a_new_member_is_waited_for(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        Member.objects.filter(user__name="Ann").update(role=Role.VIEWER)
        answer(entry, olga, "skip")
        assert state_of(entry) == (0, "open")  # nobody else could answer it: it comes back once
        answer(entry, olga, "skip")
        assert state_of(entry) == (0, "skipped")
        other = question(project)
        make_member(project, role=Role.REVIEWER)
        answer(other, olga, "skip")
        assert state_of(other) == (0, "open")

    def test_who_may_not_be_asked_in_a_dispute_is_not_waited_for(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        entry = question(project)
        answer(entry, olga)
        rounds.close_round(project=project, by=olga, force=True)
        again = rounds.draw_round(project=project, batch=5, by=olga)
        disputed = again.queue.create(item=entry.item, position=99, overlap=1, is_blind=True)
        Draw.objects.create(project=project, item=entry.item, round=again, arm=Arm.CONFLICT, reason="disputed")
        answer(disputed, ann, "skip")
        assert state_of(disputed) == (0, "open")
        answer(disputed, ann, "skip")
        assert state_of(disputed) == (0, "skipped")


@pytest.mark.django_db
class TestBlindEvidence:
    def test_each_persons_last_blind_answer_counts(self, asked):
        project = asked(overlap=2)
        entry, olga, ann = question(project), owner_of(project), make_member(project)
        answer(entry, olga, "yes")
        change(entry, olga, "no")
        see(entry, olga)
        change(entry, olga, "yes")
        answer(entry, ann, "no")
        assert gold_of(entry) == [("no", True)]
        assert problems(project) == {}

    def test_looking_does_not_reopen_a_blind_question(self, asked):
        project = asked()
        make_member(project)
        entry, olga = question(project), owner_of(project)
        answer(entry, olga, "yes")
        see(entry, olga)
        change(entry, olga, "skip")
        assert gold_of(entry) == [("yes", True)]
        assert state_of(entry) == (0, "answered")
        assert all(lease.entry_id != entry.pk for lease in leases.lease_next(project=project, annotator=olga, n=9))
        assert problems(project) == {}

    def test_in_sight_the_last_word_counts(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        QueueEntry.objects.filter(pk=entry.pk).update(is_blind=False, suggestion="shown")
        answer(entry, olga, "yes")
        see(entry, olga)
        change(entry, olga, "skip")
        assert gold_of(entry) == []
        assert state_of(entry) == (0, "open")
