import json
import math
from dataclasses import replace

import numpy as np
import pytest

from models_ml.methods import Diverged
from models_ml.training.crossfit import (
    Snapshot,
    TrainedVersion,
    TrainingConfig,
    new_data_predictions,
    train,
)
from models_ml.training.search import Search
from tests.models_ml.problems import make_snapshot, rotate

# One λ and one l2: what is fitted then depends on data alone, not on choices made with the reference sample.
FIXED = TrainingConfig(gold_weights=(5.0,), l2=(1.0,), transition="direct")
QUICK = TrainingConfig(gold_weights=(1.0, 20.0, math.inf), l2=(10.0, 1.0))


def weights(version):
    """The weights of all classifiers, as bytes."""
    return [classifier.weight.tobytes() for classifier in (*version.of_folds, version.whole)]


class TestOutOfFold:
    @pytest.mark.parametrize("method", ["corrected", "cross_entropy", "gold_only"])
    @pytest.mark.parametrize("transition", ["direct", "glc"])
    def test_labels_of_a_fold_never_reach_its_model(self, method, transition):
        snapshot, _ = make_snapshot()
        config = replace(FIXED, method=method, transition=transition)
        hidden = snapshot.fold == 2
        changed = replace(
            snapshot,
            gold=rotate(snapshot.gold, hidden, 3),
            silver=rotate(snapshot.silver, hidden, 4),
        )
        a, b = train(snapshot, config), train(changed, config)
        assert a.of_folds[2].weight.tobytes() == b.of_folds[2].weight.tobytes()
        assert a.of_folds[2].bias.tobytes() == b.of_folds[2].bias.tobytes()
        assert a.fold_transitions[2].tobytes() == b.fold_transitions[2].tobytes()
        assert (a.of_folds[3].weight != b.of_folds[3].weight).any()

    def test_the_texts_of_a_fold_never_reach_its_model(self):
        snapshot, _ = make_snapshot()
        x = snapshot.x.copy()
        x[snapshot.fold == 2] = 0
        assert (
            train(snapshot, FIXED).of_folds[2].weight.tobytes()
            == train(replace(snapshot, x=x), FIXED).of_folds[2].weight.tobytes()
        )

    def test_each_item_is_predicted_by_the_model_of_its_fold(self):
        snapshot, _ = make_snapshot()
        version = train(snapshot, FIXED)
        p = version.predict_out_of_fold(snapshot.x, snapshot.fold)
        i = 7
        blind = version.of_folds[snapshot.fold[i]]
        z = (blind.weight @ snapshot.x[i] + blind.bias) / version.temperature
        np.testing.assert_allclose(p[i], np.exp(z) / np.exp(z).sum(), rtol=1e-4)

    def test_an_item_imported_later_is_predicted_too(self):
        version = train(make_snapshot()[0], FIXED)
        p = version.predict_out_of_fold(np.ones((1, 12), np.float32), np.array([4]))
        assert p.sum() == pytest.approx(1)


class TestRules:
    def test_only_reference_gold_fits_the_transition(self):
        snapshot, _ = make_snapshot()
        beyond = (snapshot.gold >= 0) & ~snapshot.reference
        changed = replace(snapshot, gold=rotate(snapshot.gold, beyond, 3))
        a, b = train(snapshot, FIXED), train(changed, FIXED)
        assert a.transition.tobytes() == b.transition.tobytes()
        assert a.counts.sum() == 60

    def test_silver_of_gold_items_does_not_train(self):
        snapshot, _ = make_snapshot(n_reference=0)
        changed = replace(snapshot, silver=rotate(snapshot.silver, snapshot.gold >= 0, 3))
        config = replace(FIXED, method="cross_entropy")
        assert weights(train(snapshot, config)) == weights(train(changed, config))

    def test_failures_train_through_the_last_column(self):
        snapshot, _ = make_snapshot()
        changed = replace(snapshot, silver=np.where(snapshot.silver == 3, -1, snapshot.silver))
        assert weights(train(snapshot, FIXED)) != weights(train(changed, FIXED))

    def test_the_chosen_setting_has_the_lowest_log_loss_of_the_grid(self):
        version = train(make_snapshot(seed=2)[0], QUICK)  # here the loss before calibration chooses otherwise
        best = min(version.metrics["grid"], key=lambda row: row["calibrated_log_loss"])
        assert (version.gold_weight, version.method.l2) == (float(best["gold_weight"]), best["l2"])
        assert version.metrics["chosen_by"] == "reference"

    def test_a_repeat_is_bit_equal(self):
        a, b = (train(make_snapshot()[0], QUICK) for _ in range(2))
        assert weights(a) == weights(b)
        assert a.temperature == b.temperature
        assert a.metrics == b.metrics

    def test_it_corrects_a_systematic_error_that_plain_training_learns(self):
        snapshot, truth = make_snapshot(n=2000, noise=0.0, n_gold=100, n_reference=100)
        liar = np.where((truth == 1) & (np.random.default_rng(1).random(2000) < 0.6), 0, truth)
        snapshot = replace(snapshot, silver=liar)

        def right(method):
            config = TrainingConfig(method=method, gold_weights=(1.0,))
            p = train(snapshot, config).predict_out_of_fold(snapshot.x, snapshot.fold)
            return (p.argmax(axis=1) == truth).mean()

        assert right("corrected") > right("cross_entropy") + 0.05


