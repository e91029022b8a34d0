import numpy as np
import pytest

from models_ml.metrics import accuracy, ece, item_log_loss, log_loss

P = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
Y = np.array([0, 1, 1, 1])


def test_accuracy_is_the_share_of_right_largest():
    assert accuracy(P, Y) == 0.75


def test_log_loss_is_the_mean_surprise_in_nats():
    np.testing.assert_allclose(item_log_loss(P, Y), -np.log([0.9, 0.4, 0.7, 0.8]))
    assert log_loss(P, Y) == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.8]).mean())


def test_a_zero_is_bad_but_finite():
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-12))


def test_ece_is_the_mean_gap_between_confidence_and_accuracy():
    # Two bins: .6 (wrong), .7 (right) lie with .8 and .9 (right) in the upper half.
    assert ece(P, Y, n_bins=2) == pytest.approx(abs(0.75 - 0.75))
    assert ece(P, Y, n_bins=10) == pytest.approx((0.1 + 0.6 + 0.3 + 0.2) / 4)


def test_full_confidence_falls_into_the_last_bin():
    assert ece(np.array([[1.0, 0.0]]), np.array([0])) == 0


def test_no_rows_is_unknown():
    none = np.zeros((0, 2)), np.zeros(0, int)
    assert all(np.isnan(f(*none)) for f in (accuracy, log_loss, ece))
