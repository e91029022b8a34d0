"""The page about models: versions, which is in use and why, the curve, Ĉ."""

import re

import pytest
from django.urls import reverse

from annotate.models import ModelVersion
from annotate.models.project import Role
from annotate.reports import model_versions
from annotate.web.training import learning_curve
from models_ml.intervals import wilson
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_finished_round, make_model, make_run

pytestmark = pytest.mark.django_db


def page(client, project, **headers):
    return client.get(reverse("training-show", args=[project.slug]), **headers)


def trained(project, version, n_gold, accuracy, n=50, **facts):
    model = make_model(project, version=version, is_champion=False)
    model.metrics = {"n_gold": n_gold, "n_silver": 5, "n_reference": n, "reference_accuracy": accuracy, **facts}
    model.save()
    return model


def test_without_a_model_it_says_what_to_do(signed_in):
    project = make_project()
    assert "No model was trained yet" in page(signed_in(owner_of(project)), project).content.decode()


def test_intervals_are_wilsons_and_no_reference_is_no_figure():
    project = make_project()
    trained(project, 1, 10, None, n=0)
    trained(project, 2, 20, 0.8)
    without, with_one = model_versions.versions(project)
    assert (without.value, without.low, without.high) == (None, None, None)
    assert (with_one.low, with_one.high) == wilson(40, 50)


def test_the_curve_goes_by_gold_and_needs_two_amounts_of_it():
    project = make_project()
    trained(project, 1, 10, 0.7)
    assert learning_curve(model_versions.versions(project)) is None
    trained(project, 2, 40, 0.9)
    curve = learning_curve(model_versions.versions(project))
    first, second = curve.lines[0].points
    assert (first.x < second.x, first.y > second.y) == (True, True)
    assert [tick.text for tick in curve.x_ticks] == ["10", "40"]


def test_why_a_version_took_over_or_did_not_is_said(signed_in):
    project = make_project()
    trained(project, 1, 10, 0.7, won_by="first")
    kept = trained(project, 2, 10, 0.7, log_loss_here=0.9, incumbent_log_loss_here=0.5)
    ModelVersion.objects.filter(version=1).update(is_champion=True)
    text = page(signed_in(owner_of(project)), project).content.decode()
    assert "it was the first" in text
    assert "the one before it was kept" in text
    assert f"Model {kept.version} was trained last and did not take its place." in text
    assert "0.900 against 0.500" in text


def test_only_who_manages_can_start_one(signed_in):
    project = make_project()
    make_finished_round(project)
    viewer = signed_in(make_member(project, role=Role.VIEWER))
    assert 'value="train"' not in page(viewer, project).content.decode()
    assert 'value="train"' in page(signed_in(owner_of(project)), project).content.decode()


def test_it_shows_the_training_under_way(signed_in):
    project = make_project()
    run = make_run(project, kind="train", state="running")
    assert f"run-{run.public_id}" in page(signed_in(owner_of(project)), project).content.decode()


def test_as_a_fragment_it_is_only_itself(signed_in):
    project = make_project()
    text = page(signed_in(owner_of(project)), project, HTTP_HX_REQUEST="true").content.decode()
    assert re.match(r"\s*<div id=\"training\"", text)


def test_the_number_of_queries_does_not_grow(signed_in, django_assert_max_num_queries):
    project = make_project()
    for version in range(1, 30):
        trained(project, version, version, 0.5)
    client = signed_in(owner_of(project))
    with django_assert_max_num_queries(16):
        page(client, project)


class TestMethods:
    def test_what_a_project_lacks_is_said_and_cannot_be_chosen(self, signed_in):
        project = make_project()
        text = page(signed_in(owner_of(project)), project).content.decode()
        assert 'value="gold-only" aria-describedby="about-gold-only" disabled' in text
        assert "It needs gold labels. This project has none yet." in text

    def test_a_choice_goes_into_the_run(self, signed_in):
        project = make_project()
        make_finished_round(project)
        chosen = {"kind": "train", "method": "cross-entropy", "cross-entropy.l2": "3", "corrected.l2": "9"}
        assert signed_in(owner_of(project)).post(reverse("runs-start", args=[project.slug]), chosen).status_code == 303
        assert project.runs.get().parameters == {"method": "cross-entropy", "parameters": {"l2": 3.0}}

    @pytest.mark.parametrize(
        "wrong", [{"method": "magic"}, {"method": "corrected", "corrected.l2": "-1"}, {"method": "gold-only"}]
    )
    def test_what_cannot_be_is_refused_before_it_runs(self, signed_in, wrong):
        project = make_project()
        done = signed_in(owner_of(project)).post(reverse("runs-start", args=[project.slug]), {"kind": "train", **wrong})
        assert done.status_code in (409, 422)
        assert not project.runs.exists()
