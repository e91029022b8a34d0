import numpy as np
from sklearn.linear_model import LogisticRegression

from models_ml.losses import make_targets, marginal_likelihood
from models_ml.networks.linear import softmax, zero_classifier
from models_ml.training.full_batch import SolverConfig, fit_linear

EXACT = SolverConfig(max_iterations=2000, tolerance=1e-12)


def make_data(n=300, d=20, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = rng.standard_normal((n, d)) + 0.5 * rng.standard_normal((k, d))[y]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


def fit(x, y, k=3, l2=1.0, **options):
    objective = marginal_likelihood(make_targets(y, np.full(len(y), -1), k, np.inf))
    return fit_linear(x, objective, k, l2, **options)


def test_it_is_logistic_regression_on_plain_labels():
    x, y = make_data()
    ours = fit(x, y, l2=0.5, solver=EXACT).predict_proba(x)
    # Our bias carries a hundredth of the penalty: to scikit-learn that is a constant feature of 10.
    wide = np.hstack([x, np.full((len(x), 1), 10.0)])
    theirs = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-10, max_iter=5000).fit(wide, y)
    np.testing.assert_allclose(ours, theirs.predict_proba(wide), atol=2e-4)


def test_a_repeat_is_bit_equal():
    x, y = make_data()
    a, b = fit(x, y), fit(x, y)
    assert a.weight.tobytes() == b.weight.tobytes()
    assert a.bias.tobytes() == b.bias.tobytes()


def test_a_warm_start_ends_where_a_cold_one_does():
    x, y = make_data()
    cold = fit(x, y, solver=EXACT)
    warm = fit(x, y, start=fit(x, y, l2=10.0), solver=EXACT)
    np.testing.assert_allclose(warm.weight, cold.weight, atol=1e-3)


def test_stronger_l2_gives_smaller_weights():
    x, y = make_data()
    assert np.linalg.norm(fit(x, y, l2=10.0).weight) < np.linalg.norm(fit(x, y, l2=0.1).weight)


def test_a_class_that_never_occurs_stays_finite():
    x, y = make_data()
    p = fit(x, y, k=5).predict_proba(x)
    assert np.isfinite(p).all()
    assert p[:, 3:].max() < 0.05


def test_nothing_to_learn_from_is_uniform():
    x = np.zeros((0, 4), np.float32)
    head = fit(x, np.zeros(0, np.int64))
    np.testing.assert_allclose(head.predict_proba(np.ones((2, 4), np.float32)), 1 / 3)


def test_rows_sum_to_one_even_for_huge_logits():
    p = softmax(np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert zero_classifier(2, 3).predict_proba(np.ones((1, 2), np.float32)).dtype == np.float32
