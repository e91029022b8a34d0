"""Simulated projects: the product's own functions, in a database of their own."""

import dataclasses
import json
import os

import pytest

from annotate import projects, simulation
from annotate.errors import InvalidInput
from annotate.management.commands.simulate import read_rows, seeds_of
from annotate.models import Prediction
from tests.factories import write_jsonl
from tests.processes import run_manage

pytestmark = pytest.mark.only_on("sqlite")  # slow, and about processes rather than rows

KEYS = {
    "seed", "round", "labels", "money_micros", "llm_accuracy", "llm_filled_accuracy", "model_accuracy",
    "delivered_accuracy", "llm_estimate", "model_estimate", "delivered_estimate", "delivered_by", "ece", "c_hat",
}  # fmt: skip


def rows(n=90):
    """Two classes that a sentence encoder tells apart, and a machine that is wrong for every fifth."""
    texts = {"animals": "my dog and my cat chase the birds", "money": "the bank raised its interest rates"}
    names = [("animals", "money")[i % 2] for i in range(n)]
    wrong = {"animals": "money", "money": "animals"}
    return [
        {
            "id": i,
            "text": f"{texts[name]}, note {i}",
            "label": name,
            "machine": None if i % 15 == 14 else wrong[name] if i % 5 == 0 else name,
        }
        for i, name in enumerate(names)
    ]


def setup_of(**fields):
    labels = (projects.NewLabel("animals"), projects.NewLabel("money"))
    fields = {"noisy_field": "machine", "batch": 20, "rounds": 2, "human_price_micros": 1000, **fields}
    return simulation.Setup(rows=tuple(rows()), test_rows=tuple(rows(20)), labels=labels, **fields)


@pytest.mark.django_db
class TestSimulate:
    def test_it_gives_the_documented_keys_and_true_accuracies(self, tmp_path):
        records = list(simulation.simulate(setup_of(), 1, tmp_path))
        assert [record["labels"] for record in records] == [20, 40]
        for record in records:
            assert set(record) >= KEYS
            json.dumps(record, allow_nan=False)
        last = records[-1]
        assert last["money_micros"] == 40_000
        assert last["llm_accuracy"] == pytest.approx(sum(r["machine"] == r["label"] for r in rows()) / 90)
        assert last["delivered_accuracy"] > last["llm_accuracy"]
        figure = last["delivered_estimate"]
        assert figure["covered"] == (figure["low"] <= figure["truth"] <= figure["high"])

    def test_the_interval_speaks_of_the_gold_rule_not_of_the_truth(self, tmp_path):
        (record,) = simulation.simulate(setup_of(human_accuracy=0.0, rounds=1, batch=90, audit_share=0.3), 1, tmp_path)
        figure = record["llm_estimate"]
        assert figure["gold_rule"] == pytest.approx(sum(r["machine"] not in (r["label"], None) for r in rows()) / 90)
        assert figure["truth"] == pytest.approx(sum(r["machine"] == r["label"] for r in rows()) / 90)
        assert (figure["covered_gold_rule"], figure["covered"]) == (True, False)

    def test_perfect_people_are_the_truth(self, tmp_path):
        for record in simulation.simulate(setup_of(), 1, tmp_path):
            figure = record["delivered_estimate"]
            assert figure["gold_rule"] == figure["truth"]

    @pytest.mark.slow
    def test_a_source_among_annotations_is_read(self, tmp_path):
        said = [{**row, "annotations": [{"annotator": "m", "label": row["machine"]}]} for row in rows()]
        by_column = list(simulation.simulate(setup_of(), 1, tmp_path))
        setup = dataclasses.replace(setup_of(noisy_field="annotations:m"), rows=tuple(said))
        assert [r["c_hat"] for r in simulation.simulate(setup, 1, tmp_path)] == [r["c_hat"] for r in by_column]

    def test_an_item_without_a_majority_counts_as_no_valid_answer(self, tmp_path):
        said = [
            {**row, "annotations": [{"annotator": f"a{i}", "label": label} for i, label in enumerate(given)]}
            for row in rows()
            for given in [("animals", "money") if row["id"] % 10 == 3 else (row["label"], row["label"], "money")]
        ]
        setup = dataclasses.replace(setup_of(noisy_field="annotations:majority", rounds=1), rows=tuple(said))
        (record,) = simulation.simulate(setup, 1, tmp_path)
        assert record["llm_accuracy"] == pytest.approx(81 / 90)
        failed = Prediction.objects.exclude(status=Prediction.Status.OK)
        assert sorted(int(i) for i in failed.values_list("item__external_id", flat=True)) == list(range(3, 90, 10))

    @pytest.mark.parametrize("field", ["annotations:majority", "nothing", "text"])
    def test_a_source_that_names_no_label_is_refused(self, field):
        with pytest.raises(InvalidInput, match="gives no row a label"):
            simulation.check_noisy_field(rows(), setup_of().labels, field)

    @pytest.mark.slow
    def test_it_repeats_with_its_seed(self, tmp_path):
        first = list(simulation.simulate(setup_of(human_accuracy=0.8), 3, tmp_path))
        again = list(simulation.simulate(setup_of(human_accuracy=0.8), 3, tmp_path))
        assert first == again

    def test_people_are_wrong_as_often_as_asked(self, tmp_path):
        for record in simulation.simulate(setup_of(human_accuracy=0.0, rounds=1), 1, tmp_path):
            assert record["delivered_accuracy"] < record["llm_accuracy"]


class TestCommand:
    @pytest.mark.slow
    def test_it_leaves_the_real_database_alone(self, tmp_path):
        path = write_jsonl(tmp_path / "rows.jsonl", rows())
        environment = {**os.environ, "VAR_DIR": str(tmp_path / "var")}
        environment.pop("DATABASE_URL", None)
        arguments = ["--train", str(path), "--noisy-field", "machine", "--batch", "20", "--rounds", "1", "--json"]
        done = run_manage("simulate", *arguments, environment=environment)
        assert done.returncode == 0, done.stderr
        (record,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert set(record) >= KEYS
        assert not list((tmp_path / "var").glob("*.sqlite3"))

    @pytest.mark.parametrize(("text", "seeds"), [("3", [1, 2, 3]), ("101-103", [101, 102, 103])])
    def test_seeds(self, text, seeds):
        assert seeds_of(text) == seeds

    @pytest.mark.parametrize("text", ["", "x", "5-3", "0", "1-2-3"])
    def test_it_names_seeds_that_are_none(self, text):
        with pytest.raises(InvalidInput, match="--seeds"):
            seeds_of(text)

    def test_it_names_the_line_that_cannot_be_read(self, tmp_path):
        path = tmp_path / "x.jsonl"
        path.write_text('{"id": 1}\n{broken\n')
        with pytest.raises(InvalidInput, match="line 2"):
            read_rows(path)
