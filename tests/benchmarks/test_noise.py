"""The benchmark of noisy labels runs on any file, goes on where it was, and its recipes are the published ones."""

import json

import numpy as np
import pytest

from benchmarks import learners, noise
from benchmarks.noise_methods import method_names
from benchmarks.noise_recipes import RECIPES
from benchmarks.noise_stages import Stages, choose_strata, direct_matrices, glc_matrices, surprise
from benchmarks.noise_strata import strata_of
from benchmarks.noisy_pools import Noise, Pool
from benchmarks.options import numbers_of, seeds_of
from models_ml import registry

KEYS = {
    "method", "corruption", "rate", "gold", "seed", "error", "log_loss", "ece", "seconds", "c_hat", "c_error",
}  # fmt: skip
SIDES = {"neg": ["awful", "dull", "poor"], "pos": ["great", "superb", "warm"]}


def rows(n):
    """Texts of one to nine words, one of which tells their label; three annotators, who disagree about every fifth."""
    rng = np.random.default_rng(n)
    made = []
    for i in range(n):
        label = ["neg", "pos"][i % 2]
        words = [*(f"w{j}" for j in rng.integers(0, 30, i % 9)), SIDES[label][i % 3]]
        said = [label, "neg" if i % 5 == 0 else label, "pos" if i % 5 == 0 else label]
        annotations = [{"annotator": f"a{j}", "label": name} for j, name in enumerate(said[1:] if i % 5 == 0 else said)]
        made.append({"id": i, "text": " ".join(words), "label": label, "annotations": annotations, "site": f"s{i % 3}"})
    return made


@pytest.fixture
def files(tmp_path):
    for name, n in (("train", 300), ("test", 60)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows(n))))
    return ["--train", str(tmp_path / "train.jsonl"), "--test", str(tmp_path / "test.jsonl")]


@pytest.fixture
def quick(monkeypatch):
    """Few, large steps: as much is learned of 300 texts as otherwise of ten thousands."""
    for name, value in (("EPOCHS", 20), ("RATE", 0.01), ("FEWEST_STEPS", 100)):
        monkeypatch.setattr(learners, name, value)


