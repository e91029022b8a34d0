"""Answers: once per key, one current per person and item, gold by the rule."""

from datetime import timedelta

import pytest

from annotate import ingest, labeling, projects, routing, sampling
from annotate.errors import AccessDenied, Conflict, InvalidInput, LeaseLost, NotFound
from annotate.models import Annotation, Draw, Gold, Label, QueueEntry
from annotate.models.base import database_now
from annotate.models.project import Arm, Role
from tests.factories import make_member, make_project, make_user, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(tmp_path):
    """A project with an open round of ten questions."""

    def make(**settings):
        project = make_project(**settings)
        ingest.import_items(
            project=project, path=write_jsonl(tmp_path / "items.jsonl", rows_of(60)), by=owner_of(project)
        )
        sampling.draw_round(project=project, batch=10, by=owner_of(project))
        return project

    return make


def question(project, arm=Arm.RANDOM):
    drawn = Draw.objects.filter(project=project, arm=arm).values("item")
    return QueueEntry.objects.filter(round__project=project, item__in=drawn, state=QueueEntry.State.OPEN).first()


def label(project, name="yes"):
    return Label.objects.get(schema=projects.current_schema(project), name=name)


def answer(entry, person, name="yes", key=None, now=None):
    lease = routing.lease(entry=entry, annotator=person)
    return labeling.submit(
        lease=lease,
        answer=labeling.Answer(label=label(entry.round.project, name)),
        key=key or f"{entry.pk}:{person.pk}:{name}",
        by=person,
        now=now,
    )


def skip(entry, person):
    lease = routing.lease(entry=entry, annotator=person)
    return labeling.submit(
        lease=lease, answer=labeling.Answer(skip_reason="unclear"), key=f"skip {entry.pk} {person.pk}", by=person
    )


