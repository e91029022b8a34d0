"""A prepared query finds what the same queryset finds, whatever people have done before.

Walks over leases and answers make the rows; afterwards every compiled query of the hot path is asked
twice, compiled once and as Django would ask it.
"""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.db import models, transaction
from django.db.models import BigIntegerField, F, IntegerField
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import access, projects
from annotate.errors import GoldloopError
from annotate.labeling import answers, context, queue, slots, suggestions
from annotate.labeling import leases as leasing
from annotate.models import Lease, Project, QueueEntry
from annotate.models.compiled import CompiledQuery, CompiledUpdate
from annotate.models.project import SuggestionPolicy
from tests.annotate.asking import said
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db

START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["next", "yes", "no", "skip", "change", "draft", "reveal", "release", "withdraw"]),
        st.integers(0, 2),  # who
        st.integers(0, 9),  # which of what they hold or held, modulo
        st.integers(0, 1_200),  # seconds that pass: a lease lasts 900
    ),
    max_size=15,
)


def all_of(row, above=()):
    """A row and the rows that hang on it, down to the values; a payload knows its item, which is above it."""
    if not isinstance(row, models.Model):
        return row
    values = {name: value for name, value in vars(row).items() if name != "_state"}
    others = {name: other for name, other in row._state.fields_cache.items() if all(other is not one for one in above)}
    related = {name: all_of(other, (*above, row)) for name, other in others.items()}
    return type(row), values, related, row._state.db, row._state.adding


def same(prepared, *shape, **values):
    found = prepared.objects(*shape, **values)
    assert [all_of(row) for row in found] == [all_of(row) for row in prepared.queryset(*shape, **values)]
    return found


@pytest.fixture
def people(asked):
    project = asked(batch=8, overlap=2, gold_rule="agree_k", agree_k=2)
    policies = [SuggestionPolicy.SHOWN, SuggestionPolicy.REVEALED, SuggestionPolicy.HIDDEN]
    for entry in QueueEntry.objects.filter(round__project=project):
        QueueEntry.objects.filter(pk=entry.pk).update(suggestion=policies[entry.pk % 3])
    return project, [owner_of(project), make_member(project), make_member(project, "Ben", is_trusted=False)]


class TestHotPath:
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    def test_it_finds_the_same(self, people, steps):
        project, persons = people
        now = START
        with transaction.atomic():
            for number, (what, who, which, seconds) in enumerate(steps):
                now += timedelta(seconds=seconds)
                self.step(project, what, persons[who], which, f"key {number}", now)
            for person in persons:
                self.compare(project, person, now)
            transaction.set_rollback(True)

    def step(self, project, what, person, which, key, now):
        leases = list(Lease.objects.filter(annotator=person).order_by("-pk"))
        if what == "next":
            leasing.lease_next(project=project, annotator=person, n=1 + which % 3, now=now)
        if what == "next" or not leases:
            return
        lease = leases[which % len(leases)]
        named = {"lease_id": lease.public_id, "project": project, "by": person, "now": now}
        try:
            with transaction.atomic():
                if what in ("yes", "no", "skip"):
                    answers.submit(answer=said(project, what), key=key, **named)
                elif what == "change":
                    answers.change(answer=said(project, "maybe"), key=key, **named)
                elif what == "draft":
                    answers.save_draft(lease=lease, by=person, comment="half")
                elif what == "reveal":
                    suggestions.reveal(**named)
                elif what == "release":
                    leasing.release(project=project, by=person, public_ids=[lease.public_id], now=now)
                else:
                    type(lease.entry.item).objects.filter(pk=lease.entry.item_id).update(withdrawn_at=now)
        except GoldloopError:
            pass

    def compare(self, project, person, now):
        assert set(queue.answerable(person)) == set(queue.answerable(person, project))
        same(access._MEMBER, slug=project.slug, person=person.pk)
        same(leasing._HELD, person=person.pk, now=now)
        for n in (1, 8):
            same(leasing._FREE, n, project=project.pk, person=person.pk, now=now)
        for lease in Lease.objects.filter(annotator=person).select_related("entry"):
            named = {"slug": project.slug, "person": person.pk, "now": now}
            for index, version in product((-1, 1, 99), (None, 1, 7)):
                assert same(context._QUESTION, lease=lease.public_id, index=index, version=version, **named)
            same(context._ANSWERS, project=project.pk, item=lease.entry.item_id, key="key 0")

    def test_it_finds_nothing_of_others(self, people):
        project, (olga, ann, _) = people
        (lease,) = leasing.lease_next(project=project, annotator=olga)
        named = {"lease": lease.public_id, "index": -1, "version": None, "now": None}
        assert same(context._QUESTION, slug=project.slug, person=olga.pk, **named | {"now": START})
        assert not context._QUESTION.objects(slug=project.slug, person=ann.pk, **named)
        assert not context._QUESTION.objects(slug="elsewhere", person=olga.pk, **named)

    def test_its_clock_is_the_databases(self, people):
        project, (olga, *_) = people
        (lease,) = leasing.lease_next(project=project, annotator=olga)
        question = context.load(lease_id=lease.public_id, project=project, by=olga)
        assert abs(question.now - datetime.now(UTC)) < timedelta(minutes=1)
        assert question.now.tzinfo is not None


