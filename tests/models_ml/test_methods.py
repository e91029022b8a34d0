"""The contract: what every method in the registry keeps, and what people are told of it."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from models_ml import methods, registry
from models_ml.methods import Need, unmet
from models_ml.seeds import generator
from models_ml.training.crossfit import Snapshot, TrainedVersion, TrainingConfig, train
from models_ml.training.rebuild import broken_promise
from tests.models_ml import problems
from tests.models_ml.problems import rotate

NAMES = sorted(registry.METHODS)
N_FOLDS = 2  # each more is one more fit of each method in each test
make_snapshot = partial(problems.make_snapshot, n_folds=N_FOLDS)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def config_of(name, **parameters):
    """One λ, one l2 and one kind of Ĉ, so that what is fitted depends on data alone; few epochs, to be quick."""
    given = {parameter.name for parameter in describe(name).parameters}
    one = {"gold_weight": 5.0, "l2": 1.0, "transition": "direct", "epochs": 8, **parameters}
    config = TrainingConfig.of(name, {key: value for key, value in one.items() if key in given}, n_folds=N_FOLDS)
    return replace(config, transition="direct")  # also of methods that leave the kind to the training


def describe(name):
    return next(d for d in methods.describe() if d.name.replace("-", "_") == name)


def fit(name, snapshot, seed=0, **parameters):
    """The classifier that saw the whole snapshot."""
    method = config_of(name, **parameters).build(l2=1.0)
    transition = np.full((snapshot.n_classes, snapshot.n_classes + 1), 1 / (snapshot.n_classes + 1))
    data = snapshot.training_data(snapshot.fold >= 0, transition)
    return method, method.fit(data, generator(seed))


def logits_by_fold(name, snapshot):
    version = train(snapshot, config_of(name))
    return [classifier.logits(np.eye(snapshot.x.shape[1], dtype=np.float32)) for classifier in version.of_folds]


def check(name, snapshot):
    """Whatever the labels are, predictions are distributions and the version can be stored."""
    version = train(snapshot, config_of(name))
    for p in (version.predict_out_of_fold(snapshot.x, snapshot.fold), version.predict_new(snapshot.x)):
        assert p.shape == (len(snapshot.x), snapshot.n_classes) and p.dtype == np.float32
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    json.dumps(version.to_arrays()[1], allow_nan=False)
    return version


class TestFit:
    def test_logits_have_a_column_per_class(self, name):
        snapshot, _ = make_snapshot()
        _, classifier = fit(name, snapshot)
        z = classifier.logits(snapshot.x)
        assert z.shape == (400, 3) and z.dtype == np.float32
        np.testing.assert_allclose(classifier.logits(snapshot.x[7:8]), z[7:8], atol=1e-4)

    def test_it_learns(self, name):
        snapshot, truth = make_snapshot()
        _, classifier = fit(name, snapshot)
        assert (classifier.logits(snapshot.x).argmax(axis=1) == truth).mean() > 0.7

    def test_the_same_seed_gives_the_same_logits(self, name):
        snapshot, _ = make_snapshot()
        a, b = (fit(name, snapshot)[1].logits(snapshot.x) for _ in range(2))
        assert a.tobytes() == b.tobytes()

    def test_it_draws_from_no_global_stream(self, name):
        import torch

        snapshot, _ = make_snapshot()
        before = np.random.get_state()[1].tobytes(), torch.random.get_rng_state().numpy().tobytes()
        fit(name, snapshot)
        assert (np.random.get_state()[1].tobytes(), torch.random.get_rng_state().numpy().tobytes()) == before

    def test_its_state_makes_it_again(self, name):
        snapshot, _ = make_snapshot()
        method, classifier = fit(name, snapshot)
        again = method.load({key: array.copy() for key, array in classifier.state().items()})
        assert again.logits(snapshot.x).tobytes() == classifier.logits(snapshot.x).tobytes()

    def test_its_data_are_not_changed(self, name):
        snapshot, _ = make_snapshot()
        before = [array.tobytes() for array in (snapshot.x, snapshot.gold, snapshot.silver)]
        fit(name, snapshot)
        assert [array.tobytes() for array in (snapshot.x, snapshot.gold, snapshot.silver)] == before

    def test_gradients_stay_finite_where_a_label_has_no_probability_left(self, name):
        snapshot, _ = make_snapshot()
        _, classifier = fit(name, replace(snapshot, x=snapshot.x * np.float32(1e4)))
        assert all(np.isfinite(array).all() for array in classifier.state().values())


class TestOutOfFold:
    def test_labels_of_a_fold_never_reach_its_classifier(self, name):
        snapshot, _ = make_snapshot()
        hidden = snapshot.fold == 1
        changed = replace(snapshot, gold=rotate(snapshot.gold, hidden, 3), silver=rotate(snapshot.silver, hidden, 4))
        a, b = logits_by_fold(name, snapshot), logits_by_fold(name, changed)
        assert a[1].tobytes() == b[1].tobytes()
        assert a[0].tobytes() != b[0].tobytes()

    def test_the_contents_of_a_fold_never_reach_its_classifier(self, name):
        snapshot, _ = make_snapshot()
        x = snapshot.x.copy()
        x[snapshot.fold == 1] = 0
        assert logits_by_fold(name, snapshot)[1].tobytes() == logits_by_fold(name, replace(snapshot, x=x))[1].tobytes()


class TestPoorData:
    @pytest.mark.parametrize("k", [2, 50])
    def test_few_and_many_classes(self, name, k):
        check(name, make_snapshot(k=k)[0])

    def test_a_class_without_gold(self, name):
        snapshot, _ = make_snapshot()
        check(name, replace(snapshot, gold=np.where(snapshot.gold == 2, -1, snapshot.gold)))

    def test_one_gold_item(self, name):
        check(name, make_snapshot(n_gold=1, n_reference=1)[0])

    def test_no_gold_is_said_beforehand_where_it_is_needed(self, name):
        snapshot, _ = make_snapshot(n_gold=0)
        assert unmet(describe(name).needs, n_gold=0, n_silver=400, n_soft_silver=0) == (
            [Need.GOLD] if Need.GOLD in describe(name).needs else []
        )
        check(name, snapshot)  # and what is trained all the same, as a rebuild may, knows nothing

    def test_no_silver(self, name):
        check(name, replace(make_snapshot()[0], silver=np.full(400, -1)))

    def test_all_silver_failed(self, name):
        check(name, replace(make_snapshot()[0], silver=np.full(400, 3)))

    def test_no_item(self, name):
        none = np.zeros(0, np.int64)
        check(name, Snapshot(np.zeros((0, 4), np.float32), none, none, none, none > 0, 3))


class TestVersion:
    def test_it_survives_being_stored(self, name):
        snapshot, _ = make_snapshot()
        version = train(snapshot, config_of(name))
        arrays, settings = version.to_arrays()
        again = TrainedVersion.from_arrays(arrays, json.loads(json.dumps(settings, allow_nan=False)))
        assert again.config == version.config and again.method == version.method
        p = version.predict_out_of_fold(snapshot.x, snapshot.fold)
        assert again.predict_out_of_fold(snapshot.x, snapshot.fold).tobytes() == p.tobytes()
        assert again.predict_new(snapshot.x).tobytes() == version.predict_new(snapshot.x).tobytes()

    def test_a_rebuild_from_what_is_stored_keeps_the_promise(self, name):
        snapshot, _ = make_snapshot()
        stored = train(snapshot, config_of(name))
        config = TrainingConfig.from_dict(json.loads(json.dumps(stored.config.to_dict())))
        assert broken_promise(stored, train(snapshot, config), snapshot) is None

    def test_soft_silver_and_strata_reach_the_fit(self):
        snapshot, _ = make_snapshot()
        soft, strata = np.full((400, 3), 1 / 3, np.float32), np.arange(400) % 2
        snapshot = replace(snapshot, silver_probability=soft, strata=strata)
        data = snapshot.training_data(snapshot.fold != 1, np.full((3, 4), 0.25))
        n = int((snapshot.fold != 1).sum())
        assert data.silver_probability.shape == (n, 3)
        assert data.strata.tolist() == strata[snapshot.fold != 1].tolist()
        assert data.transitions.shape == (1, 3, 4)
        assert not data.reference[data.gold < 0].any()


class TestDescription:
    def test_every_method_says_what_it_is(self, name):
        d = describe(name)
        assert d.title and d.sentence.endswith(".") and d.source
        assert d.reproduces in ("bits", "seed")
        assert all(need.sentence for need in d.needs)
        assert all(p.sentence.endswith((".", ")")) for p in d.parameters)
        json.dumps(dataclasses.asdict(d), allow_nan=False)

    def test_it_is_named_after_its_file(self, name):
        module, _ = registry.METHODS[name].split(":")
        assert methods.find(name).name == name == module.rsplit(".", 1)[-1]

    def test_what_is_described_can_be_built(self, name):
        d = describe(name)
        built = methods.build(d.name, {p.name: p.default for p in d.parameters})
        assert built == methods.build(d.name)
        for p in d.parameters:
            for value in (*p.tries, *p.choices):
                methods.build(d.name, {p.name: value})

    def test_describing_and_fitting_by_full_batch_load_no_torch(self):
        code = (
            "import sys, numpy as np; from models_ml import methods; from models_ml.training.crossfit import *;"
            "methods.describe(); n = np.arange(20);"
            "train(Snapshot(np.eye(20, dtype='f4'), n % 5, n % 2, n % 2, n < 9, 2));"
            "sys.exit('torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestBuild:
    @pytest.mark.parametrize(
        ("name", "parameters", "sentence"),
        [
            ("magic", {}, "There is no method 'magic'; choose one of corrected, cross-entropy, gold-only"),
            ("corrected", {"epochs": 3}, "no parameter 'epochs'; it has: gold_weight, l2, transition"),
            ("gold-only", {"gold_weight": 3}, "gold-only has no parameter 'gold_weight'"),
            ("corrected", {"l2": -1}, "l2 must be between 0.0001 and 10000, not -1"),
            ("corrected", {"gold_weight": -1}, "gold_weight must be at least 0, not -1"),
            ("corrected", {"l2": 10**400}, "l2 must be a number"),
            ("corrected", {"l2": "much"}, "l2 must be a number, not 'much'"),
            ("corrected", {"l2": True}, "l2 must be a number, not True"),
            ("corrected", {"l2": float("nan")}, "l2 must be a number"),
            ("corrected", {"l2": None}, "l2 must be a number"),
            (
                "corrected",
                {"transition": "best"},
                "transition must be one of auto, direct, glc, counts, anchor, dual-t, not 'best'",
            ),
            ("corrected", {"transition": ["glc"]}, "transition must be one of"),
        ],
    )
    def test_it_refuses_with_a_sentence(self, name, parameters, sentence):
        with pytest.raises(ValueError, match=sentence):
            methods.build(name, parameters)

    def test_it_takes_json_values(self):
        built = methods.build("corrected", {"gold_weight": "inf", "l2": 1, "transition": "glc"})
        assert (built.gold_weight, built.l2, built.transition) == (np.inf, 1.0, "glc")


class TestConfig:
    def test_a_parameter_that_is_given_is_not_searched(self):
        config = TrainingConfig.of("corrected", {"l2": 0.5}, n_folds=3, seed=4)
        assert config.l2 == (0.5,) and len(config.gold_weights) == 5
        assert (config.n_folds, config.seed) == (3, 4)

    def test_what_the_first_methods_store_is_what_they_stored(self):
        assert set(TrainingConfig.of("gold-only").to_dict()) == {
            "method",
            "gold_weights",
            "l2",
            "n_folds",
            "transition",
            "min_reference",
            "default_gold_weight",
            "default_l2",
            "seed",
        }


class TestNeeds:
    def test_it_names_what_a_project_lacks(self):
        every = frozenset(Need)
        assert unmet(every, n_gold=0, n_silver=0, n_soft_silver=0) == [Need.GOLD, Need.SILVER, Need.SOFT_SILVER]
        assert unmet(every, n_gold=1, n_silver=1, n_soft_silver=1) == []
