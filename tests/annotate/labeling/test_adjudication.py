"""Deciding what people disagree on: once, with a reason, by somebody else, and for good."""

import pytest

from annotate import labels, rounds
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.labeling import adjudication, answers, disputes, visibility
from annotate.learning import pool
from annotate.models import Adjudication, Annotation, Draw, Event, Gold, Lease, Member, QueueEntry
from annotate.models.project import Arm, Role
from tests.annotate.asking import answer, change, label, problems, question, state_of
from tests.factories import make_member, make_project, owner_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def disputed(asked):
    """(project, a question on which Ann and Ben disagree, Ann, Ben); `arm` as it was drawn."""

    def make(arm=Arm.RANDOM, **settings):
        project = asked(overlap=2, **settings)
        entry, ann, ben = question(project, arm), make_member(project, "Ann"), make_member(project, "Ben")
        answer(entry, ann, "yes")
        answer(entry, ben, "no")
        return project, entry, ann, ben

    return make


def decide(entry, by, name="yes", reason="because", **more):
    project = entry.round.project
    return adjudication.adjudicate(
        project=project,
        round_index=entry.round.index,
        item=entry.item.public_id,
        label=label(project, name) if name else None,
        reason=reason,
        by=by,
        **more,
    )


def found(project, by=None):
    return list(adjudication.waiting(project=project, by=by or owner_of(project)))


def gold_of(entry):
    rows = Gold.objects.current().filter(item=entry.item)
    return [(gold.label.name, gold.rule, gold.origin, gold.is_blind) for gold in rows]


