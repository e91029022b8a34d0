"""Which questions come next: by position, never past the overlap, those that ran out or were sent ahead move on."""

from datetime import timedelta

import pytest
from django.db import connection

from annotate import items, rounds
from annotate.labeling import leases as leasing
from annotate.labeling import workload
from annotate.models import Draw, Item, Lease, Member, QueueEntry
from annotate.models.base import database_now
from annotate.models.project import Arm, Role
from tests.annotate.asking import (
    Statements,
    answer,
    leave_open,
    problems,
    question,
    state_of,
    submit,
    take,
)
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_items, make_round

pytestmark = pytest.mark.django_db


def positions(leases):
    return [lease.entry.position for lease in leases]


def leave_only(entry):
    QueueEntry.objects.filter(round=entry.round).exclude(pk=entry.pk).update(state=QueueEntry.State.UNRESOLVED)


class TestLeaseNext:
    def test_it_goes_by_position(self, asked):
        project = asked()
        assert positions(take(project, owner_of(project), n=3)) == [1, 2, 3]
        assert positions(take(project, make_member(project), n=2)) == [4, 5]
        assert problems(project) == {}

    def test_a_reload_gets_the_same_ones(self, asked):
        project = asked()
        first = take(project, owner_of(project), n=2)
        assert [lease.pk for lease in take(project, owner_of(project), n=2)] == [lease.pk for lease in first]

    @pytest.mark.parametrize("n", [1, 3])
    def test_two_windows_at_once_hold_together_what_one_would(self, asked, monkeypatch, n):
        """The other window leases between this window's reading and its writing."""
        project, other = asked(), []
        choose, olga = leasing._choose, owner_of(project)

        def choose_second(*wanted):
            chosen = choose(*wanted)
            monkeypatch.setattr(leasing, "_choose", choose)
            other.extend(take(project, olga, n=n))
            return chosen

        monkeypatch.setattr(leasing, "_choose", choose_second)
        assert take(project, olga, n=n) == other
        assert Lease.objects.filter(ended_at__isnull=True).count() == n
        assert problems(project) == {}

    def test_more_than_n_come_back_too(self, asked):
        project = asked()
        first = take(project, owner_of(project), n=3)
        assert take(project, owner_of(project), n=1) == first

    def test_what_is_being_answered_does_not_count(self, asked):
        project = asked()
        olga = owner_of(project)
        first, second = take(project, olga, n=2)
        assert positions(take(project, olga, n=2, done=[first.public_id])) == [2, 3]

    def test_what_is_being_answered_has_a_cap(self, asked):
        project = asked(batch=20)
        olga = owner_of(project)
        done = []
        for _ in range(20):
            done += [lease.public_id for lease in take(project, olga, n=1, done=done)]
        assert len(done) == 8

    def test_one_lease_takes_four_statements_and_its_parts_none(self, asked):
        project = asked()
        take(project, make_member(project))
        olga = owner_of(project)
        with Statements() as statements:
            (lease,) = take(project, olga)
            assert lease.entry.item.content.payload["text"]
            assert lease.entry.round.project == project
        assert len(statements) == 4, statements.sql

    def test_what_is_held_already_takes_one_statement(self, asked):
        project = asked()
        olga = owner_of(project)
        take(project, olga)
        with Statements() as statements:
            (lease,) = take(project, olga)
            assert lease.entry.item.content.payload["text"]
            assert lease.entry.round.project == project
        assert len(statements) == 1, statements.sql

    def test_the_databases_clock_dates_it(self, asked, settings):
        project = asked()
        before = database_now()
        (lease,) = take(project, owner_of(project))
        lease.refresh_from_db()
        assert before <= lease.granted_at <= database_now()
        assert lease.expires_at - lease.granted_at == timedelta(seconds=settings.ANSWER_LEASE_SECONDS)

    def test_what_ran_out_comes_to_the_next_person(self, asked, late):
        project = asked()
        leave_open(project, 1)
        take(project, owner_of(project))
        ann = make_member(project)
        assert take(project, ann) == []
        (lease,) = take(project, ann, now=late)
        assert state_of(lease.entry) == (1, "open")
        assert Lease.objects.get(annotator=owner_of(project)).outcome == Lease.Outcome.EXPIRED
        assert problems(project) == {}

    def test_two_that_ran_out_on_one_question_give_two_slots_back(self, asked, late):
        project = asked(overlap=2)
        entry = question(project)
        for person in (owner_of(project), make_member(project)):
            leasing.lease(entry=entry, annotator=person)
        assert state_of(entry) == (2, "open")
        leave_only(entry)
        (lease,) = take(project, make_member(project), now=late)
        assert lease.entry == entry
        assert state_of(entry) == (1, "open")

    def test_an_expired_one_that_nobody_else_needed_is_still_held(self, asked, late):
        project = asked()
        (first,) = take(project, owner_of(project))
        assert positions(take(project, make_member(project), now=late)) == [2]
        (again,) = take(project, owner_of(project), now=late)
        assert again == first
        assert again.expires_at > late

    def test_answered_and_skipped_ones_do_not_come_again(self, asked):
        project = asked(overlap=2)
        leave_open(project, 3)
        make_member(project)
        olga = owner_of(project)
        for name in ("yes", "skip"):
            submit(take(project, olga)[0], name)
        assert positions(take(project, olga)) == [3]

    def test_a_late_answer_comes_again_while_nobody_else_took_it(self, asked, late):
        project = asked()
        (lease,) = take(project, owner_of(project))
        leasing.expire(entry=lease.entry, now=late)
        assert not submit(lease, now=late).is_counted
        (again,) = take(project, owner_of(project), now=late)
        assert again.entry == lease.entry
        assert submit(again, now=late).is_counted
        assert problems(project) == {}

    def test_withdrawn_items_are_never_handed_out(self, asked):
        project = asked()
        olga = owner_of(project)
        (first,) = take(project, olga)
        items.withdraw(project=project, by=olga, public_ids=[first.entry.item.public_id])
        assert positions(take(project, olga)) == [2]
        # Not even one whose question was left open.
        Item.objects.filter(queue_entries__position=3).update(withdrawn_at=database_now())
        assert positions(take(project, make_member(project), n=2)) == [4, 5]

    def test_a_dispute_does_not_go_to_those_who_disputed(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        (lease,) = take(project, olga)
        submit(lease)
        rounds.close_round(project=project, by=olga, force=True)
        item = lease.entry.item
        again = rounds.draw_round(project=project, batch=5, by=olga)
        again.queue.all().delete()
        again.queue.create(item=item, position=99, overlap=1, is_blind=True)
        Draw.objects.create(project=project, item=item, round=again, arm=Arm.CONFLICT, reason="disputed")
        assert take(project, olga) == []
        assert workload.why_empty(project=project, annotator=olga).kind == "not_for_me"
        assert positions(take(project, ann)) == [99]

    def test_viewers_strangers_and_the_removed_get_nothing(self, asked):
        project = asked()
        ann = make_member(project)
        Member.objects.filter(user=ann).delete()
        for person in (make_member(project, role=Role.VIEWER), make_user("Sam"), ann):
            assert take(project, person) == []

    def test_without_a_round_there_is_nothing(self, asked):
        project = asked()
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert take(project, owner_of(project)) == []

    def test_other_projects_stay_apart(self, asked):
        project = asked()
        assert take(make_project(by=owner_of(project)), owner_of(project)) == []

    def test_near_the_end_nobody_gets_questions_ahead(self, asked):
        project = asked()
        leave_open(project, 5)
        assert len(take(project, owner_of(project), n=3)) == 3  # five free for one person
        assert len(take(project, make_member(project), n=3)) == 1  # two free for two


def plan_of_the_next_question(project, person):
    select = leasing._FREE._statement((6,))
    values = select.arguments({"project": project.pk, "person": person.pk, "now": None})
    with connection.cursor() as cursor:
        # All tables on PostgreSQL: else the plan depends on what was in the others when statistics were last made.
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "ANALYZE annotate_queueentry")
        if connection.vendor == "postgresql":  # so few questions it would read and sort: can it do without?
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' * (connection.vendor == 'sqlite')}{select.sql}", values)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


