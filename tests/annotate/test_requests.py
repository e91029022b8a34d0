"""Rounds that are asked for: questions at random among the items that one label is predicted for."""

import pytest

from annotate import projects, rounds, tasks
from annotate.errors import AccessDenied, Conflict, InvalidInput
from annotate.imports import ingest
from annotate.learning import pool
from annotate.models import Draw, Gold, Prediction
from annotate.models.project import Arm
from annotate.reports import round_sizes
from tests.annotate.asking import change_labels, problems
from tests.factories import answer_round, make_member, make_project, owner_of, rows_of, write_jsonl
from tests.rows import make_silver

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    """Forty items; the machine says green of every fourth, else red."""
    project = make_project(labels=("red", "green", "blue"))
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(40))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    items = list(project.items.order_by("ordinal"))
    make_silver(project, items)
    Prediction.objects.filter(item__in=items[::4]).update(label_index=1)
    return project


def label(project, index):
    return projects.labels_of(projects.current_schema(project))[index]


def request(project, index=1, batch=4, by=None):
    return rounds.draw_round(project=project, batch=batch, by=by or owner_of(project), request=label(project, index))


def test_its_questions_are_of_the_stratum_blind_and_weighted(project):
    current = request(project)
    assert {entry.item.ordinal % 4 for entry in current.queue.all()} == {0}
    assert {(draw.arm, draw.pi) for draw in current.draws.all()} == {(Arm.REQUEST, 4 / 10)}
    assert set(current.draws.values_list("reason", flat=True)) == {"asked for: predicted green by delivered version 1"}
    assert set(current.queue.values_list("suggestion", "is_blind")) == {("hidden", True)}
    assert current.shares == {"request": 1.0}
    assert problems(project) == {}


def test_it_joins_a_trains_and_stays_out_of_the_reference_sample(project):
    request(project)
    answer_round(project, "blue")
    rounds.close_round(project=project, by=owner_of(project))
    assert set(Gold.objects.trainable().values_list("origin", flat=True)) == {Arm.REQUEST}
    items = pool.load(project)
    assert pool.is_selected(items, project).sum() == 4
    assert not pool.drawn(items, project, Arm.RANDOM).any()
    assert request(project, batch=40).queue.count() == 6  # what was picked is not asked again
    assert problems(project) == {}


def test_one_that_is_smaller_than_asked_for_says_why(project):
    n = request(project, batch=40).queue.count()
    said = round_sizes.briefly(round_sizes.facts(project, 1), n)
    assert said == (
        "40 questions were asked for, and there are only 10. "
        "The label asked for is predicted for no other item that was not picked before."
    )


def test_one_as_large_as_asked_for_says_nothing(project):
    assert round_sizes.briefly(round_sizes.facts(project, request(project).index), 4) == ""


def test_an_empty_stratum_says_what_to_do(project):
    with pytest.raises(Conflict, match="predicted blue"):
        request(project, index=2)
    assert not project.rounds.exists()


def test_a_label_of_an_earlier_version_is_refused(project):
    old = label(project, 1)
    change_labels(project, ("green", "red", "blue"))
    with pytest.raises(InvalidInput, match="labels in force"):
        rounds.draw_round(project=project, batch=1, by=owner_of(project), request=old)


def test_only_who_manages_may(project):
    with pytest.raises(AccessDenied):
        request(project, by=make_member(project))


class TestRun:
    def parameters(self, project, **given):
        return tasks.prepare(kind="draw", project=project, by=owner_of(project), parameters=given)

    def test_without_a_request_nothing_is_different(self, project):
        assert self.parameters(project, batch=5) == {"batch": 5}

    def test_it_keeps_the_version_that_the_label_counts_in(self, project):
        assert self.parameters(project, batch=5, request=1) == {"batch": 5, "request": 1, "schema": 1}

    def test_a_label_is_one_of_the_project(self, project):
        with pytest.raises(InvalidInput, match="no label 7"):
            self.parameters(project, batch=5, request=7)

    def test_labels_that_change_before_a_worker_comes_are_read_as_they_are_then(self, project):
        change_labels(project, ("green", "red", "blue"))
        assert tasks._requested(project, 1, 1).name == "green"
        change_labels(project, ("red", "blue"))
        with pytest.raises(InvalidInput, match="no label 1"):
            tasks._requested(project, 1, 1)


def test_draws_are_kept_apart_from_the_samples(project):
    request(project)
    assert not Draw.objects.filter(arm__in=(Arm.AUDIT, Arm.RANDOM)).exists()
