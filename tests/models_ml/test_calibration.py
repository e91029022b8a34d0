import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from models_ml.calibration import (
    CalibrationConfig,
    apply_temperature,
    fit_combiner,
    fit_temperature,
    safe_log,
    uniform_noise,
)
from models_ml.metrics import log_loss


def make_logits(n=4000, k=3, seed=0):
    """Logits whose softmax is the truth, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, k))
    p = apply_temperature(z, 1.0)
    return z, (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)


class TestTemperature:
    def test_it_finds_how_overconfident_scores_are(self):
        z, y = make_logits()
        assert fit_temperature(3 * z, y) == pytest.approx(3, rel=0.1)

    def test_it_is_one_without_items(self):
        assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1

    def test_few_items_stay_near_one(self):
        z, y = make_logits()
        assert 1 < fit_temperature(3 * z[:3], y[:3], sd=0.1) < 1.5

    def test_it_stays_finite_when_everything_is_right(self):
        z = np.eye(3)[[0, 1, 2] * 20] * 5
        assert 0.05 <= fit_temperature(z, np.array([0, 1, 2] * 20)) < 1


class TestOneRate:
    def test_it_spreads_the_error_by_the_marginal(self):
        p = uniform_noise(np.array([0, 2]), 0.2, np.array([0.5, 0.3, 0.2]))
        np.testing.assert_allclose(p, [[0.8, 0.12, 0.08], [0.125, 0.075, 0.8]])

    @given(st.integers(2, 9), st.floats(0, 1))
    def test_rows_sum_to_one(self, k, error):
        p = uniform_noise(np.arange(k), error, np.full(k, 1 / k))
        np.testing.assert_allclose(p.sum(axis=1), 1)


class TestCombiner:
    def pair(self, n=600, seed=0):
        z, y = make_logits(n, seed=seed)
        rng = np.random.default_rng(seed + 1)
        logs = [log_softmax(z + rng.normal(0, s, z.shape), axis=1) for s in (0.3, 3.0)]
        return logs[0], logs[1], y

    def test_nothing_to_fit_is_the_default(self):
        none = np.zeros((0, 3))
        c = fit_combiner(none, none, np.zeros(0, int))
        assert (c.a, c.b, c.c.tolist()) == (0.5, 0.5, [0, 0, 0])

    def test_the_default_is_the_geometric_mean(self):
        c = fit_combiner(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int))
        p = c(np.log([[0.5, 0.5]]), np.log([[0.8, 0.2]]))
        root = np.sqrt([0.8, 0.2])
        np.testing.assert_allclose(p[0], root / root.sum())

    def test_it_trusts_the_better_one_more(self):
        good, poor, y = self.pair()
        c = fit_combiner(good, poor, y)
        assert c.a > 3 * c.b
        assert log_loss(c(good, poor), y) < log_loss(np.exp(poor), y)

    def test_a_strong_ridge_keeps_the_default(self):
        good, poor, y = self.pair()
        c = fit_combiner(good, poor, y, CalibrationConfig(weight_ridge=1e9, bias_ridge=1e9))
        np.testing.assert_allclose([c.a, c.b, *c.c], [0.5, 0.5, 0, 0, 0], atol=1e-4)

    def test_it_is_where_the_gradient_of_log_loss_and_ridge_vanishes(self):
        good, poor, y = self.pair(100)
        config = CalibrationConfig()
        c = fit_combiner(good, poor, y, config)
        d = c(good, poor) - np.eye(3)[y]
        gradient = [
            (d * good).sum() + config.weight_ridge * (c.a - 0.5),
            (d * poor).sum() + config.weight_ridge * (c.b - 0.5),
            *(d.sum(axis=0) + config.bias_ridge * c.c),
        ]
        np.testing.assert_allclose(gradient, 0, atol=1e-3)


def test_safe_log_lifts_zeros_and_normalises():
    z = safe_log(np.array([[1.0, 0.0], [2.0, 2.0]]), floor=1e-3)
    np.testing.assert_allclose(np.exp(z).sum(axis=1), 1)
    assert z[0, 1] == pytest.approx(np.log(1e-3 / 1.001))