def run(capsys, *arguments):
    assert noise.main([str(argument) for argument in arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


class TestOnWords:
    def test_every_recipe_has_a_line_with_the_documented_keys(self, files, capsys, monkeypatch):
        monkeypatch.setattr(learners, "EPOCHS", 1)
        monkeypatch.setattr(learners, "FEWEST_STEPS", 5)
        names = ",".join(RECIPES)
        found = run(capsys, *files, "--encoder", "glc-words", "--gold", 40, "--seeds", "7-7", "--method", names)
        assert [record["method"] for record in found] == list(RECIPES)
        for record in found:
            assert set(record) >= KEYS
            assert (record["corruption"], record["rate"], record["gold"], record["seed"]) == ("flip", 0.2, 40, 7)
            assert 0 <= record["error"] <= 1 and np.isfinite(record["log_loss"])

    def test_most_labels_wrong_are_no_harm_to_glc(self, files, capsys, quick):
        options = ["--encoder", "glc-words", "--gold-fraction", 0.2, "--rate", 0.8, "--seeds", 1]
        ce, glc = run(capsys, *files, *options, "--method", "ce,glc")
        assert ce["error"] > 0.7 and ce["c_hat"] is None
        assert glc["error"] < 0.1 and glc["c_error"] < 0.25
        assert glc["gold"] == 60

    def test_noise_by_length_is_seen_by_strata(self, files, capsys, quick):
        options = ["--encoder", "glc-words", "--gold", 150, "--rate-by", "length:.9,.5,.1", "--seeds", 1]
        (one,) = run(capsys, *files, *options, "--method", "glc")
        (each,) = run(capsys, *files, *options, "--method", "glc", "--strata", "length")
        assert one["rate"] == [0.9, 0.5, 0.1] and one["corruption"] == "length"
        assert len(one["c_hat"]) == 1 and len(each["c_hat"]) == 3
        assert each["c_hat"][0][0][0] < each["c_hat"][2][0][0]

    def test_all_methods_are_recipes_and_those_that_learn_from_minibatches(self):
        names = method_names("all", "glc-words")
        assert set(RECIPES) < set(names) and "co-teaching" in names and "corrected" not in names


class TestOnVectors:
    def test_methods_are_those_of_the_product(self, files, capsys):
        options = ["--encoder", "tfidf", "--gold", 60, "--seeds", 1, "--rate", 0.1, "--fixed"]
        found = run(capsys, *files, *options, "--method", "default,ce,gold-only,glc,confusion")
        assert all(record["error"] < 0.1 for record in found)
        assert [record["c_hat"] is None for record in found] == [False, True, True, False, False]

    def test_vectors_are_made_once(self, files, capsys, tmp_path, monkeypatch):
        made = []

        class Letters:
            name, fingerprint, dim = "letters", "f" * 64, 3

            def encode(self, texts, progress=None):
                made.extend(texts)
                return np.array([[len(text), "pos" in text, 1] for text in texts], np.float32)

        monkeypatch.setattr(registry, "encoder", lambda name="minilm": Letters())
        options = ["--gold", 40, "--fixed", "--method", "ce", "--items", 50, "--cache", tmp_path / "cache"]
        run(capsys, *files, *options, "--seeds", 1)
        assert 50 < len(made) <= 110
        n = len(made)
        run(capsys, *files, *options, "--seeds", 1, "--corruption", "none")
        assert len(made) == n


class TestResults:
    def options(self, files, tmp_path):
        return [*files, "--encoder", "tfidf", "--gold", 40, "--fixed", "--results", tmp_path / "kept" / "results.jsonl"]

    def test_what_is_there_is_not_run_again(self, files, capsys, tmp_path, monkeypatch):
        options = self.options(files, tmp_path)
        first = run(capsys, *options, "--method", "ce", "--seeds", 2)
        monkeypatch.setattr(noise, "figures", lambda *_, **__: pytest.fail("it was run again"))
        assert run(capsys, *options, "--method", "ce", "--seeds", 2) == first

    def test_it_goes_on_after_half_a_line(self, files, capsys, tmp_path):
        options = self.options(files, tmp_path)
        first = run(capsys, *options, "--method", "ce", "--seeds", 2)
        file = tmp_path / "kept" / "results.jsonl"
        file.write_text(file.read_text()[:-20])
        again = run(capsys, *options, "--method", "ce", "--seeds", 2)
        assert [record["error"] for record in again] == [record["error"] for record in first]
        assert len(file.read_text().splitlines()) == 2

    def test_other_data_are_another_cell(self, files, capsys, tmp_path):
        options = [*self.options(files, tmp_path), "--method", "ce", "--seeds", 1]
        run(capsys, *options)
        run(capsys, *options, "--items", 100)
        run(capsys, *options, "--corruption", "uniform")
        assert len((tmp_path / "kept" / "results.jsonl").read_text().splitlines()) == 3


class TestNoise:
    def test_an_item_without_a_majority_has_no_valid_answer(self):
        some, names = rows(20), ["neg", "pos"]
        truth = np.array([names.index(row["label"]) for row in some])
        labels = Noise("annotations:majority").labels(some, names, truth, np.random.default_rng(0))
        assert labels.tolist() == [2 if i % 5 == 0 else i % 2 for i in range(20)]

    def test_an_annotator_may_have_said_nothing(self):
        labels = Noise("annotations:a2").labels(rows(6), ["neg", "pos"], np.zeros(6), np.random.default_rng(0))
        assert labels.tolist() == [2, 1, 0, 1, 0, 2]

    def test_no_noise_is_the_truth(self):
        truth = np.arange(20) % 2
        assert (Noise("none").labels(rows(20), ["neg", "pos"], truth, np.random.default_rng(0)) == truth).all()


def pool_of(**fields):
    """Four items with gold, classes 0, 0, 1, 1, two in each stratum; two without."""
    given = {
        "x": np.eye(6, dtype=np.float32),
        "truth": np.array([0, 0, 1, 1, 0, 1]),
        "silver": np.array([0, 1, 1, 1, 1, 1]),
        "gold_rows": np.arange(4),
        "x_test": np.eye(6, dtype=np.float32),
        "test": np.array([0, 0, 1, 1, 0, 1]),
        "n_classes": 2,
    }
    return Pool(**{**given, **fields})


ANSWERS = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.4, 0.6]])


