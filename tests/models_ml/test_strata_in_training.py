"""Training reads silver by the strata whose noise differs, chosen without the fold, and by one Ĉ where none does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models_ml import checkpoints
from models_ml.training.crossfit import Snapshot, TrainedVersion, TrainingConfig, new_data_predictions, train
from models_ml.training.rebuild import broken_promise
from models_ml.training.transitions import FitNoise, stored_strata
from tests.models_ml.problems import make_snapshot, rotate

FIXED = TrainingConfig(gold_weights=(5.0,), l2=(1.0,), transition="direct")
STORED = {"transition", "fold_transitions", "counts", "weights", "new_weight", "biases", "new_bias"}


def by_length(n=400, n_gold=200, seed=0, k=3, rates=(0.75, 0.3, 0.05)):
    """Silver that says the next class, at the rate of the item's stratum; and a stratum that says nothing."""
    snapshot, truth = make_snapshot(n=n, n_gold=n_gold, n_reference=n_gold, noise=0.0, seed=seed, k=k)
    rng = np.random.default_rng(seed + 100)  # not the stream that made the snapshot
    length = rng.integers(0, 3, n)
    silver = np.where(rng.random(n) < np.array(rates)[length], (truth + 1) % k, truth)
    observed = {"source": rng.integers(0, 4, n), "length": length}
    return replace(snapshot, silver=silver, observed=observed), truth


def inverted(seed):
    """Two classes in 40 blurred dimensions; silver is right in 10, 50 and 90 of 100 by length, so in half of all."""
    snapshot, truth = make_snapshot(n=1000, n_gold=100, n_reference=100, noise=0.0, seed=seed, k=2, d=40)
    rng = np.random.default_rng(seed + 100)
    length = rng.integers(0, 3, 1000)
    silver = np.where(rng.random(1000) < np.array([0.9, 0.5, 0.1])[length], 1 - truth, truth)
    x = snapshot.x + 0.35 * rng.standard_normal(snapshot.x.shape).astype(np.float32)
    observed = {"source": rng.integers(0, 4, 1000), "length": length}
    return replace(snapshot, x=x / np.linalg.norm(x, axis=1, keepdims=True), silver=silver, observed=observed), truth


def right(version, snapshot, truth):
    return (version.predict_out_of_fold(snapshot.x, snapshot.fold).argmax(axis=1) == truth).mean()


class TestStrataThatMatter:
    def test_they_are_found_and_beat_one_matrix_for_all(self):
        shares = []
        for seed in range(4):
            snapshot, truth = inverted(seed)
            ways = snapshot, replace(snapshot, observed=None)
            found, plain = (train(s, FIXED) for s in ways)
            control = train(ways[1], replace(FIXED, method="cross_entropy"))
            assert found.strata == ("length",) * 6
            assert found.strata_transitions.shape == (6, 3, 2, 3)
            gain, error = found.metrics["strata_gain"]["length"]
            assert gain > 3 * error
            shares.append([right(version, snapshot, truth) for version in (found, plain, control)])
        found, plain, control = np.mean(shares, axis=0)
        assert plain < 0.96 and control < 0.96
        assert found > plain + 0.01 and found > control + 0.01

    def test_each_fit_reads_silver_by_its_own(self):
        snapshot, _ = by_length()
        version = train(snapshot, FIXED)
        noise = version.noise_of(2)
        data = snapshot.training_data(snapshot.fold != 2, *noise)
        assert noise.stratum == "length" and data.transitions.shape == (3, 3, 4)
        assert data.strata.tolist() == snapshot.observed["length"][snapshot.fold != 2].tolist()

    def test_labels_of_a_fold_reach_neither_its_strata_nor_its_model(self):
        snapshot, _ = by_length()
        hidden = snapshot.fold == 2
        changed = replace(snapshot, gold=rotate(snapshot.gold, hidden, 3), silver=rotate(snapshot.silver, hidden, 4))
        a, b = train(snapshot, FIXED), train(changed, FIXED)
        assert a.strata[2] == b.strata[2] == "length"
        assert a.strata_transitions[2].tobytes() == b.strata_transitions[2].tobytes()
        assert a.of_folds[2].weight.tobytes() == b.of_folds[2].weight.tobytes()
        assert a.of_folds[3].weight.tobytes() != b.of_folds[3].weight.tobytes()

    def test_they_survive_being_stored_and_a_rebuild(self):
        snapshot, _ = by_length()
        version = train(snapshot, FIXED)
        arrays, settings = version.to_arrays()
        again = TrainedVersion.from_arrays(arrays, json.loads(json.dumps(settings, allow_nan=False)))
        assert again.strata == version.strata
        assert again.strata_transitions.tobytes() == version.strata_transitions.tobytes()
        assert broken_promise(again, train(snapshot, FIXED), snapshot) is None

    def test_a_fit_without_near_duplicates_reads_silver_as_its_fold_did(self):
        snapshot, _ = by_length()
        x, fold = snapshot.x.copy(), snapshot.fold.copy()
        x[301], fold[300], fold[301] = x[300], 0, 1
        snapshot = replace(snapshot, x=x, fold=fold)
        version = train(snapshot, FIXED)
        predicted = new_data_predictions(version, snapshot, np.array([300]), threshold=0.999)
        near = version.predict_out_of_fold(x[[300]], fold[[300]])
        assert 0 < np.abs(predicted - near).max() < 0.05

    @pytest.mark.parametrize("transition", ["auto", "glc", "anchor"])
    def test_any_kind_of_matrix_may_be_one_per_stratum(self, transition):
        snapshot, _ = by_length()
        version = train(snapshot, replace(FIXED, transition=transition))
        assert set(version.strata) == {"length"}

    def test_strata_that_are_given_are_a_candidate(self):
        snapshot, _ = by_length()
        version = train(replace(snapshot, observed=None, strata=snapshot.observed["length"]), FIXED)
        assert set(version.strata) == {"strata"}