class TestWaiting:
    def test_a_disagreement_waits(self, disputed):
        project, entry, *_ = disputed()
        assert found(project) == [entry]
        assert adjudication.n_waiting(project=project, by=owner_of(project), most=9) == 1

    def test_agreement_does_not(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        for name in ("Ann", "Ben"):
            answer(entry, make_member(project, name))
        assert found(project) == []

    def test_a_question_that_is_not_full_does_not(self, asked):
        project = asked(overlap=3)
        entry = question(project)
        for person, name in (("Ann", "yes"), ("Ben", "no")):
            answer(entry, make_member(project, person), name)
        assert found(project) == []
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert found(project) == [entry]

    def test_one_answer_in_a_closed_round_is_no_dispute(self, asked):
        project = asked(overlap=2)
        answer(question(project), make_member(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert found(project) == []

    def test_a_label_that_the_rule_does_not_take_waits(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, make_member(project, is_trusted=False))
        assert found(project) == [entry]

    def test_an_audited_item_waits_though_other_gold_trains(self, disputed):
        project, entry, *_ = disputed(Arm.AUDIT)
        Gold.objects.create(
            project=project, item=entry.item, label=label(project), rule="imported", origin=Arm.IMPORTED, is_blind=False
        )
        assert found(project) == [entry]

    def test_what_is_withdrawn_does_not(self, disputed):
        project, entry, *_ = disputed()
        project.items.filter(pk=entry.item_id).update(withdrawn_at=entry.round.opened_at)
        assert found(project) == []

    def test_who_answered_does_not_see_it_while_somebody_else_could(self, disputed):
        project, entry, ann, ben = disputed()
        Member.objects.filter(user__in=[ann, ben]).update(role=Role.REVIEWER)
        assert found(project, ann) == []
        Member.objects.filter(role=Role.OWNER).update(role=Role.VIEWER, is_trusted=True)
        assert found(project, ann) == [entry]

    def test_what_is_asked_again_waits_for_the_answers(self, disputed):
        project, entry, *_ = disputed()
        olga = owner_of(project)
        rounds.close_round(project=project, by=olga, force=True)
        again = rounds.draw_round(project=project, batch=5, by=olga)
        asked_again = again.queue.filter(item=entry.item).first() or again.queue.create(
            item=entry.item, position=99, overlap=1, is_blind=True
        )
        assert found(project) == []
        with pytest.raises(Conflict, match="asked again in round 2"):
            decide(entry, olga)
        asked_again.state = "skipped"
        asked_again.save()
        assert found(project) == [entry]


class TestAdjudicate:
    def test_it_makes_gold_and_leaves_the_answers(self, disputed):
        project, entry, *_ = disputed()
        before = list(Annotation.objects.order_by("pk").values())
        made = decide(entry, owner_of(project), "maybe", reason="  the guidelines say so ")
        assert (made.label.name, made.reason, made.is_blind, made.is_current) == (
            "maybe",
            "the guidelines say so",
            True,
            True,
        )
        assert gold_of(entry) == [("maybe", "adjudicated", "random", True)]
        assert list(Annotation.objects.order_by("pk").values()) == before
        assert state_of(entry) == (2, "answered")
        assert found(project) == []
        assert problems(project) == {}

    def test_of_an_audited_item_it_never_trains(self, disputed):
        project, entry, *_ = disputed(Arm.AUDIT)
        decide(entry, owner_of(project))
        assert gold_of(entry) == [("yes", "adjudicated", "audit", True)]
        assert not Gold.objects.trainable().exists()
        assert problems(project) == {}

    def test_an_item_that_the_audit_drew_since_gives_audit_gold(self, disputed):
        project, entry, *_ = disputed()
        Draw.objects.create(project=project, item=entry.item, arm=Arm.AUDIT, reason="late")
        decide(entry, owner_of(project))
        assert gold_of(entry) == [("yes", "adjudicated", "audit", True)]

    def test_it_counts_for_estimates_and_no_longer_as_disputed(self, disputed):
        project, entry, *_ = disputed(Arm.AUDIT)
        items, history = pool.load(project), labels.current(project)
        assert pool.disputed(items, history, pool.load_gold(items, history)).sum() == 1
        decide(entry, owner_of(project))
        gold = pool.load_gold(items, history)
        assert (gold.blind >= 0).sum() == 1
        assert pool.disputed(items, history, gold).sum() == 0

    def test_what_cannot_be_decided_stays_unresolved_and_is_not_asked_again(self, disputed):
        project, entry, *_ = disputed()
        decide(entry, owner_of(project), None)
        assert gold_of(entry) == []
        assert state_of(entry) == (2, "unresolved")
        assert found(project) == []
        items, history = pool.load(project), labels.current(project)
        assert pool.disputed(items, history, pool.load_gold(items, history)).sum() == 0
        assert problems(project) == {}

    def test_answers_in_sight_of_the_machine_are_not_made_blind(self, disputed):
        project, entry, *_ = disputed()
        Annotation.objects.filter(item=entry.item).update(is_blind=False)
        QueueEntry.objects.filter(pk=entry.pk).update(is_blind=False)
        decide(entry, owner_of(project))
        assert gold_of(entry)[0][3] is False

    def test_a_reviewer_who_saw_the_machines_label_is_not_blind(self, disputed):
        project, entry, *_ = disputed()
        ravi = make_member(project, "Ravi", Role.REVIEWER)
        now = entry.round.opened_at
        Lease.objects.create(
            entry=entry,
            annotator=ravi,
            granted_at=now,
            expires_at=now,
            revealed_at=now,
            ended_at=now,
            outcome="released",
        )
        assert decide(entry, ravi).is_blind is False
        assert gold_of(entry)[0][3] is False

    def test_the_same_again_is_the_first(self, disputed):
        project, entry, *_ = disputed()
        olga = owner_of(project)
        assert decide(entry, olga) == decide(entry, olga)
        assert Adjudication.objects.count() == Gold.objects.count() == 1

    def test_a_second_thought_is_a_new_row(self, disputed):
        project, entry, *_ = disputed()
        olga = owner_of(project)
        first = decide(entry, olga, "yes")
        second = decide(entry, olga, "no", seen=first.public_id)
        assert list(Adjudication.objects.order_by("pk").values_list("pk", "is_current")) == [
            (first.pk, False),
            (second.pk, True),
        ]
        assert gold_of(entry) == [("no", "adjudicated", "random", True)]
        third = decide(entry, olga, None, seen=second.public_id)
        assert (gold_of(entry), state_of(entry)[1]) == ([], "unresolved")
        decide(entry, olga, "yes", seen=third.public_id)
        assert (gold_of(entry)[0][0], state_of(entry)[1]) == ("yes", "answered")
        assert problems(project) == {}

    def test_what_trained_trains_no_more_once_it_is_overturned_after_an_audit_draw(self, disputed):
        project, entry, *_ = disputed()
        olga = owner_of(project)
        first = decide(entry, olga, "yes")
        Draw.objects.create(project=project, item=entry.item, arm=Arm.AUDIT, reason="late")
        decide(entry, olga, "no", seen=first.public_id)
        assert gold_of(entry) == [("no", "adjudicated", "audit", True)]

    def test_of_two_who_decide_the_first_stands(self, disputed):
        project, entry, *_ = disputed()
        ravi = make_member(project, "Ravi", Role.REVIEWER)
        decide(entry, owner_of(project), "yes")
        with pytest.raises(Conflict, match="Olga has decided meanwhile: yes"):
            decide(entry, ravi, "no")
        assert gold_of(entry)[0][0] == "yes"

    def test_own_answers_are_for_somebody_else(self, disputed):
        project, entry, ann, _ = disputed()
        Member.objects.filter(user=ann).update(role=Role.REVIEWER)
        with pytest.raises(Conflict, match="yourself; somebody else decides it: Olga"):
            decide(entry, ann)
        Member.objects.filter(role=Role.OWNER).update(role=Role.VIEWER)
        assert decide(entry, ann).created_by == ann

    @pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.VIEWER])
    def test_it_belongs_to_reviewers(self, disputed, role):
        project, entry, *_ = disputed()
        with pytest.raises(AccessDenied):
            decide(entry, make_member(project, "Vera", role))

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 2001, "a\x00b", "\ud800"])
    def test_it_needs_a_reason(self, disputed, reason):
        project, entry, *_ = disputed()
        with pytest.raises(InvalidInput):
            decide(entry, owner_of(project), reason=reason)

    def test_it_takes_labels_of_this_project_only(self, disputed):
        project, entry, *_ = disputed()
        given = {"project": project, "round_index": 1, "item": entry.item.public_id, "reason": "x"}
        for wrong in (9, label(make_project())):
            with pytest.raises(InvalidInput):
                adjudication.adjudicate(label=wrong, by=owner_of(project), **given)

    def test_what_is_not_disputed_cannot_be_decided(self, asked):
        project = asked()
        entry = question(project)
        with pytest.raises(Conflict, match="not disputed"):
            decide(entry, owner_of(project))

    def test_another_projects_question_is_not_found(self, disputed):
        _, entry, *_ = disputed()
        other = make_project()
        with pytest.raises(NotFound):
            adjudication.adjudicate(
                project=other, round_index=1, item=entry.item.public_id, label=0, reason="x", by=owner_of(other)
            )

    def test_it_is_recorded_without_the_reason(self, disputed):
        project, entry, *_ = disputed()
        made = decide(entry, owner_of(project), reason="secret words")
        event = Event.objects.get(kind="question.adjudicated")
        assert event.data == {"item": entry.item.public_id, "round": 1, "adjudication": made.public_id}


