"""Answers: once per key, one current per person and item; skips, prices, history and drafts."""

import pytest

from annotate import rounds
from annotate.errors import AccessDenied, Conflict, InvalidInput, LeaseLost, NotFound
from annotate.labeling import answers
from annotate.labeling import leases as leasing
from annotate.models import Annotation, Draft, Gold, Lease, Member, QueueEntry
from annotate.models.project import Arm, Role
from tests.annotate.asking import (
    Statements,
    answer,
    change,
    label,
    problems,
    question,
    said,
    state_of,
    submit,
)
from tests.factories import make_member, make_project, make_user, owner_of

pytestmark = pytest.mark.django_db


class TestSubmit:
    def test_it_stores_one_answer_and_its_gold(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, owner_of(project))
        gold = Gold.objects.get(item=entry.item)
        assert (gold.label.name, gold.origin, gold.is_blind) == ("yes", Arm.RANDOM, True)
        assert state_of(entry) == (1, "answered")
        assert problems(project) == {}

    def test_it_takes_six_statements(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        spoken = answers.Answer(label=0)
        with Statements() as statements:
            answers.submit(lease_id=lease.public_id, project=project, answer=spoken, key="k", by=lease.annotator)
        assert len(statements) == 6, statements.sql

    def test_a_replay_returns_the_first_answer(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        first = submit(lease, key="k")
        again = submit(lease, key="k")
        assert first.pk == again.pk
        assert Annotation.objects.count() == 1

    @pytest.mark.parametrize(
        "other", [{"name": "no"}, {"name": "skip"}, {"is_flagged": True}, {"comment": "on second thought"}]
    )
    def test_the_same_key_with_another_body_is_refused(self, asked, other):
        lease = leasing.lease(entry=question(project := asked()), annotator=owner_of(project))
        submit(lease, key="k")
        with pytest.raises(Conflict, match="key was used before"):
            submit(lease, key="k", **other)

    def test_the_same_key_for_another_question_is_refused(self, asked):
        project = asked()
        answer(question(project), owner_of(project), key="k")
        with pytest.raises(Conflict, match="key was used before"):
            answer(question(project), owner_of(project), key="k")

    def test_somebody_elses_key_is_refused(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project), key="k")
        with pytest.raises(Conflict, match="key was used before"):
            answer(entry, make_member(project), key="k")

    @pytest.mark.parametrize("key", ["", "x" * 101, "a\x00b"])
    def test_a_key_that_no_database_keeps_is_refused(self, asked, key):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(InvalidInput, match="key"):
            answers.submit(lease_id=lease.public_id, project=project, answer=said(project), key=key, by=lease.annotator)

    def test_a_late_answer_is_stored_uncounted(self, asked, late):
        project = asked()
        entry = question(project)
        lease = leasing.lease(entry=entry, annotator=owner_of(project))
        leasing.expire(entry=entry, now=late)
        spoken = submit(lease, now=late)
        assert (spoken.is_counted, spoken.is_current) == (False, True)
        assert not Gold.objects.exists()
        assert problems(project) == {}

    def test_what_ran_out_counts_while_nobody_else_needed_it(self, asked, late):
        project = asked()
        assert submit(leasing.lease(entry=question(project), annotator=owner_of(project)), now=late).is_counted
        assert problems(project) == {}

    def test_a_late_answer_never_takes_a_counted_ones_place(self, asked, late):
        project = asked()
        entry, olga = question(project), owner_of(project)
        lost = leasing.lease(entry=entry, annotator=olga)
        submit(leasing.lease(entry=entry, annotator=olga, now=late), "yes", now=late)
        spoken = submit(lost, "no")
        assert (spoken.is_counted, spoken.is_current, spoken.revision) == (False, False, 2)
        assert Gold.objects.get().label.name == "yes"

    def test_after_the_round_closed_it_is_stored_uncounted(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert not submit(lease).is_counted
        assert problems(project) == {}

    def test_somebody_elses_lease_is_refused(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(LeaseLost):
            submit(lease, by=make_member(project))

    def test_a_lease_of_another_project_is_refused(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        other = make_project(by=owner_of(project))
        with pytest.raises(LeaseLost):
            answers.submit(lease_id=lease.public_id, project=other, answer=said(other), key="k", by=lease.annotator)

    def test_another_projects_label_is_refused(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(InvalidInput, match="not one of this project's labels"):
            answers.submit(
                lease_id=lease.public_id, project=project, answer=said(make_project()), key="k", by=lease.annotator
            )

    @pytest.mark.parametrize("index", [3, -1])
    def test_an_index_without_a_label_is_refused(self, asked, index):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(InvalidInput, match="no label"):
            answers.submit(
                lease_id=lease.public_id,
                project=project,
                answer=answers.Answer(label=index),
                key="k",
                by=lease.annotator,
            )

    def test_who_was_made_a_viewer_or_removed_answers_no_more(self, asked):
        project = asked()
        ann = make_member(project)
        lease = leasing.lease(entry=question(project), annotator=ann)
        Member.objects.filter(user=ann).update(role=Role.VIEWER)
        with pytest.raises(AccessDenied):
            submit(lease)
        Member.objects.filter(user=ann).delete()
        with pytest.raises(NotFound):
            submit(lease)

    def test_a_price_is_paid_once(self, asked):
        project = asked(human_price_micros=50_000)
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        for name in ("no", "skip", "yes"):
            change(entry, olga, name)
        assert sum(Annotation.objects.values_list("price_micros", flat=True)) == 50_000

    def test_flag_and_comment_are_kept(self, asked):
        project = asked()
        spoken = answer(question(project), owner_of(project), is_flagged=True, comment="odd")
        spoken.refresh_from_db()
        assert (spoken.is_flagged, spoken.comment, spoken.suggestion) == (True, "odd", "hidden")

    @pytest.mark.parametrize("comment", ["x" * 5_001, "a\x00b", "\ud800"])
    def test_a_comment_that_no_database_keeps_is_refused(self, comment):
        with pytest.raises(InvalidInput, match="comment"):
            answers.Answer(skip_reason="unclear", comment=comment)

    def test_the_policy_in_force_is_kept(self, asked):
        project = asked()
        entry = question(project)
        QueueEntry.objects.filter(pk=entry.pk).update(suggestion="shown", is_blind=False)
        spoken = answer(entry, owner_of(project))
        assert (spoken.suggestion, spoken.is_blind) == ("shown", False)


class TestSkip:
    def test_it_gives_the_slot_back(self, asked):
        project = asked()
        ann, entry = make_member(project), question(project)
        answer(entry, ann, "skip")
        assert state_of(entry) == (0, "open")

    def test_skipped_by_everybody_ends_the_question(self, asked):
        project = asked()
        ann, entry = make_member(project), question(project)
        make_member(project, role=Role.VIEWER)
        answer(entry, ann, "skip")
        answer(entry, owner_of(project), "skip")
        assert state_of(entry) == (0, "skipped")

    def test_it_needs_a_known_reason(self):
        with pytest.raises(InvalidInput, match="no reason to skip"):
            answers.Answer(skip_reason="bored")

    def test_it_costs_nothing(self, asked):
        project = asked(human_price_micros=50_000)
        assert answer(question(project), owner_of(project), "skip").price_micros == 0

    def test_it_may_become_an_answer(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        answer(entry, olga, "skip")
        answer(entry, olga)
        assert Gold.objects.get(item=entry.item).label.name == "yes"


class TestPrice:
    def test_an_answer_after_ones_own_release_is_not_paid(self, asked):
        project = asked(human_price_micros=50)
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        leasing.release(project=project, by=lease.annotator, public_ids=[lease.public_id])
        spoken = submit(Lease.objects.get(pk=lease.pk))
        assert (spoken.is_counted, spoken.price_micros) == (False, 0)

    def test_an_answer_that_came_late_is_paid_once(self, asked, late):
        project = asked(human_price_micros=50)
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        leasing.expire(entry=lease.entry, now=late)
        assert submit(lease, now=late).price_micros == 50
        assert submit(lease, "no", now=late).price_micros == 0

    def test_an_answer_to_a_round_that_was_closed_meanwhile_is_paid(self, asked):
        project = asked(human_price_micros=50)
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        spoken = submit(Lease.objects.get(pk=lease.pk))
        assert (spoken.is_counted, spoken.price_micros) == (False, 50)


class TestHistory:
    def test_the_newest_comes_first_with_its_lease(self, asked):
        project = asked()
        olga = owner_of(project)
        leases = [leasing.lease(entry=question(project), annotator=olga)]
        submit(leases[0], "no")
        leases.append(leasing.lease(entry=question(project), annotator=olga))
        submit(leases[1], "skip")
        with Statements() as statements:
            past = answers.history(project=project, by=olga)
            seen = [(p.lease_id, p.annotation.label and p.annotation.label.name) for p in past]
            assert all(p.annotation.entry.item.content.payload["text"] for p in past)
        assert seen == [(leases[1].public_id, None), (leases[0].public_id, "no")]
        assert len(statements) == 1

    def test_a_changed_answer_is_there_once(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        change(entry, olga, "no")
        assert [p.annotation.label.name for p in answers.history(project=project, by=olga)] == ["no"]

    def test_it_holds_ones_own_and_n(self, asked):
        project = asked()
        for _ in range(3):
            answer(question(project), owner_of(project))
        assert answers.history(project=project, by=make_member(project)) == []
        assert len(answers.history(project=project, by=owner_of(project), n=2)) == 2

    def test_a_closed_round_is_history(self, asked):
        project = asked()
        answer(question(project), owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert answers.history(project=project, by=owner_of(project)) == []


class TestDraft:
    def test_it_outlives_its_lease(self, asked, late):
        project = asked()
        entry, olga = question(project), owner_of(project)
        lease = leasing.lease(entry=entry, annotator=olga)
        answers.save_draft(lease=lease, by=olga, label=label(project, "no"), comment="hm")
        leasing.expire(entry=entry, now=late)
        again = leasing.lease(entry=entry, annotator=olga, now=late)
        draft = answers.drafts_of([again], olga)[entry.pk]
        assert (draft.label.name, draft.comment, draft.is_flagged) == ("no", "hm", False)

    def test_the_last_one_stands_and_takes_one_statement(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        answers.save_draft(lease=lease, by=lease.annotator, comment="first")
        with Statements() as statements:
            answers.save_draft(lease=lease, by=lease.annotator, is_flagged=True, comment="second")
        assert [(draft.comment, draft.is_flagged) for draft in Draft.objects.all()] == [("second", True)]
        assert len(statements) == 1

    def test_an_answer_ends_it(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        answers.save_draft(lease=lease, by=lease.annotator, comment="first")
        submit(lease)
        assert not Draft.objects.exists()
        lease.refresh_from_db()
        with pytest.raises(Conflict, match="answered already"):
            answers.save_draft(lease=lease, by=lease.annotator, comment="too late")

    def test_it_is_ones_own(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(LeaseLost):
            answers.save_draft(lease=lease, by=make_user("Sam"), comment="mine")
        answers.save_draft(lease=lease, by=lease.annotator, comment="mine")
        assert answers.drafts_of([lease], make_member(project)) == {}

    def test_a_comment_that_cannot_be_kept_is_refused(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(InvalidInput):
            answers.save_draft(lease=lease, by=lease.annotator, comment="\x00")
