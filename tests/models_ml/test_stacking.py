"""The stack against hand-sized numbers, scikit-learn, and what it promises of folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from models_ml.label_combination import fit_label_combination
from models_ml.metrics import log_loss
from models_ml.stacking import StackConfig, fit_stack, stack_inputs
from tests.models_ml.problems import rotate

LOG = np.log


def make_pool(n=150, k=3, d=4, n_gold=75, seed=0):
    """Items of overlapping classes; silver right in six of ten, sometimes failed or never asked, some of it unsure."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    silver = np.where(rng.random(n) < 0.6, truth, rng.integers(0, k, n))
    silver[::10], silver[1::20] = k, -1
    soft = rng.dirichlet(np.ones(k), n).astype(np.float32)
    soft[rng.random(n) < 0.5] = np.nan
    return {
        "x": (rng.standard_normal((n, d)) + rng.standard_normal((k, d))[truth]).astype(np.float32),
        "silver": silver,
        "silver_probability": soft,
        "gold": np.where(np.arange(n) < n_gold, truth, -1),
        "fold": rng.integers(0, 5, n),
        "n_classes": k,
    }


class TestInputs:
    def test_by_hand(self):
        x = np.float32([[3, 4], [0, 2], [0, 0], [5, 0]])
        soft = np.array([[np.nan, np.nan], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
        found = stack_inputs(x, np.array([1, 0, 2, -1]), soft, 2)
        unsure, sure = LOG(4) / 2, LOG(3) / 2  # of .8 to .2, and of .75 to .25
        expected = [[1.8, 2.4, -unsure, unsure], [0, 3, -sure, sure], [0, 0, 0, 0], [3, 0, 0, 0]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.dtype == np.float32

    def test_a_label_among_three_stands_out_by_the_log_of_eight(self):
        (row,) = stack_inputs(np.zeros((1, 1), np.float32), np.array([2]), None, 3)
        np.testing.assert_allclose(row, [0, -LOG(8) / 3, -LOG(8) / 3, 2 * LOG(8) / 3], rtol=1e-6)


class TestFit:
    def test_without_anything_to_look_at_it_is_the_share_of_gold_held_back_by_the_bias(self):
        """All 16 seen items are of class 0: 16·log(1 + exp -2b) + l2/100 · b² is least at 32·(1 - p) = l2/50 · b."""
        n, l2 = 20, 3.0
        nothing = {"x": np.zeros((n, 2), np.float32), "silver": np.full(n, -1), "silver_probability": None}
        fold = np.arange(n) % 5
        config = StackConfig(l2=(l2,))
        stack = fit_stack(**nothing, gold=np.zeros(n, int), fold=fold, n_classes=2, config=config)
        p = stack.probabilities[:, 0].astype(np.float64)
        b = np.log(p / (1 - p)) / 2
        np.testing.assert_allclose(32 * (1 - p), l2 / 50 * b, rtol=0.02)

    def test_it_is_scikit_learns_logistic_regression_with_an_l2_chosen_inside(self):
        data, config = make_pool(), StackConfig(l2=(10.0, 0.1))
        stack = fit_stack(**data, config=config)
        columns = ("x", "silver", "silver_probability", "n_classes")
        z = stack_inputs(*(data[name] for name in columns))
        wide = np.hstack([z, np.full((len(z), 1), 10.0)])  # see test_full_batch.py
        gold, fold = data["gold"], data["fold"]

        def predict(seen, rows, l2):
            seen = seen & (gold >= 0)
            fitted = LogisticRegression(C=1 / l2, fit_intercept=False, tol=1e-8, max_iter=2000)
            return fitted.fit(wide[seen], gold[seen]).predict_proba(wide[rows])

        for f in range(5):
            inner = [
                sum(
                    log_loss(predict(~np.isin(fold, (f, g)), held, l2), gold[held]) * held.sum()
                    for g in range(5)
                    if g != f and (held := (fold == g) & (gold >= 0)).any()
                )
                for l2 in config.l2
            ]
            assert stack.l2[f] == config.l2[np.argmin(inner)]
            rows = fold == f
            np.testing.assert_allclose(stack.probabilities[rows], predict(~rows, rows, stack.l2[f]), atol=3e-3)
        assert stack.n_gold == 75

    @settings(max_examples=5, deadline=None)
    @given(fold=st.integers(0, 4), seed=st.integers(0, 1000))
    def test_an_items_prediction_never_saw_gold_of_its_fold(self, fold, seed):
        data, config = make_pool(n=80, n_gold=40, seed=seed), StackConfig(l2=(10.0, 1.0))
        held = data["fold"] == fold
        before = fit_stack(**data, config=config)
        other = fit_stack(**{**data, "gold": rotate(data["gold"], held, 3)}, config=config)
        assert other.probabilities[held].tobytes() == before.probabilities[held].tobytes()
        assert other.l2[fold] == before.l2[fold]
        np.testing.assert_allclose(before.probabilities.sum(axis=1), 1, rtol=1e-5)

    def test_the_same_gold_gives_the_same_bits(self):
        data = make_pool()
        assert fit_stack(**data).probabilities.tobytes() == fit_stack(**data).probabilities.tobytes()

    def test_below_five_labels_a_class_there_is_none(self):
        assert fit_stack(**make_pool(n_gold=14)) is None
        assert fit_stack(**make_pool(n_gold=15)) is not None
        assert fit_stack(**make_pool(n=0, n_gold=0)) is None

    def test_what_is_scarce_leaves_it_finite(self):
        many, one_fold, one_class, failed = make_pool(300, k=50, n_gold=250), make_pool(), make_pool(), make_pool(k=2)
        one_fold["gold"] = np.where(one_fold["fold"] == 2, one_fold["gold"], -1)
        one_class["gold"] = np.minimum(one_class["gold"], 0)
        failed |= {"silver": np.full(150, 2), "silver_probability": None}
        for data in (many, one_fold, one_class, failed):
            p = fit_stack(**data, config=StackConfig(gold_per_class=1, l2=(3.0, 0.3))).probabilities
            assert np.isfinite(p).all()
        assert (fit_stack(**one_class).probabilities[:, 0] > 0.9).all()

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"x": np.full((150, 4), np.nan, np.float32)}, "vectors hold numbers"),
            ({"gold": np.full(150, 3)}, "outside the classes"),
            ({"silver": np.full(150, 4)}, "outside the classes"),
            ({"silver": np.full(150, -2)}, "outside the classes"),
            ({"gold": np.zeros(149, int)}, "one silver label, gold label and fold"),
            ({"fold": np.full(150, -1)}, "fold is negative"),
            ({"silver_probability": np.full((150, 3), 0.3)}, "does not sum to one"),
            ({"silver_probability": np.tile([1.5, -0.5, 0.0], (150, 1))}, "negative number"),
            ({"silver_probability": np.full((150, 2), 0.5)}, "one column per class"),
        ],
    )
    def test_bad_input_is_named(self, changes, sentence):
        with pytest.raises(ValueError, match=sentence):
            fit_stack(**{**make_pool(), **changes})