class TestPlan:
    def test_of_a_round_only_the_first_questions_are_read(self, db):
        """Reading a round of 100,000, to sort it, took PostgreSQL a second for every question."""
        project = make_project()
        current = make_round(project, [])
        items = make_items(project, 900)
        # Most are answered, so that the index of open questions is cheaper than that of all positions.
        QueueEntry.objects.bulk_create(
            QueueEntry(
                round=current, item=item, position=place, overlap=1, is_blind=True,
                n_taken=int(place < 600), state="answered" if place < 600 else "open",
            )
            for place, item in enumerate(items)
        )  # fmt: skip
        plan = plan_of_the_next_question(project, owner_of(project))
        assert "queue_waiting" in plan
        assert "Sort" not in plan and "TEMP B-TREE FOR ORDER" not in plan, plan


class TestTakeOver:
    def test_the_last_one_sent_ahead_moves(self, asked):
        project = asked()
        leave_open(project, 3)
        olga, ann = owner_of(project), make_member(project)
        held = take(project, olga, n=3)
        leasing.shown(lease_id=held[0].public_id, by=olga)
        (lease,) = take(project, ann, n=2)
        assert lease.entry == held[2].entry
        assert lease.entry.item.content.payload["text"]
        assert Lease.objects.get(pk=held[2].pk).outcome == Lease.Outcome.TAKEN_OVER
        assert positions(take(project, olga, n=2)) == [1, 2]
        assert problems(project) == {}

    def test_it_takes_seven_statements(self, asked):
        project = asked()
        leave_open(project, 3)
        take(project, owner_of(project), n=3)
        ann = make_member(project)
        with Statements() as statements:
            take(project, ann)
        assert len(statements) == 7, statements.sql  # two of them look whether something has run out

    def test_its_answer_comes_late(self, asked):
        project = asked()
        leave_open(project, 3)
        held = take(project, owner_of(project), n=3)
        (lease,) = take(project, make_member(project))
        assert not submit(held[2]).is_counted
        assert submit(lease).is_counted
        assert problems(project) == {}

    def test_the_only_one_stays(self, asked):
        project = asked()
        leave_open(project, 1)
        take(project, owner_of(project))
        assert take(project, make_member(project)) == []

    def test_what_was_shown_stays(self, asked):
        project = asked()
        leave_open(project, 3)
        olga = owner_of(project)
        for lease in take(project, olga, n=3):
            leasing.shown(lease_id=lease.public_id, by=olga)
        assert take(project, make_member(project)) == []

    def test_what_is_hoarded_moves_though_it_was_shown(self, asked, now):
        project = asked()
        hoarder, ann = owner_of(project), make_member(project)
        held: list = []
        for _ in range(10):  # more than a page asks for, by claiming that answers are on their way
            held = take(project, hoarder, n=7, now=now)
            take(project, hoarder, n=7, done=[lease.public_id for lease in held], now=now)
        for lease in Lease.objects.all():
            leasing.shown(lease_id=lease.public_id, by=hoarder, now=now)
        assert take(project, ann, now=now) == []
        minutes_later = now + timedelta(minutes=4)
        (taken,) = take(project, ann, now=minutes_later)
        assert Lease.objects.filter(entry=taken.entry, outcome="taken_over").count() == 1
        assert problems(project) == {}

    def test_what_one_has_answered_stays(self, asked):
        project = asked(overlap=2)
        leave_open(project, 2)
        olga, ann, ravi = owner_of(project), make_member(project), make_member(project, "Ravi")
        for entry in project.rounds.get().queue.filter(position__lte=2):
            answer(entry, ann)
            leasing.lease(entry=entry, annotator=olga)
        assert take(project, ann) == []
        assert positions(take(project, ravi)) == [2]
