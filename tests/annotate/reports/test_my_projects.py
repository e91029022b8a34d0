"""The list of projects shows as many questions as *Label* hands out."""

import pytest

from annotate.labeling import leases, workload
from annotate.models.project import Role
from annotate.reports import my_projects
from tests.annotate.asking import answer, submit
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db


def listed(person):
    [standing] = my_projects.standings(person)
    return standing.n_mine


def handed_out(project, person):
    return len(leases.lease_next(project=project, annotator=person, n=20))


def test_a_late_answer_that_was_not_counted_may_be_given_again(asked):
    project = asked()
    olga, ann = owner_of(project), make_member(project)
    [late] = leases.lease_next(project=project, annotator=ann)
    leases.release(project=project, by=ann, public_ids=[late.public_id])
    [taken] = leases.lease_next(project=project, annotator=olga)
    assert not submit(late).is_counted
    assert listed(ann) == 9
    leases.release(project=project, by=olga, public_ids=[taken.public_id])
    assert listed(ann) == workload.remaining(project=project, annotator=ann).n_left == handed_out(project, ann) == 10


def test_what_was_answered_or_skipped_is_not_asked_again(asked):
    project = asked(batch=4, overlap=2)
    olga, ann = owner_of(project), make_member(project)
    entries = project.rounds.get().queue.order_by("position")
    answer(entries[0], ann)
    answer(entries[1], ann, "skip")
    assert (listed(ann), listed(olga)) == (2, 4)


def test_a_viewer_has_nothing_to_answer(asked):
    assert listed(make_member(asked(), role=Role.VIEWER)) == 0
