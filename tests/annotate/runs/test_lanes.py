"""Who is next in a lane, and that no project fills one."""

import pytest

from annotate.models import Run
from annotate.runs import lanes, lifecycle
from tests.factories import make_project, owner_of

pytestmark = pytest.mark.django_db


def queued(project, kind="close", queue="io"):
    return Run.objects.create(project=project, kind=kind, queue=queue, started_by=owner_of(project))


def test_a_lane_gives_nothing_of_another():
    run = queued(make_project(), queue="llm")
    assert lifecycle.claim_next(["io", "ml"]) is None
    assert lifecycle.claim_next(["llm"]) == run


def test_the_project_with_less_at_work_goes_first():
    busy, other = make_project(), make_project()
    runs = [queued(busy), queued(busy, "import"), queued(other)]
    assert lifecycle.claim_next(["io"]) == runs[0]
    assert lifecycle.claim_next(["io"]) == runs[2]
    assert lifecycle.claim_next(["io"]) == runs[1]


def test_work_in_another_lane_does_not_count():
    project, other = make_project(), make_project()
    queued(project, "train", "ml")
    lifecycle.claim_next(["ml"])
    first, _second = queued(project), queued(other)
    assert lifecycle.claim_next(["io"]) == first


def test_one_place_is_left_for_others():
    project, most = make_project(), lanes.most_of_a_project(2)
    first, second = queued(project), queued(project, "import")
    assert lifecycle.claim_next(["io"], most_of_a_project=most) == first
    assert lifecycle.claim_next(["io"], most_of_a_project=most) is None
    other = queued(make_project())
    assert lifecycle.claim_next(["io"], most_of_a_project=most) == other
    Run.objects.filter(pk=first.pk).update(state=Run.State.SUCCEEDED, finished_at=first.created_at)
    assert lifecycle.claim_next(["io"], most_of_a_project=most) == second


def test_a_lane_with_one_place_gives_it_to_anybody():
    assert lanes.most_of_a_project(1) == 1


def test_a_run_knows_how_many_are_before_it():
    first, second = queued(make_project()), queued(make_project())
    queued(make_project(), queue="llm")
    assert (lanes.n_before(first), lanes.n_before(second)) == (0, 1)