class TestAfterwards:
    def test_changed_answers_do_not_change_what_was_decided(self, disputed):
        project, entry, ann, ben = disputed()
        decide(entry, owner_of(project), "maybe")
        change(entry, ben, "yes")
        assert gold_of(entry) == [("maybe", "adjudicated", "random", True)]
        change(entry, ben, "skip")
        assert gold_of(entry) == [("maybe", "adjudicated", "random", True)]
        assert state_of(entry)[1] == "answered"
        change(entry, ann, "skip")
        assert (gold_of(entry)[0][0], state_of(entry)[1]) == ("maybe", "answered")
        assert problems(project) == {}

    def test_agreement_comes_too_late(self, disputed):
        project, entry, _, ben = disputed()
        decide(entry, owner_of(project), None)
        change(entry, ben, "yes")
        assert (gold_of(entry), state_of(entry)[1]) == ([], "unresolved")

    def test_a_lease_that_is_still_out_ends_and_its_answer_is_kept(self, disputed):
        project, entry, *_ = disputed()
        cleo, now = make_member(project, "Cleo"), entry.round.opened_at
        lease = Lease.objects.create(entry=entry, annotator=cleo, granted_at=now, expires_at=now)
        QueueEntry.objects.filter(pk=entry.pk).update(overlap=3, n_taken=3)
        decide(entry, owner_of(project), None)
        assert state_of(entry) == (2, "unresolved")
        said = answers.submit(
            lease_id=lease.public_id, project=project, answer=answers.Answer(label=0), key="late", by=cleo
        )
        assert said.is_counted is False
        assert problems(project) == {}

    def test_a_later_round_keeps_it(self, disputed):
        project, entry, *_ = disputed()
        olga, cleo = owner_of(project), make_member(project, "Cleo")
        decide(entry, olga, "maybe")
        rounds.close_round(project=project, by=olga, force=True)
        again = rounds.draw_round(project=project, batch=5, by=olga)
        asked_again = again.queue.create(item=entry.item, position=99, overlap=1, is_blind=True)
        answer(asked_again, cleo, "yes")
        assert gold_of(entry) == [("maybe", "adjudicated", "random", True)]
        assert found(project) == []