class TestPoorData:
    def check(self, snapshot, **changes):
        version = train(snapshot, replace(QUICK, **changes))
        p = version.predict_out_of_fold(snapshot.x, snapshot.fold)
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
        json.dumps(version.to_arrays()[1], allow_nan=False)
        return version

    def test_silver_alone(self):
        snapshot, truth = make_snapshot(n_gold=0)
        version = self.check(snapshot)
        p = version.predict_out_of_fold(snapshot.x, snapshot.fold)
        assert (p.argmax(axis=1) == truth).mean() > 0.8
        assert version.metrics["chosen_by"] == "defaults"
        assert version.metrics["reference_log_loss"] is None

    def test_gold_without_a_reference_sample(self):
        version = self.check(make_snapshot(n_reference=0)[0])
        assert version.metrics["chosen_by"] == "defaults"
        assert version.temperature == 1

    def test_gold_alone(self):
        snapshot, truth = make_snapshot()
        version = self.check(replace(snapshot, silver=np.full(400, -1)))
        assert version.gold_weight == math.inf
        assert (version.predict_out_of_fold(snapshot.x, snapshot.fold).argmax(axis=1) == truth).mean() > 0.7

    def test_nothing_but_failures(self):
        self.check(replace(make_snapshot()[0], silver=np.full(400, 3)))

    def test_no_label_at_all_is_uniform(self):
        snapshot = replace(make_snapshot()[0], silver=np.full(400, -1), gold=np.full(400, -1))
        version = self.check(snapshot)
        np.testing.assert_allclose(version.predict_out_of_fold(snapshot.x, snapshot.fold), 1 / 3, rtol=1e-6)

    def test_a_class_without_gold(self):
        snapshot, _ = make_snapshot()
        version = self.check(replace(snapshot, gold=np.where(snapshot.gold == 2, -1, snapshot.gold)))
        assert version.metrics["classes_without_gold"] == [2]

    @pytest.mark.parametrize("k", [2, 77])
    def test_few_and_many_classes(self, k):
        self.check(make_snapshot(k=k)[0])

    @pytest.mark.parametrize("n", [1, 10])
    def test_tiny_pools(self, n):
        self.check(make_snapshot(n=n, n_gold=5, n_reference=5)[0])

    def test_an_empty_pool(self):
        none = np.zeros(0, np.int64)
        version = self.check(Snapshot(np.zeros((0, 4), np.float32), none, none, none, none > 0, 3))
        np.testing.assert_allclose(version.predict_new(np.ones((1, 4), np.float32)), 1 / 3, rtol=1e-6)

    def test_a_label_outside_the_classes_is_refused(self):
        snapshot, _ = make_snapshot()
        with pytest.raises(ValueError, match="outside the classes"):
            replace(snapshot, silver=np.full(400, 4))
        with pytest.raises(ValueError, match="beyond n_folds"):
            train(snapshot, replace(FIXED, n_folds=4))


