"""Answers: once per key, one current per person and item; history, drafts, and what may be seen afterwards."""

from datetime import timedelta

import pytest

from annotate import rounds
from annotate.errors import AccessDenied, Conflict, InvalidInput, LeaseLost, NotFound
from annotate.labeling import answers, suggestions
from annotate.labeling import leases as leasing
from annotate.models import Annotation, Draft, Gold, Lease, Member, Prediction, PromptVersion, QueueEntry
from annotate.models.base import database_now
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


@pytest.fixture
def late(settings):
    """A moment when every lease of the next minute has run out."""
    return database_now() + timedelta(seconds=settings.ANSWER_LEASE_SECONDS + 60)


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


class TestSeen:
    """What was seen makes later answers sighted, and an audit keeps the blind one."""

    def seen(self, project, entry, person):
        lease = Lease.objects.filter(entry=entry, annotator=person).latest("pk")
        suggestions.why(lease_id=lease.public_id, project=project, by=person)

    @pytest.mark.parametrize("then", ["no", "skip"])
    def test_the_gold_of_a_blind_question_keeps_the_blind_answer(self, asked, then):
        project = asked()
        make_member(project)
        entry, olga = question(project, Arm.AUDIT), owner_of(project)
        answer(entry, olga, "yes")
        self.seen(project, entry, olga)
        spoken = change(entry, olga, then)
        assert (spoken.is_blind, spoken.is_current) == (False, True)
        assert [(gold.label.name, gold.is_blind) for gold in Gold.objects.current()] == [("yes", True)]
        assert state_of(entry)[1] == "answered"
        assert problems(project) == {}

    def test_a_question_in_sight_follows_the_change(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        QueueEntry.objects.filter(pk=entry.pk).update(suggestion="shown", is_blind=False)
        answer(entry, olga, "yes")
        self.seen(project, entry, olga)
        change(entry, olga, "no")
        assert [(gold.label.name, gold.is_blind) for gold in Gold.objects.current()] == [("no", False)]


class TestWhy:
    def test_it_names_the_arms(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project, Arm.AUDIT), annotator=owner_of(project))
        submit(lease)
        assert suggestions.why(lease_id=lease.public_id, project=project, by=lease.annotator) == ["audit"]

    @pytest.mark.parametrize("before", [None, "skip"])
    def test_not_before_a_label(self, asked, before):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        if before:
            submit(lease, before)
        with pytest.raises(AccessDenied):
            suggestions.why(lease_id=lease.public_id, project=project, by=lease.annotator)
        assert not Lease.objects.filter(revealed_at__isnull=False).exists()

    def test_other_peoples_questions_are_not_found(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(NotFound):
            suggestions.why(lease_id=lease.public_id, project=project, by=make_member(project))


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


class TestLimit:
    def test_the_fifty_first_revision_is_refused(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        for number in range(49):
            change(entry, olga, ("yes", "no")[number % 2])
        with pytest.raises(Conflict, match="50 times"):
            change(entry, olga, "yes")


class TestWhoeverSawTheMachine:
    """An audit asks for an item again whose label its annotator was shown in an earlier round."""

    @pytest.mark.parametrize(("policy", "is_blind"), [("shown", False), ("hidden", True)])
    def test_their_later_answer_is_not_blind(self, asked, policy, is_blind):
        project = asked()
        entry, olga = question(project), owner_of(project)
        QueueEntry.objects.filter(pk=entry.pk).update(suggestion=policy, is_blind=policy != "shown")
        answer(QueueEntry.objects.get(pk=entry.pk), olga)
        rounds.close_round(project=project, by=olga, force=True)
        later = project.rounds.create(index=2, batch=1, shares={}, strategy="margin", seed=1)
        again = QueueEntry.objects.create(round=later, item=entry.item, position=1, overlap=1, is_blind=True)
        assert answer(again, olga).is_blind is is_blind


class TestReveal:
    def ask(self, project, policy, index=1, status="ok"):
        entry, olga = question(project), owner_of(project)
        QueueEntry.objects.filter(pk=entry.pk).update(suggestion=policy, is_blind=policy != "shown")
        prompt = PromptVersion.objects.create(
            project=project, version=1, annotator="a", model="m", schema=project.schemas.get(), sha256="0"
        )
        Prediction.objects.create(item=entry.item, prompt=prompt, status=status, label_index=index)
        return leasing.lease(entry=entry, annotator=olga)

    def reveal(self, lease):
        project = lease.entry.round.project
        return suggestions.reveal(lease_id=lease.public_id, project=project, by=lease.annotator)

    def test_it_comes_after_the_answer(self, asked):
        lease = self.ask(asked(), "revealed")
        with pytest.raises(AccessDenied, match="after your answer, if at all"):
            self.reveal(lease)
        submit(lease)
        assert self.reveal(lease).label.name == "no"
        assert not change(lease.entry, lease.annotator, "no").is_blind

    def test_hidden_is_never_shown(self, asked):
        lease = self.ask(asked(), "hidden")
        submit(lease)
        with pytest.raises(AccessDenied, match="not shown"):
            self.reveal(lease)
        assert not Lease.objects.filter(revealed_at__isnull=False).exists()
        assert suggestions.by_entry(project=lease.entry.round.project, entries=[lease.entry]) == {}

    def test_a_failure_says_which(self, asked):
        lease = self.ask(asked(), "shown", index=None, status="refusal")
        assert self.reveal(lease) == suggestions.Suggestion(None, "refusal")

    def test_an_item_without_an_answer_says_so(self, asked):
        lease = self.ask(asked(), "shown")
        Prediction.objects.all().delete()
        assert self.reveal(lease) == suggestions.Suggestion(None, "never_asked")


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
