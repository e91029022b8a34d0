"""Which version becomes the champion, and what a training may see."""

import pytest

from annotate import rounds
from annotate.errors import Conflict, InvalidInput
from annotate.imports import ingest
from annotate.learning import artefacts, champion, pool, training
from annotate.models import Gold
from annotate.models.project import Arm
from annotate.reports import model_versions
from models_ml.training import crossfit
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    """90 pre-labeled items, one closed round of 30."""
    project = make_project()
    rows = [{**row, "machine": "yes"} for row in rows_of(90)]
    path = write_jsonl(tmp_path / "items.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="machine")
    play_round(project)
    return project


def play_round(project):
    rounds.draw_round(project=project, batch=30, by=owner_of(project))
    answer_round(project)
    rounds.close_round(project=project, by=owner_of(project))


def train(project, **options):
    return training.train(project=project, by=owner_of(project), **options)


class TestChampion:
    @pytest.mark.portable
    def test_the_first_version_is(self, project):
        assert train(project).is_champion

    def test_one_that_saw_more_gold_takes_its_place(self, project):
        first = train(project)
        play_round(project)
        second = train(project)
        first.refresh_from_db()
        assert (first.is_champion, second.is_champion) == (False, True)
        assert second.metrics["log_loss_here"] is not None

    @pytest.mark.portable
    def test_the_same_again_is_a_tie_and_keeps_the_incumbent(self, project):
        first, second = train(project), train(project)
        first.refresh_from_db()
        assert (first.is_champion, second.is_champion) == (True, False)

    @pytest.mark.portable
    def test_other_settings_with_more_gold_must_have_the_lower_log_loss(self, project, monkeypatch):
        train(project)
        play_round(project)
        monkeypatch.setattr(champion, "_reference_loss", lambda version, *_: 0.5)  # a tie keeps the incumbent
        assert not train(project, parameters={"l2": 30.0}).is_champion

    @pytest.mark.portable
    def test_where_the_silver_changed_the_new_version_takes_over_and_says_why(self, project):
        first = train(project)
        project.model_versions.update(prompt=None)
        second = train(project)
        first.refresh_from_db()
        assert (first.is_champion, second.is_champion) == (False, True)
        assert second.metrics["won_by"] == "other_labels"

    @pytest.mark.portable
    @pytest.mark.parametrize(("loss", "wins"), [(0.1, True), (9.0, False)])
    def test_another_method_must_have_the_lower_log_loss(self, project, monkeypatch, loss, wins):
        train(project)
        play_round(project)
        losses = {"cross_entropy": loss, "corrected": 0.5}
        monkeypatch.setattr(champion, "_reference_loss", lambda version, *_: losses[version.config.method])
        assert train(project, method="cross-entropy").is_champion == wins


class TestSnapshot:
    def test_it_holds_no_gold_that_only_the_audit_obtained(self, project):
        snapshot, facts = training.take_snapshot(project, _vectors(project))
        trained = set(facts["ordinal"][snapshot.gold >= 0])
        audited = set(Gold.objects.filter(origin=Arm.AUDIT).values_list("item__ordinal", flat=True))
        assert trained
        assert audited
        assert not trained & audited

    def test_the_reference_sample_is_blind_gold_of_the_reference_arm(self, project):
        Gold.objects.filter(origin=Arm.RANDOM).update(is_blind=False)
        snapshot, _ = training.take_snapshot(project, _vectors(project))
        assert not snapshot.reference.any()

    def test_the_silver_of_audit_items_trains(self, project):
        snapshot, facts = training.take_snapshot(project, _vectors(project))
        audited = pool.load(project).mask(Gold.objects.filter(origin=Arm.AUDIT).values_list("item_id", flat=True))
        assert (snapshot.silver[audited] >= 0).all()


def _vectors(project):
    from annotate import vectors

    return vectors.vectors_of(project)


class TestRefusals:
    def test_an_empty_project(self):
        with pytest.raises(Conflict, match="no items"):
            train(make_project())

    def test_nothing_to_learn_from(self, tmp_path):
        project = make_project()
        ingest.import_items(
            project=project, path=write_jsonl(tmp_path / "items.jsonl", rows_of(9)), by=owner_of(project)
        )
        with pytest.raises(Conflict, match="neither silver nor gold"):
            train(project)

    @pytest.mark.portable
    def test_an_unknown_method(self, project):
        with pytest.raises(InvalidInput, match="no method"):
            train(project, method="magic")

    def test_a_parameter_too_large_to_compute_with(self, project):
        with pytest.raises(InvalidInput, match="Choose smaller parameters"):
            train(project, parameters={"gold_weight": 1e308})
        assert not project.model_versions.exists()


def test_it_can_be_made_again_bit_for_bit(project):
    model = train(project)
    assert artefacts.rebuild_and_compare(model) is None
    assert model.config["method"] == crossfit.TrainingConfig().method


class TestComparison:
    """Versions are compared on the same items: the reference sample as the newest training has it."""

    def test_each_training_measures_the_versions_before_it_again(self, project):
        play_round(project)
        first = train(project)
        play_round(project)
        second = train(project)
        here = second.metrics["reference_here"]
        assert set(here["accuracy"]) == {"1", "2"}
        assert here["n"] == second.metrics["n_reference"] > first.metrics["n_reference"]
        assert here["accuracy"]["2"] == pytest.approx(second.metrics["reference_accuracy"])
        one, two = model_versions.versions(project)
        assert (one.n_reference, two.n_reference) == (here["n"], here["n"])
        assert (one.value, one.is_compared) == (here["accuracy"]["1"], True)