class TestStrataThatDoNot:
    def test_the_version_is_that_of_one_matrix_for_all(self):
        snapshot, _ = by_length(n=600, n_gold=100, rates=(0.3, 0.3, 0.3), seed=3)
        plain, looked = train(replace(snapshot, observed=None), FIXED), train(snapshot, FIXED)
        assert looked.strata == () and looked.strata_transitions is None
        assert [c.weight.tobytes() for c in looked.of_folds] == [c.weight.tobytes() for c in plain.of_folds]
        assert set(looked.metrics["strata_gain"]) == {"source", "length"}

    def test_a_version_without_candidates_keeps_what_it_always_kept(self):
        arrays, settings = train(make_snapshot()[0], FIXED).to_arrays()
        assert set(arrays) == STORED
        assert set(settings) == {"temperature", "gold_weight", "l2", "transition_kind", "config", "metrics"}
        assert "strata_gain" not in settings["metrics"]

    def test_a_method_that_reads_no_silver_by_a_matrix_looks_for_none(self):
        snapshot, _ = by_length(n=200, n_gold=100)
        version = train(snapshot, replace(FIXED, method="cross_entropy"))
        assert version.strata == () and "strata_gain" not in version.metrics


class TestStored:
    def test_what_stands_for_fewer_strata_repeats_its_last_matrix(self):
        one, two = np.full((2, 3), 1 / 3), np.stack([np.full((2, 3), 1 / 3), np.tile([0.6, 0.2, 0.2], (2, 1))])
        stored = stored_strata([FitNoise(one), FitNoise(two, "length")])
        assert stored["strata"] == (None, "length")
        np.testing.assert_array_equal(stored["strata_transitions"], np.stack([np.stack([one, one]), two]))

    def test_nothing_is_stored_where_none_was_chosen(self):
        assert stored_strata([FitNoise(np.full((2, 3), 1 / 3))] * 3) == {}


class TestKinds:
    @pytest.mark.parametrize("kind", ["counts", "anchor", "dual-t"])
    def test_it_trains_by_each_and_remembers_which(self, kind):
        snapshot, truth = make_snapshot()
        config = TrainingConfig.of("corrected", {"gold_weight": 5.0, "l2": 1.0, "transition": kind})
        version = train(snapshot, config)
        assert version.transition_kind == kind and list(version.metrics["transition_log_loss"]) == [kind]
        np.testing.assert_allclose(version.fold_transitions.sum(axis=2), 1)
        assert right(version, snapshot, truth) > 0.75
        assert broken_promise(version, train(snapshot, config), snapshot) is None

    @pytest.mark.parametrize("kind", ["counts", "anchor", "dual-t"])
    def test_labels_of_a_fold_never_reach_its_matrix(self, kind):
        snapshot, _ = make_snapshot()
        hidden = snapshot.fold == 2
        changed = replace(snapshot, gold=rotate(snapshot.gold, hidden, 3), silver=rotate(snapshot.silver, hidden, 4))
        a, b = (train(s, replace(FIXED, transition=kind)) for s in (snapshot, changed))
        assert a.fold_transitions[2].tobytes() == b.fold_transitions[2].tobytes()
        assert a.fold_transitions[3].tobytes() != b.fold_transitions[3].tobytes()

    @pytest.mark.parametrize("kind", ["counts", "anchor", "dual-t"])
    def test_nothing_to_estimate_it_from_is_no_error(self, kind):
        snapshot, _ = make_snapshot(n=40)
        nothing = np.full(40, -1)
        for silver, gold in ((nothing, snapshot.gold), (snapshot.silver, nothing), (np.full(40, 3), nothing)):
            version = train(replace(snapshot, silver=silver, gold=gold), replace(FIXED, transition=kind))
            assert np.isfinite(version.predict_new(snapshot.x)).all()

    def test_progress_counts_the_models_of_silver(self):
        calls = []
        config = replace(FIXED, transition="dual-t")
        train(make_snapshot()[0], config, progress=lambda done, total: calls.append((done, total)))
        assert all(done <= total for done, total in calls) and calls[-1][0] == calls[-1][1]


class TestRefused:
    @pytest.mark.parametrize(
        ("stratum", "sentence"),
        [
            (np.full(400, -1), "strata 'length' go from -1"),
            (np.arange(400), "strata 'length' go from 0 to 399; number them from 0, at most 100"),
            (np.zeros(3, int), "strata 'length' have 3 entries for 400 items"),
            (np.zeros(400), "strata 'length' must be numbered by whole numbers"),
        ],
    )
    def test_strata_that_are_none(self, stratum, sentence):
        with pytest.raises(ValueError, match=sentence):
            replace(make_snapshot()[0], observed={"length": stratum})

    def test_an_empty_pool_has_no_strata(self):
        none = np.zeros(0, np.int64)
        s = Snapshot(np.zeros((0, 4), np.float32), none, none, none, none > 0, 3, observed={"length": none})
        assert train(s, FIXED).strata == ()


def test_the_same_content_gives_the_same_bytes():
    snapshot, _ = by_length()
    a, b = (checkpoints.to_bytes(*train(snapshot, FIXED).to_arrays()) for _ in range(2))
    assert a == b
