"""What a person may see of the machine, when, and that later answers are not blind then."""

import pytest

from annotate import rounds
from annotate.errors import AccessDenied, NotFound
from annotate.labeling import leases as leasing
from annotate.labeling import suggestions, visibility
from annotate.models import Draw, Gold, Lease, Prediction, PromptVersion, QueueEntry, SeenLabel
from annotate.models.project import Arm
from tests.annotate.asking import (
    answer,
    change,
    problems,
    question,
    state_of,
    submit,
)
from tests.factories import make_member, make_project, owner_of

pytestmark = pytest.mark.django_db


class TestSuggestionPolicy:
    """What a question shows is fixed when it is drawn."""

    def test_the_samples_are_hidden_whatever_the_project_says(self, asked):
        policy = {"start": "shown", "active": "shown", "conflict": "shown"}
        project = asked(suggestion_policy=policy)
        assert set(project.rounds.get().queue.values_list("suggestion", "is_blind")) == {("hidden", True)}

    @pytest.mark.parametrize(
        ("arms", "shows"),
        [
            ({"active"}, "shown"),
            ({"active", "start"}, "revealed"),
            ({"active", "start", "conflict"}, "hidden"),
            ({"active", "audit"}, "hidden"),
            ({"gold_check"}, "hidden"),
            ({"imported"}, "hidden"),
        ],
    )
    def test_the_strictest_arm_decides(self, arms, shows):
        policy = {"start": "revealed", "active": "shown", "conflict": "hidden"}
        project = make_project(suggestion_policy=policy)
        assert project.suggestion_for(arms) == shows
        assert project.is_blind(arms) == (shows != "shown")

    def test_an_active_question_has_its_arms_policy(self, asked):
        project = asked(suggestion_policy={"start": "hidden", "active": "revealed", "conflict": "hidden"})
        project.strategy = "random"
        project.save()
        rounds.close_round(project=project, by=owner_of(project), force=True)
        again = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        arms = {}
        for item, arm in Draw.objects.filter(project=project).values_list("item", "arm"):
            arms.setdefault(item, set()).add(arm)
        shown = dict(again.queue.values_list("item", "suggestion"))
        only_active = [item for item, by in arms.items() if by == {"active"} and item in shown]
        assert only_active
        assert {shown[item] for item in only_active} == {"revealed"}
        assert suggestions.by_entry(project=project, entries=list(again.queue.all())).keys() == set(
            again.queue.filter(suggestion="revealed").values_list("pk", flat=True)
        )


class TestSeen:
    """What was seen makes later answers sighted, and an audit keeps the blind one."""

    def seen(self, project, entry, person):
        assert visibility.record_seen(items=[entry.item_id], by=person)

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


def close(project):
    rounds.close_round(project=project, by=owner_of(project), force=True)


def looked():
    return Lease.objects.filter(revealed_at__isnull=False).exists()


class TestWhy:
    def why(self, lease, by=None):
        project = lease.entry.round.project
        return suggestions.why(lease_id=lease.public_id, project=project, by=by or lease.annotator)

    @pytest.mark.parametrize("arm", [Arm.AUDIT, Arm.RANDOM])
    def test_it_names_the_arms_once_the_round_is_closed(self, asked, arm):
        project = asked()
        lease = leasing.lease(entry=question(project, arm), annotator=owner_of(project))
        submit(lease)
        close(project)
        assert self.why(lease) == [arm.value]
        assert looked()

    @pytest.mark.parametrize("before", [None, "skip", "yes"])
    def test_not_while_it_is_open_whatever_was_said(self, asked, before):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        if before:
            submit(lease, before)
        with pytest.raises(AccessDenied, match="opens when the round closes"):
            self.why(lease)
        assert not looked()

    def test_then_it_is_for_those_who_answered(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        submit(lease, "skip")
        close(project)
        with pytest.raises(AccessDenied, match="people who answered"):
            self.why(lease)

    def test_not_while_the_item_is_asked_again_or_disputed(self, asked):
        project = asked(overlap=2)
        entry, ann = question(project, Arm.AUDIT), make_member(project)
        lease = leasing.lease(entry=entry, annotator=owner_of(project))
        submit(lease)
        answer(entry, ann, "no")
        close(project)
        with pytest.raises(AccessDenied, match="opens when the round closes"):
            self.why(lease)  # disputed
        later = project.rounds.create(index=2, batch=1, shares={}, strategy="margin", seed=1)
        QueueEntry.objects.create(round=later, item=entry.item, position=1, overlap=2, is_blind=True)
        with pytest.raises(AccessDenied, match="opens when the round closes"):
            self.why(lease)

    def test_other_peoples_questions_are_not_found(self, asked):
        project = asked()
        lease = leasing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(NotFound):
            self.why(lease, by=make_member(project))


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

    def test_it_opens_when_the_round_closes(self, asked):
        lease = self.ask(asked(), "revealed")
        project, olga = lease.entry.round.project, lease.annotator
        with pytest.raises(AccessDenied, match="opens when the round closes"):
            self.reveal(lease)
        submit(lease)
        with pytest.raises(AccessDenied, match="opens when the round closes"):
            self.reveal(lease)
        close(project)
        [before] = suggestions.past(project=project, by=olga)
        assert (before.may_reveal, before.arms, before.suggestion) == (True, None, None)
        assert self.reveal(lease).label.name == "no"
        assert list(SeenLabel.objects.values_list("user", "item")) == [(olga.pk, lease.entry.item_id)]
        [after] = suggestions.past(project=project, by=olga)
        assert (after.arms, after.suggestion.label.name) == (["random"], "no")

    def test_hidden_is_refused_in_the_same_words_and_never_shown(self, asked):
        lease = self.ask(asked(), "hidden")
        submit(lease)
        with pytest.raises(AccessDenied, match="opens when the round closes"):
            self.reveal(lease)
        close(lease.entry.round.project)
        with pytest.raises(AccessDenied, match="not shown"):
            self.reveal(lease)
        assert not looked()
        assert not SeenLabel.objects.exists()
        assert suggestions.by_entry(project=lease.entry.round.project, entries=[lease.entry]) == {}

    def test_what_was_shown_from_the_start_counts_as_seen_when_the_round_closes(self, asked):
        lease = self.ask(asked(), "shown")
        submit(lease)
        close(lease.entry.round.project)
        assert list(SeenLabel.objects.values_list("user", "item")) == [(lease.annotator_id, lease.entry.item_id)]

    def test_a_failure_says_which(self, asked):
        lease = self.ask(asked(), "shown", index=None, status="refusal")
        assert self.reveal(lease) == suggestions.Suggestion(None, "refusal")

    def test_an_item_without_an_answer_says_so(self, asked):
        lease = self.ask(asked(), "shown")
        Prediction.objects.all().delete()
        assert self.reveal(lease) == suggestions.Suggestion(None, "never_asked")