class TestMatrices:
    def test_glcs_is_the_mean_answer(self):
        found = glc_matrices(Stages(pool_of(), "tfidf", 1), ANSWERS)
        np.testing.assert_allclose(found, [[[0.7, 0.3, 0], [0.3, 0.7, 0]]])

    def test_a_stratum_is_shrunk_to_all(self):
        pool = pool_of(strata=np.array([0, 1, 0, 1, 0, 0]))
        found = glc_matrices(Stages(pool, "tfidf", 1), ANSWERS)
        np.testing.assert_allclose(found[0, 0], [(0.9 + 20 * 0.7) / 21, (0.1 + 20 * 0.3) / 21, 0])
        np.testing.assert_allclose(found[1, 1], [(0.4 + 20 * 0.3) / 21, (0.6 + 20 * 0.7) / 21, 0])

    def test_a_class_without_gold_is_uniform_as_published(self):
        found = glc_matrices(Stages(pool_of(gold_rows=np.arange(2)), "tfidf", 1), ANSWERS[:2])
        np.testing.assert_allclose(found[0, 1], [0.5, 0.5, 0])

    def test_strata_are_taken_where_they_tell_something(self):
        rng = np.random.default_rng(0)
        truth, useful, useless = rng.integers(0, 2, 600), rng.integers(0, 2, 600), rng.integers(0, 2, 600)
        silver = np.where(useful == 1, 1 - truth, truth)
        x = np.stack([truth, useful, truth * useful], axis=1).astype(np.float32)
        pool = pool_of(x=x, truth=truth, silver=silver, gold_rows=np.arange(200), x_test=x, test=truth)
        for candidates, chosen in (([useless, useful], useful), ([np.zeros(600, np.int64)], None)):
            stages = Stages(pool, "tfidf", 1)
            choose_strata(stages, candidates)
            assert stages.pool.strata is chosen

    def test_surprise_is_of_matrices_that_never_saw_the_item(self):
        stages = Stages(pool_of(), "tfidf", 1)
        assert surprise(stages, lambda among: direct_matrices(stages, among)) > 0
        seen = []
        surprise(stages, lambda among: seen.append(among) or np.full((1, 2, 3), 1 / 3))
        assert (np.sum(~np.array(seen), axis=0) == 1).all()


class TestFailures:
    def test_they_are_one_more_answer(self):
        silver = np.array([2, 2, 1, 1, 2, 1])
        stages = Stages(pool_of(silver=silver, gold_rows=np.arange(2)), "tfidf", 1)
        answers = stages.answers()
        assert answers.shape == (2, 3) and np.isfinite(answers).all()
        np.testing.assert_allclose(glc_matrices(stages, answers).sum(axis=2), 1)


class TestStrata:
    def test_a_fields_values_are_strata(self):
        assert strata_of("site", rows(6)).tolist() == [0, 1, 2, 0, 1, 2]

    def test_a_field_that_is_not_there_is_refused(self):
        with pytest.raises(ValueError, match="No row has the field"):
            strata_of("nothing", rows(3))

    def test_confidence_is_in_thirds_and_unknown(self):
        some = [{"text": "a", "llm_confidence": value} for value in (0.1, 0.5, 0.9, 0.2, 0.6, 0.95, None)]
        assert strata_of("confidence", some).tolist() == [0, 1, 2, 0, 1, 2, 3]

    def test_without_confidence_it_is_refused(self):
        with pytest.raises(ValueError, match="No row has a confidence"):
            strata_of("confidence", rows(3))


class TestOptions:
    @pytest.mark.parametrize("text", ["words:.1,.2,.3", "length:.1,.2", "length:a,b,c"])
    def test_a_rate_by_something_else_is_refused(self, files, text, capsys):
        with pytest.raises(SystemExit):
            noise.main([*files, "--gold", "5", "--rate-by", text])
        assert capsys.readouterr().err

    def test_a_method_that_there_is_not_is_refused_before_anything_runs(self, files, capsys):
        with pytest.raises(SystemExit):
            noise.main([*files, "--gold", "5", "--method", "ce,magic"])
        assert "There is no method magic for minilm" in capsys.readouterr().err

    @pytest.mark.parametrize(("text", "seeds"), [("3", [1, 2, 3]), ("101-103", [101, 102, 103]), ("7,9", [7, 9])])
    def test_seeds_are_a_count_a_range_or_a_list(self, text, seeds):
        assert seeds_of(text) == seeds

    def test_numbers_are_a_list(self):
        assert numbers_of(".2,0,1") == [0.2, 0.0, 1.0]
