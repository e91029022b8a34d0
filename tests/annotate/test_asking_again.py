"""What a change of labels made void in the samples is asked again: first, blind, without a new draw, origin kept."""

import pytest
from django.db.models import Q

from annotate import projects, rounds
from annotate.models import Draw, Gold
from annotate.models.project import Arm
from tests.annotate.asking import answer, change_labels, problems
from tests.factories import answer_round, owner_of

pytestmark = pytest.mark.django_db

NO_BLUE = ("red", "green")


def sample(project, arm):
    """Items of the sample in its order."""
    drawn = Draw.objects.filter(project=project, arm=arm).select_related("item")
    return [draw.item for draw in sorted(drawn, key=lambda draw: draw.item.prn, reverse=arm == Arm.RANDOM)]


@pytest.fixture
def project(asked):
    """Ten questions, answered: of each sample the first and the third item are blue, which then is retired."""
    project = asked(batch=20, labels=("red", "green", "blue"), audit_target=4, reference_target=16)
    audit, reference = sample(project, Arm.AUDIT), sample(project, Arm.RANDOM)
    assert (len(audit), len(reference)) == (4, 16)
    blue = {audit[0], audit[2], reference[0], reference[2]}
    for entry in project.rounds.get().queue.all():
        answer(entry, owner_of(project), "blue" if entry.item in blue else "red")
    rounds.close_round(project=project, by=owner_of(project))
    change_labels(project, NO_BLUE)
    return project


def draw(project, batch):
    return rounds.draw_round(project=project, batch=batch, by=owner_of(project))


def close(project, **more):
    rounds.close_round(project=project, by=owner_of(project), **more)


def void(project):
    return {row.item for row in Gold.objects.current().filter(label__name="blue")}


def cutoffs(project):
    schema = projects.current_schema(project)
    return schema.audit_cutoff, schema.reference_cutoff


def test_they_are_asked_though_the_targets_are_met_and_no_draw_is_made(project):
    before = set(Draw.objects.values_list("pk", flat=True))
    asked = {entry.item for entry in draw(project, 20).queue.all()}
    assert asked == void(project)
    assert set(Draw.objects.values_list("pk", flat=True)) == before


def test_they_are_blind(project):
    current = draw(project, 20)
    assert not current.queue.filter(~Q(suggestion="hidden") | Q(is_blind=False)).exists()


def test_within_the_shares_they_come_in_the_order_of_their_sample(project):
    audit, reference = sample(project, Arm.AUDIT), sample(project, Arm.RANDOM)
    # A quarter and a tenth of 5: one audited item, and round(0.5) = 0 of the reference sample.
    assert {entry.item for entry in draw(project, 5).queue.all()} == {audit[0]}
    answer_round(project, "green")
    close(project)
    assert {entry.item for entry in draw(project, 6).queue.all()} == {audit[2], reference[0]}


def test_the_new_gold_takes_the_place_of_the_void_one_and_keeps_its_origin(project):
    origins = {row.item_id: row.origin for row in Gold.objects.current().filter(label__name="blue")}
    draw(project, 20)
    answer_round(project, "green")
    assert not Gold.objects.current().filter(label__name="blue").exists()
    now = {row.item_id: row.origin for row in Gold.objects.current().filter(label__name="green")}
    assert now == origins
    assert set(origins.values()) == {Arm.AUDIT, Arm.RANDOM}
    assert Gold.objects.filter(is_current=False, label__name="blue").count() == 4
    assert problems(project) == {}


def test_a_sample_is_complete_further_when_the_round_closes(project):
    audit, reference = sample(project, Arm.AUDIT), sample(project, Arm.RANDOM)
    assert cutoffs(project)[0] < audit[0].prn
    draw(project, 6)  # two audited items (1.5 is rounded to 2), one of the reference sample
    answer_round(project, "green")
    assert cutoffs(project)[0] < audit[0].prn
    close(project)
    low, high = cutoffs(project)
    assert low is None
    assert reference[2].prn < high <= reference[1].prn
    assert problems(project) == {}


def test_who_stays_without_an_answer_no_longer_holds_the_sample_up_and_is_asked_once_more(project):
    asked = {entry.item for entry in draw(project, 20).queue.all()}
    close(project, force=True)
    assert cutoffs(project) == (None, None)
    assert {entry.item for entry in draw(project, 20).queue.all()} == asked
    answer_round(project, "green")
    close(project)
    assert not void(project)
    assert problems(project) == {}


def test_what_was_skipped_again_is_not_asked_any_more(project):
    for entry in draw(project, 20).queue.all():
        answer(entry, owner_of(project), "skip")
    close(project, force=True)  # who is alone is asked once more what they skipped
    with pytest.raises(rounds.Conflict, match="samples of"):
        draw(project, 20)
    assert problems(project) == {}


def test_an_old_skip_of_somebody_else_does_not_hide_it(asked):
    from tests.factories import make_member

    project = asked(batch=20, labels=("red", "green", "blue"), audit_target=4, reference_target=16)
    ann, entry = make_member(project), project.rounds.get().queue.first()
    answer(entry, ann, "skip")
    answer_round(project, "blue")
    close(project)
    change_labels(project, NO_BLUE)
    assert draw(project, 200).queue.filter(item=entry.item).exists()


def test_other_void_gold_is_not_asked_again(project):
    project.draws.filter(arm=Arm.AUDIT).delete()
    Draw.objects.filter(arm=Arm.RANDOM).update(arm=Arm.ACTIVE)
    with pytest.raises(rounds.Conflict):
        draw(project, 1)