def test_what_the_machine_confuses_and_the_vector_tells_apart_the_blend_gets_right_and_the_combiner_does_not():
    """The machine takes class 2 for class 1; the model is weak, as one that learned from such silver."""
    rng = np.random.default_rng(5)
    n, k = 900, 3
    truth = rng.integers(0, k, n)
    x = np.stack([np.where(truth == 2, 1.0, -1.0) * (truth > 0), np.ones(n)], axis=1) + 0.4 * rng.standard_normal(
        (n, 2)
    )
    silver = np.minimum(truth, 1)
    p_oof = np.full((n, k), 0.25)
    p_oof[np.arange(n), np.where(rng.random(n) < 0.4, truth, rng.integers(0, k, n))] = 0.5
    known = np.where(np.arange(n) < 240, truth, -1)
    data = {"silver": silver, "silver_probability": None, "fold": rng.integers(0, 5, n), "n_classes": k, "gold": known}
    stack = fit_stack(**data, x=x.astype(np.float32)).probabilities
    given = {**data, "p_oof": p_oof, "reference": np.arange(n) < 120}
    control, blend = fit_label_combination(**given), fit_label_combination(**given, stack=stack)
    assert blend.rule == "blend"
    right = [
        (rule.posterior(silver, None, p_oof, stack).argmax(axis=1) == truth)[240:].mean() for rule in (control, blend)
    ]
    assert right[0] < 0.8
    assert right[1] > right[0] + 0.1
