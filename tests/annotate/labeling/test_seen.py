"""Who has seen the machine's label of one item, or had it in a file: what becomes of their later answers."""

import pytest

from annotate import items, rounds
from annotate.errors import AccessDenied, NotRecorded
from annotate.labeling import leases, visibility, workload
from annotate.models import Annotation, Gold, SeenLabel
from annotate.models.base import database_now
from annotate.models.project import Arm, Role
from tests.annotate.asking import answer, change, problems, question, take
from tests.factories import make_member, owner_of
from tests.rows import make_silver

pytestmark = pytest.mark.django_db


def member_of(project, user):
    member = project.members.get(user=user)
    member.project = project
    return member


def sees(entry, *people):
    for person in people:
        assert visibility.record_seen(items=[entry.item_id], by=person)


class TestAnswers:
    def test_who_saw_the_label_answers_as_not_blind_and_the_sample_does_not_count_it(self, asked):
        project = asked()
        entry, olga = question(project, Arm.AUDIT), owner_of(project)
        sees(entry, olga)
        assert answer(entry, olga).is_blind is False
        assert not Gold.objects.exists()
        assert problems(project) == {}

    def test_a_change_after_seeing_is_not_blind_and_the_audit_keeps_the_earlier_answer(self, asked):
        project = asked()
        entry, olga = question(project, Arm.AUDIT), owner_of(project)
        answer(entry, olga, "yes")
        sees(entry, olga)
        later = change(entry, olga, "no")
        assert (later.is_blind, later.is_current) == (False, True)
        assert [(gold.label.name, gold.is_blind) for gold in Gold.objects.current()] == [("yes", True)]
        assert problems(project) == {}

    def test_who_saw_another_item_answers_as_blind(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        other = project.items.exclude(pk=entry.item_id).first()
        visibility.record_seen(items=[other.pk], by=olga)
        visibility.record_seen(items=[entry.item_id], by=make_member(project))
        assert answer(entry, olga).is_blind


class TestWhoIsAsked:
    def test_an_item_goes_to_somebody_who_has_not_seen_it(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        sees(entry, olga)
        n = project.rounds.get().queue.count()
        assert workload.remaining(project=project, annotator=olga).n_left == n - 1
        assert entry.pk not in [lease.entry_id for lease in take(project, olga, 3)]
        assert [lease.entry_id for lease in take(project, ann)] == [entry.pk]

    def test_where_everybody_has_seen_it_they_are_asked(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        sees(entry, olga, ann)
        assert [lease.entry_id for lease in take(project, olga)] == [entry.pk]

    def test_who_holds_it_already_keeps_it(self, asked):
        project = asked()
        make_member(project)
        [lease] = take(project, owner_of(project))
        sees(lease.entry, owner_of(project))
        assert [one.pk for one in take(project, owner_of(project))] == [lease.pk]

    def test_a_question_that_is_not_blind_is_asked_of_anybody(self, asked):
        project = asked()
        make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        project.rounds.get().queue.update(is_blind=False, suggestion="shown")
        sees(entry, owner_of(project))
        assert [lease.entry_id for lease in take(project, owner_of(project))] == [entry.pk]

    def test_who_cannot_answer_any_more_is_nobody_to_leave_it_to(self, asked):
        project = asked(overlap=2)
        olga, ann = owner_of(project), make_member(project)
        entry = project.rounds.get().queue.order_by("position").first()
        answer(entry, ann)
        sees(entry, olga)
        assert [lease.entry_id for lease in take(project, olga)] == [entry.pk]
        leases.release_all(project=project, user=olga)
        make_member(project, "Ben")
        assert [lease.entry_id for lease in take(project, olga)] != [entry.pk]


class TestSingleItems:
    def test_an_owner_who_reads_the_api_answers_as_not_blind(self, asked):
        """Not of an open item: that is refused. Of any other it is recorded, and the later answer is not blind."""
        project = asked()
        olga = member_of(project, owner_of(project))
        entry = question(project, Arm.AUDIT)
        with pytest.raises(AccessDenied, match="withheld"):
            visibility.require_label(entry.item, olga)
        rounds.close_round(project=project, by=olga.user, force=True)
        visibility.require_label(entry.item, olga)
        later = project.rounds.create(index=2, batch=1, shares={}, strategy="margin", seed=1)
        again = later.queue.create(item=entry.item, position=1, overlap=1, is_blind=True)
        assert answer(again, olga.user).is_blind is False
        assert not Gold.objects.filter(is_blind=True).exists()
        assert problems(project) == {}

    def test_viewers_see_it_and_are_recorded_for_the_day_when_they_answer(self, asked):
        project = asked()
        vera = member_of(project, make_member(project, role=Role.VIEWER))
        item = question(project).item
        make_silver(project, [item])
        assert visibility.look(item, vera).machines
        assert SeenLabel.objects.filter(user=vera.user, item=item).exists()

    def test_without_a_record_no_label(self, asked, unwritable):
        project = asked()
        olga = member_of(project, owner_of(project))
        item = project.items.exclude(pk__in=project.rounds.get().queue.values("item")).first()
        make_silver(project, [item])
        unwritable(SeenLabel)
        assert visibility.sight(item, olga).machines
        assert not visibility.look(item, olga).machines
        with pytest.raises(NotRecorded):
            visibility.require_label(item, olga)

    @pytest.mark.parametrize(
        ("said", "is_kept"),
        [
            ({"gpt_label": "x"}, False),
            ({"data.score": 3}, False),
            ({"anything": "YES"}, False),
            ({"nested": {"inner": ["no"]}}, False),
            ({"nested": {"yes": 0.2}}, False),
            ({"sure": 0.93}, False),
            ({"sure": "0.93"}, False),
            ({"source": "shop", "year": 2024, "stars": 4.5, "page": "1"}, True),
        ],
    )
    def test_metadata_that_may_tell_of_a_label_is_withheld_and_nothing_else(self, asked, said, is_kept):
        from annotate import labels

        assert visibility.without_labels(said, labels.current(asked())) == (said if is_kept else {})

    def test_a_search_for_machine_labels_finds_no_open_item(self, asked):
        project = asked()
        entry = question(project)
        other = project.items.exclude(pk__in=project.rounds.get().queue.values("item")).first()
        make_silver(project, [entry.item, other])
        for may_be_asked, found in ((True, [other.pk]), (False, sorted([entry.item_id, other.pk]))):
            wanted = items.Search(has=frozenset({"silver"}), may_be_asked=may_be_asked)
            assert sorted(one.pk for one in items.search(project=project, wanted=wanted).items) == found


class TestVerify:
    def test_it_sees_a_blind_answer_of_somebody_who_had_seen_the_label(self, asked):
        project = asked()
        entry, olga = question(project), owner_of(project)
        sees(entry, olga)
        SeenLabel.objects.update(at=database_now().replace(year=2020))
        row = answer(entry, olga)
        assert problems(project) == {}
        Annotation.objects.filter(pk=row.pk).update(is_blind=True)
        assert row.public_id in problems(project)["who saw a label answers as not blind"]