class TestUpdates:
    def test_a_slot_is_taken_while_one_is_free(self, people):
        project, (olga, *_) = people
        entry = QueueEntry.objects.filter(round__project=project).first()
        assert [slots.take_for(olga.pk, [entry.pk], n_active=0) for _ in range(3)] == [True, True, False]
        entry.refresh_from_db()
        assert entry.n_taken == 2

    def test_no_slot_is_taken_by_who_has_answered(self, people):
        project, (olga, ann, _) = people
        (lease,) = leasing.lease_next(project=project, annotator=olga)
        answers.submit(lease_id=lease.public_id, project=project, answer=said(project), key="one", by=olga)
        assert not slots.take_for(olga.pk, [lease.entry_id], n_active=1)
        assert slots.take_for(ann.pk, [lease.entry_id], n_active=0)

    def test_an_ended_lease_does_not_end_again(self, people):
        project, (olga, *_) = people
        (lease,) = leasing.lease_next(project=project, annotator=olga, now=START)
        end = {"lease": lease.pk, "outcome": "answered", "schema": projects.current_schema(project).pk}
        assert [answers._END.run(now=START + timedelta(days=day), **end) for day in (1, 2)] == [1, 0]
        lease.refresh_from_db()
        assert (lease.ended_at, lease.outcome) == (START + timedelta(days=1), "answered")

    def test_the_lease_time_is_read_anew(self, people, settings):
        project, (olga, *_) = people
        (lease,) = leasing.lease_next(project=project, annotator=olga, now=START)
        for seconds in (900, 60):
            settings.ANSWER_LEASE_SECONDS = seconds
            leasing.shown(lease_id=lease.public_id, by=olga, now=START)
            lease.refresh_from_db()
            assert lease.expires_at == START + timedelta(seconds=seconds)


class TestPrepared:
    def test_it_compiles_each_shape_once(self, people):
        project, _ = people
        built = []

        def build(n, *, project):
            built.append(n)
            return QueueEntry.objects.filter(round__project=project).order_by("position")[:n]

        prepared = CompiledQuery(build, project=BigIntegerField())
        assert [len(prepared.objects(n, project=project.pk)) for n in (2, 3, 2, 3)] == [2, 3, 2, 3]
        assert built == [2, 3]

    def test_it_takes_each_value_where_it_belongs(self, people):
        prepared = CompiledQuery(
            lambda *, a, b: Project.objects.annotate(b=b, c=F("overlap") + b, a=a), a=IntegerField(), b=IntegerField()
        )
        (project,) = same(prepared, a=10, b=20)
        assert (project.a, project.b, project.c) == (10, 20, 22)

    def test_an_update_says_how_many_rows_it_changed(self, people):
        project, _ = people
        update = CompiledUpdate(
            lambda *, project, n: (QueueEntry.objects.filter(item__project=project), {"overlap": n}),
            project=BigIntegerField(),
            n=IntegerField(),
        )
        assert update.run(project=project.pk, n=4) == QueueEntry.objects.filter(overlap=4).count() == 8