class TestFind:
    def test_it_shows_each_persons_answer_once(self, disputed, django_assert_num_queries):
        project, entry, ann, ben = disputed()
        change(entry, ann, "maybe")
        olga = owner_of(project)
        with django_assert_num_queries(8):
            dispute = adjudication.find(project=project, round_index=1, item=entry.item.public_id, by=olga)
        assert {(str(one.annotation.annotator), one.annotation.label.name) for one in dispute.said} == {
            ("Ann", "maybe"),
            ("Ben", "no"),
        }
        assert (dispute.decision, dispute.obstacle) == (None, "")

    def test_a_blind_answer_stands_beside_the_one_after_looking(self, disputed):
        project, entry, ann, _ = disputed()
        visibility.record_seen(items=[entry.item_id], by=ann)
        change(entry, ann, "no")
        dispute = adjudication.find(project=project, round_index=1, item=entry.item.public_id, by=owner_of(project))
        hers = next(one for one in dispute.said if one.annotation.annotator == ann)
        assert (hers.annotation.label.name, hers.later.label.name) == ("yes", "no")

    def test_its_queries_do_not_grow(self, asked, django_assert_num_queries):
        project = asked(overlap=6)
        entry = question(project)
        for place in range(6):
            answer(entry, make_member(project), ("yes", "no", "maybe")[place % 3])
        olga = owner_of(project)
        with django_assert_num_queries(8):
            adjudication.find(project=project, round_index=1, item=entry.item.public_id, by=olga)


class TestVerify:
    """Each check has been seen to fail."""

    def test_it_sees_gold_that_no_reviewer_decided(self, disputed):
        project, entry, *_ = disputed()
        decide(entry, owner_of(project))
        Adjudication.objects.update(label=label(project, "maybe"))
        assert "gold that no reviewer decided" in problems(project)["gold stands in answers"]
        assert "does not have that gold" in problems(project)["what reviewers decided stands"]

    def test_it_sees_a_decision_whose_question_is_open_again(self, disputed):
        project, entry, *_ = disputed()
        decide(entry, owner_of(project))
        QueueEntry.objects.filter(pk=entry.pk).update(state="unresolved")
        assert "but is unresolved" in problems(project)["what reviewers decided stands"]


def test_disputes_take_one_query(disputed, django_assert_num_queries):
    project, *_ = disputed()
    with django_assert_num_queries(1):
        assert len(disputes.undecided(project)) == 1