class TestSubmit:
    def test_it_stores_one_answer_and_its_gold(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, owner_of(project))
        gold = Gold.objects.get(item=entry.item)
        assert (gold.label.name, gold.origin, gold.is_blind) == ("yes", Arm.RANDOM, True)

    def test_a_replay_returns_the_first_answer(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        lease = routing.lease(entry=entry, annotator=olga)
        said = labeling.Answer(label=label(project))
        first = labeling.submit(lease=lease, answer=said, key="k", by=olga)
        again = labeling.submit(lease=lease, answer=said, key="k", by=olga)
        assert first.pk == again.pk
        assert Annotation.objects.count() == 1

    def test_the_same_key_with_another_body_is_refused(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        lease = routing.lease(entry=entry, annotator=olga)
        labeling.submit(lease=lease, answer=labeling.Answer(label=label(project)), key="k", by=olga)
        with pytest.raises(Conflict, match="key was used before"):
            labeling.submit(lease=lease, answer=labeling.Answer(label=label(project, "no")), key="k", by=olga)

    def test_a_late_answer_is_stored_uncounted(self, asked, settings):
        project = asked()
        entry, olga = question(project), owner_of(project)
        lease = routing.lease(entry=entry, annotator=olga)
        late = database_now() + timedelta(seconds=settings.ANSWER_LEASE_SECONDS + 1)
        said = labeling.submit(lease=lease, answer=labeling.Answer(label=label(project)), key="k", by=olga, now=late)
        assert not said.is_counted
        assert not Gold.objects.exists()

    def test_somebody_elses_lease_is_refused(self, asked):
        project = asked()
        lease = routing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(LeaseLost):
            labeling.submit(lease=lease, answer=labeling.Answer(label=label(project)), key="k", by=make_member(project))

    def test_another_projects_label_is_refused(self, asked):
        project = asked()
        other = make_project()
        lease = routing.lease(entry=question(project), annotator=owner_of(project))
        with pytest.raises(InvalidInput, match="not one of this project's labels"):
            labeling.submit(lease=lease, answer=labeling.Answer(label=label(other)), key="k", by=owner_of(project))

    def test_a_price_is_paid_once(self, asked):
        project = asked(human_price_micros=50_000)
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        labeling.change(entry=entry, answer=labeling.Answer(label=label(project, "no")), key="2", by=olga)
        assert sum(Annotation.objects.values_list("price_micros", flat=True)) == 50_000


class TestLease:
    def test_it_never_passes_the_overlap(self, asked):
        project = asked()
        entry = question(project)
        routing.lease(entry=entry, annotator=owner_of(project))
        with pytest.raises(Conflict, match="Enough people"):
            routing.lease(entry=entry, annotator=make_member(project))

    def test_an_expired_one_gives_its_slot_back_once(self, asked, settings):
        project = asked()
        entry = question(project)
        routing.lease(entry=entry, annotator=owner_of(project))
        late = database_now() + timedelta(seconds=settings.ANSWER_LEASE_SECONDS + 1)
        assert routing.expire(entry=entry, now=late) == 1
        assert routing.expire(entry=entry, now=late) == 0
        entry.refresh_from_db()
        assert entry.n_taken == 0

    def test_the_same_person_gets_the_same_lease(self, asked):
        project = asked()
        entry = question(project)
        first = routing.lease(entry=entry, annotator=owner_of(project))
        assert routing.lease(entry=entry, annotator=owner_of(project)).pk == first.pk

    def test_nobody_answers_twice(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project))
        with pytest.raises(Conflict, match="answered this question already"):
            routing.lease(entry=entry, annotator=owner_of(project))

    def test_a_viewer_may_not_and_a_stranger_finds_nothing(self, asked):
        project = asked()
        with pytest.raises(AccessDenied):
            routing.lease(entry=question(project), annotator=make_member(project, role=Role.VIEWER))
        with pytest.raises(NotFound):
            routing.lease(entry=question(project), annotator=make_user("Sam"))


class TestChange:
    def test_the_earlier_answer_stays_as_a_revision(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        labeling.change(entry=entry, answer=labeling.Answer(label=label(project, "no")), key="2", by=olga)
        rows = Annotation.objects.filter(item=entry.item).order_by("revision")
        assert [(row.label.name, row.is_current) for row in rows] == [("yes", False), ("no", True)]

    def test_gold_follows_and_stays_single(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        labeling.change(entry=entry, answer=labeling.Answer(label=label(project, "no")), key="2", by=olga)
        assert [gold.label.name for gold in Gold.objects.current()] == ["no"]

    def test_after_the_round_closed_answers_stand(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        answer(entry, olga)
        sampling.close_round(project=project, by=olga, force=True)
        entry.round.refresh_from_db()
        with pytest.raises(Conflict, match="closed"):
            labeling.change(entry=entry, answer=labeling.Answer(label=label(project, "no")), key="2", by=olga)


class TestGoldRule:
    def test_one_trusted_needs_somebody_trusted(self, asked):
        project = asked()
        entry = question(project)
        answer(entry, make_member(project, is_trusted=False))
        entry.refresh_from_db()
        assert entry.state == QueueEntry.State.ANSWERED
        assert not Gold.objects.exists()

    def test_it_waits_for_the_overlap(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project))
        assert not Gold.objects.exists()
        answer(entry, make_member(project))
        assert Gold.objects.count() == 1

    def test_two_trusted_who_disagree_give_none(self, asked):
        project = asked(overlap=2)
        entry = question(project)
        answer(entry, owner_of(project))
        answer(entry, make_member(project), "no")
        assert not Gold.objects.exists()

    def test_agree_k_counts_heads(self, asked):
        project = asked(overlap=3, gold_rule="agree_k", agree_k=2)
        entry = question(project)
        for person, name in ((owner_of(project), "no"), (make_member(project), "yes"), (make_member(project), "no")):
            answer(entry, person, name)
        assert Gold.objects.get().label.name == "no"

    def test_what_an_audit_draw_obtained_never_trains(self, asked):
        project = asked()
        answer(question(project, Arm.AUDIT), owner_of(project))
        assert Gold.objects.get().origin == Arm.AUDIT
        assert not Gold.objects.trainable().exists()


class TestSkip:
    def test_it_gives_the_slot_back(self, asked):
        project = asked()
        ann = make_member(project)
        entry = question(project)
        skip(entry, ann)
        entry.refresh_from_db()
        assert (entry.n_taken, entry.state) == (0, QueueEntry.State.OPEN)

    def test_skipped_by_everybody_ends_the_question(self, asked):
        project = asked()
        ann = make_member(project)
        entry = question(project)
        skip(entry, ann)
        skip(entry, owner_of(project))
        entry.refresh_from_db()
        assert entry.state == QueueEntry.State.SKIPPED

    def test_it_needs_a_known_reason(self):
        with pytest.raises(InvalidInput, match="no reason to skip"):
            labeling.Answer(skip_reason="bored")

    def test_it_costs_nothing(self, asked):
        project = asked(human_price_micros=50_000)
        assert skip(question(project), owner_of(project)).price_micros == 0

    def test_it_may_become_an_answer_but_not_the_other_way_round(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        make_member(project)
        skip(entry, olga)
        answer(entry, olga)
        assert Gold.objects.get(item=entry.item).label.name == "yes"
        with pytest.raises(Conflict, match="cannot become a skip"):
            labeling.change(entry=entry, answer=labeling.Answer(skip_reason="unclear"), key="back", by=olga)