class TestNewData:
    def test_without_near_duplicates_it_is_the_out_of_fold_prediction(self):
        snapshot, _ = make_snapshot()
        version, positions = train(snapshot, FIXED), np.array([3, 90, 200])
        np.testing.assert_allclose(
            new_data_predictions(version, snapshot, positions, threshold=1.1),
            version.predict_out_of_fold(snapshot.x[positions], snapshot.fold[positions]),
            rtol=1e-5,
        )

    def test_a_near_duplicate_in_another_fold_is_forgotten(self):
        snapshot, _ = make_snapshot()
        x, fold, silver = snapshot.x.copy(), snapshot.fold.copy(), snapshot.silver.copy()
        x[301], fold[300], fold[301] = x[300], 0, 1
        same = replace(snapshot, x=x, fold=fold)
        other = replace(same, silver=np.where(np.arange(400) == 301, (silver + 1) % 3, silver))
        position, version = np.array([300]), train(same, FIXED)
        plain = [train(s, FIXED).predict_out_of_fold(x[position], fold[position]) for s in (same, other)]
        assert np.abs(plain[0] - plain[1]).max() > 5e-4
        seen = [new_data_predictions(version, s, position, 0.999) for s in (same, other)]
        assert seen[0].tobytes() == seen[1].tobytes()


class TestKeeping:
    def test_a_version_survives_being_saved(self):
        snapshot, _ = make_snapshot()
        version = train(snapshot, QUICK)
        arrays, settings = version.to_arrays()
        again = TrainedVersion.from_arrays(arrays, json.loads(json.dumps(settings, allow_nan=False)))
        assert again.config == version.config
        assert (
            again.predict_out_of_fold(snapshot.x, snapshot.fold).tobytes()
            == version.predict_out_of_fold(snapshot.x, snapshot.fold).tobytes()
        )

    def test_the_settings_survive_json(self):
        for config in (TrainingConfig(), TrainingConfig.of("corrected", {"l2": 1, "transition": "glc"}, seed=3)):
            assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict(), allow_nan=False))) == config
        with pytest.raises(ValueError, match="unknown settings"):
            TrainingConfig.from_dict({"epochs": 3})

    def test_settings_stored_before_methods_had_parameters_are_the_same_still(self):
        stored = {
            "method": "cross_entropy",
            "gold_weights": [1.0, 5.0, 20.0, 60.0, "inf"],
            "l2": [10.0, 3.0, 1.0, 0.3],
            "n_folds": 5,
            "transition": "auto",
            "min_reference": 20,
            "default_gold_weight": 5.0,
            "default_l2": 3.0,
            "seed": 0,
        }
        config = TrainingConfig.from_dict(stored)
        assert config.to_dict() == stored
        assert config == TrainingConfig.of("cross-entropy")

    @pytest.mark.parametrize("changes", [{"method": "magic"}, {"l2": ()}, {"n_folds": 1}])
    def test_impossible_settings_are_refused(self, changes):
        with pytest.raises(ValueError, match=r"no method|needs"):
            TrainingConfig(**changes)

    def test_progress_rises_to_its_total(self):
        calls = []
        train(make_snapshot()[0], QUICK, progress=lambda done, total: calls.append((done, total)))
        done = [c[0] for c in calls]
        assert done == sorted(done)
        assert all(d <= t for d, t in calls)
        assert calls[-1][0] == calls[-1][1]

    def test_new_texts_are_predicted_by_all_folds_together(self):
        snapshot, truth = make_snapshot()
        p = train(snapshot, FIXED).predict_new(snapshot.x)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
        assert (p.argmax(axis=1) == truth).mean() > 0.8


class TestNumbersTooLarge:
    @pytest.mark.parametrize("method", ["corrected", "cross_entropy", "gce"])
    def test_a_training_that_diverges_is_no_version(self, method):
        """Else its classifiers would be all zero, or no numbers at all, and could become champion."""
        with pytest.raises(Diverged), np.errstate(all="ignore"):
            train(make_snapshot()[0], replace(FIXED, method=method, gold_weights=(1e308,)))

    def test_a_setting_of_the_search_that_diverges_is_not_chosen(self):
        """Whichever place it has among them."""
        for losses in ([math.nan, 0.5, 0.4], [0.5, math.nan, 0.4], [0.4, 0.5, math.nan]):
            search = Search(make_snapshot()[0], QUICK, QUICK.build(), None)
            search.table = [{"calibrated_log_loss": loss} for loss in losses]
            search._scored = [{"l2": loss} for loss in losses]
            assert search._best() == {"l2": 0.4}
