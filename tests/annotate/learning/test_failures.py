"""A machine's failure is a label nowhere: not in training, counts, delivery, exports or manifests (S-4)."""

import json
from pathlib import Path

import pytest

from annotate import rounds
from annotate.dataset import export
from annotate.errors import Conflict
from annotate.formats import detection, streams
from annotate.imports import ingest
from annotate.learning import delivery, training
from annotate.models import Item, Prediction
from annotate.reports import progress
from annotate.silver import prompts
from annotate.verification import CHECKS, first_problem
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl
from tests.rows import make_silver

pytestmark = pytest.mark.django_db
CASES = Path(__file__).parents[2] / "cases"


@pytest.fixture
def project(tmp_path):
    """Thirty items of which every machine answer is a failure, as from a model that talks; no gold."""
    project = make_project(labels=("spam", "ham"))
    rows = [{**row, "llm": "It is spam, I think."} for row in rows_of(30)]
    path = write_jsonl(tmp_path / "items.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="llm")
    return project


def exported(project):
    frozen = delivery.current(project=project, by=owner_of(project))
    manifest = export.export(delivered=frozen.row, by=owner_of(project), formats=["jsonl"])
    lines = next(manifest.parent.glob("*.jsonl")).read_text().splitlines()
    return [json.loads(line) for line in lines], json.loads(manifest.read_text())


class TestNothingButFailures:
    @pytest.mark.portable
    def test_training_refuses(self, project):
        with pytest.raises(Conflict, match="neither silver nor gold"):
            training.train(project=project, by=owner_of(project))
        assert not project.model_versions.exists()

    def test_nothing_is_delivered(self, project):
        rows, manifest = exported(project)
        assert {(row["label"], row["label_source"], row["label_probability"], row["silver_label"]) for row in rows} == {
            (None, None, None, None)
        }
        assert {row["silver_status"] for row in rows} == {"out_of_set"}
        counts = manifest["counts"]
        assert (counts["rows"], counts["gold"], counts["machine"], counts["unlabeled"]) == (30, 0, 0, 30)

    def test_they_are_counted_as_failures(self, project):
        now = progress.progress(project)
        assert (now.n_silver, now.n_failed) == (0, 30)
        assert delivery.knows_nothing(project)

    def test_with_gold_it_learns_from_that_alone(self, project):
        rounds.draw_round(project=project, batch=20, by=owner_of(project))
        answer_round(project, label="spam")
        rounds.close_round(project=project, by=owner_of(project))
        model = training.train(project=project, by=owner_of(project))
        assert model.metrics["n_silver"] == 0 and model.metrics["n_gold"] > 0
        assert model.metrics["n_failures"] == 30

    def test_they_do_not_replace_good_silver(self, project):
        make_silver(project, Item.objects.filter(project=project), version=2)
        good = prompts.current_prompt(project)
        make_silver(project, Item.objects.filter(project=project), version=3, status="malformed")
        assert prompts.current_prompt(project) == good and progress.progress(project).n_silver == 30


class TestCapitalSilver:
    def test_labels_in_other_case_are_silver(self):
        project = make_project(labels=("spam", "ham"))
        path = CASES / "capital_silver.csv"
        with streams.opened(path) as file:
            dialect = detection.detect(file, path).dialect
        ingest.import_items(
            project=project, path=path, by=owner_of(project), dialect=dialect, silver_field="prediction",
            columns={"id": None},
        )  # fmt: skip
        assert set(Prediction.objects.values_list("status", flat=True)) == {"ok"}
        assert progress.progress(project).n_silver == 120
        model = training.train(project=project, by=owner_of(project))
        assert model.metrics["n_silver"] == 120
        rows, manifest = exported(project)
        assert {row["silver_label"] for row in rows} == {"spam", "ham"}
        assert manifest["counts"]["machine"] == 120


class TestVerify:
    CHECK = staticmethod(CHECKS["failures are labels nowhere"])

    @pytest.fixture
    def mixed(self, tmp_path):
        """Ten items with a machine's label, two with a failure; frozen without a model."""
        project = make_project(labels=("spam", "ham"))
        rows = [{**row, "llm": "spam" if place < 10 else "?"} for place, row in enumerate(rows_of(12))]
        path = write_jsonl(tmp_path / "items.jsonl", rows)
        ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="llm")
        delivery.current(project=project, by=owner_of(project))
        assert first_problem(self.CHECK, project) is None
        return project

    def test_it_sees_a_delivered_failure(self, mixed):
        Prediction.objects.filter(item__ordinal=3).update(status="refusal", label_index=None)
        assert "delivers a label of item 3" in first_problem(self.CHECK, mixed)

    def test_it_sees_a_failure_that_was_learned(self, mixed):
        model = training.train(project=mixed, by=owner_of(mixed))
        assert first_problem(self.CHECK, mixed) is None
        mixed.delivered_versions.all().delete()
        Prediction.objects.filter(item__ordinal=4).update(status="refusal", label_index=None)
        assert f"{model} learned a machine's label of item 4" in first_problem(self.CHECK, mixed)

    def test_it_sees_a_model_of_nothing(self, mixed, monkeypatch):
        Prediction.objects.update(status="refusal", label_index=None)
        mixed.delivered_versions.all().delete()
        monkeypatch.setattr(training, "_check_learnable", lambda *given: None)
        training.train(project=mixed, by=owner_of(mixed))
        assert "learned from neither silver nor gold" in first_problem(self.CHECK, mixed)

    def test_it_sees_a_label_that_was_asked_for_again(self, mixed):
        row = Prediction.objects.get(item__ordinal=5)
        Prediction.objects.filter(pk=row.pk).update(is_current=False)
        Prediction.objects.create(item=row.item, prompt=row.prompt, status="refusal", attempt=2)
        assert "was asked again" in first_problem(self.CHECK, mixed)

    @pytest.mark.parametrize("change", [{"is_current": False}, {"attempt": 2}])
    def test_it_sees_attempts_that_do_not_add_up(self, mixed, change):
        Prediction.objects.filter(item__ordinal=11).update(**change)
        assert "the last does not count" in first_problem(self.CHECK, mixed)
