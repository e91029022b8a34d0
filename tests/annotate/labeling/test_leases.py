"""A lease: held by one person, shown, renewed, given back, run out, found again by its holder."""

from datetime import timedelta

import pytest

from annotate.errors import AccessDenied, Conflict, LeaseLost, NotFound
from annotate.labeling import leases as leasing
from annotate.models import Lease
from annotate.models.base import database_now
from annotate.models.project import Role
from tests.annotate.asking import (
    Statements,
    answer,
    problems,
    question,
    state_of,
    submit,
    take,
)
from tests.factories import make_member, make_project, make_user, owner_of

pytestmark = pytest.mark.django_db


class TestLease:
    def test_it_never_passes_the_overlap(self, asked):
        project = asked()
        entry = question(project)
        leasing.lease(entry=entry, annotator=owner_of(project))
        with pytest.raises(Conflict, match="Enough people"):
            leasing.lease(entry=entry, annotator=make_member(project))

    def test_an_expired_one_gives_its_slot_back_once(self, asked, late):
        project = asked()
        entry = question(project)
        leasing.lease(entry=entry, annotator=owner_of(project))
        assert leasing.expire(entry=entry, now=late) == 1
        assert leasing.expire(entry=entry, now=late) == 0
        assert state_of(entry) == (0, "open")

    def test_the_same_person_gets_the_same_lease(self, asked):
        project = asked()
        entry = question(project)
        first = leasing.lease(entry=entry, annotator=owner_of(project))
        assert leasing.lease(entry=entry, annotator=owner_of(project)).pk == first.pk

    def test_nobody_answers_twice(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project))
        with pytest.raises(Conflict, match="answered this question already"):
            leasing.lease(entry=entry, annotator=owner_of(project))

    def test_a_viewer_may_not_and_a_stranger_finds_nothing(self, asked):
        project = asked()
        with pytest.raises(AccessDenied):
            leasing.lease(entry=question(project), annotator=make_member(project, role=Role.VIEWER))
        with pytest.raises(NotFound):
            leasing.lease(entry=question(project), annotator=make_user("Sam"))


class TestShown:
    def test_the_first_time_counts_and_each_renews(self, asked, now):
        project = asked()
        olga = owner_of(project)
        (lease,) = take(project, olga, now=now)
        for seconds in (10, 20):
            leasing.shown(lease_id=lease.public_id, by=olga, now=now + timedelta(seconds=seconds))
        before = lease.expires_at
        lease.refresh_from_db()
        assert lease.shown_at == now + timedelta(seconds=10)
        assert lease.expires_at == before + timedelta(seconds=20)

    def test_by_the_databases_clock(self, asked, settings):
        project = asked()
        olga = owner_of(project)
        (lease,) = take(project, olga)
        with Statements() as statements:
            leasing.shown(lease_id=lease.public_id, by=olga)
        lease.refresh_from_db()
        assert lease.expires_at - lease.shown_at == timedelta(seconds=settings.ANSWER_LEASE_SECONDS)
        assert len(statements) == 1

    def test_what_is_lost_says_so(self, asked, late):
        project = asked()
        (lease,) = take(project, owner_of(project))
        leasing.expire(entry=lease.entry, now=late)
        for by in (owner_of(project), make_member(project)):
            with pytest.raises(LeaseLost):
                leasing.shown(lease_id=lease.public_id, by=by)


class TestRenew:
    def test_it_names_what_is_still_held(self, asked, now, settings):
        project = asked()
        olga = owner_of(project)
        first, second, third = take(project, olga, n=3, now=now)
        submit(second)
        later = now + timedelta(seconds=60)
        ids = [lease.public_id for lease in (first, second, third)]
        with Statements() as statements:
            held = leasing.renew(project=project, by=olga, public_ids=ids, shown=first.public_id, now=later)
        assert held == [first.public_id, third.public_id]
        assert len(statements) == 2
        rows = Lease.objects.filter(public_id__in=held).order_by("pk")
        assert [row.shown_at for row in rows] == [later, None]
        assert {row.expires_at for row in rows} == {later + timedelta(seconds=settings.ANSWER_LEASE_SECONDS)}

    def test_by_the_databases_clock(self, asked):
        project = asked()
        (lease,) = take(project, owner_of(project), now=database_now() - timedelta(seconds=60))
        ids = [lease.public_id]
        assert leasing.renew(project=project, by=lease.annotator, public_ids=ids, shown=ids[0]) == ids
        before = lease.expires_at
        lease.refresh_from_db()
        assert lease.shown_at is not None
        assert lease.expires_at > before

    def test_nothing_of_others_and_nothing_late(self, asked, late):
        project = asked()
        (lease,) = take(project, owner_of(project))
        ids = [lease.public_id]
        assert leasing.renew(project=project, by=make_member(project), public_ids=ids) == []
        leasing.expire(entry=lease.entry, now=late)
        assert leasing.renew(project=project, by=owner_of(project), public_ids=ids, now=late) == []


class TestRelease:
    def test_it_gives_slots_back_once(self, asked):
        project = asked()
        olga = owner_of(project)
        held = take(project, olga, n=2)
        ids = [held[0].public_id]
        assert leasing.release(project=project, by=make_member(project), public_ids=ids) == 0
        assert leasing.release(project=project, by=olga, public_ids=ids) == 1
        assert leasing.release(project=project, by=olga, public_ids=ids) == 0
        assert state_of(held[0].entry) == (0, "open")
        assert problems(project) == {}

    def test_all_that_somebody_holds(self, asked):
        project = asked()
        ann = make_member(project)
        take(project, ann, n=3)
        take(project, owner_of(project), n=1)
        assert leasing.release_all(project=project, user=ann) == 3
        assert Lease.objects.filter(ended_at__isnull=True).count() == 1
        assert problems(project) == {}


class TestFindLease:
    def test_ones_own_is_found_after_its_end(self, asked):
        project = asked()
        (lease,) = take(project, owner_of(project))
        submit(lease)
        found = leasing.find_lease(project=project, public_id=lease.public_id, by=owner_of(project))
        assert found == lease

    def test_others_are_not(self, asked):
        project = asked()
        olga = owner_of(project)
        (lease,) = take(project, olga)
        for where, who in ((project, make_member(project)), (make_project(by=olga), olga)):
            with pytest.raises(NotFound):
                leasing.find_lease(project=where, public_id=lease.public_id, by=who)
