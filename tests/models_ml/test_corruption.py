"""Labels that are wrong in known ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.noise.corruption import corrupt, flip_matrix, length_bin, uniform_matrix

RATES = st.floats(0, 1)


def rng(seed=0):
    return np.random.default_rng(seed)


class TestMatrices:
    def test_uniform_draws_from_all_classes(self):
        np.testing.assert_allclose(uniform_matrix(0.6, 3), [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])

    def test_a_flip_goes_to_one_other_class(self):
        matrix = flip_matrix(0.3, 5, rng())
        assert np.diag(matrix).tolist() == [0.7] * 5
        others = matrix - np.diag(np.diag(matrix))
        assert ((others > 0).sum(axis=1) == 1).all() and (others.max(axis=1) == 0.3).all()

    @given(RATES)
    def test_with_two_classes_uniform_noise_is_half_as_many_flips(self, rate):
        np.testing.assert_allclose(uniform_matrix(rate, 2), flip_matrix(rate / 2, 2, rng()), atol=1e-15)

    @given(RATES, st.integers(2, 12), st.integers(0, 99))
    def test_rows_are_distributions(self, rate, k, seed):
        for matrix in (uniform_matrix(rate, k), flip_matrix(rate, k, rng(seed))):
            assert matrix.shape == (k, k) and (matrix >= 0).all()
            np.testing.assert_allclose(matrix.sum(axis=1), 1)

    def test_the_other_class_is_the_same_at_every_rate(self):
        few, many = (flip_matrix(rate, 9, rng(4)) for rate in (0.1, 0.9))
        np.testing.assert_array_equal(few > 0, many > 0)

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
    def test_a_rate_is_a_share(self, rate):
        for make in (lambda: uniform_matrix(rate, 3), lambda: flip_matrix(rate, 3, rng())):
            with pytest.raises(ValueError, match="between 0 and 1"):
                make()


class TestCorrupt:
    TRUTH = np.arange(30_000) % 3

    def test_labels_are_as_often_wrong_as_the_matrix_says(self):
        matrix = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])
        labels = corrupt(self.TRUTH, matrix[None], rng())
        found = [np.bincount(labels[i == self.TRUTH], minlength=3) / 10_000 for i in range(3)]
        np.testing.assert_allclose(found, matrix, atol=0.015)

    def test_each_group_has_its_own_matrix(self):
        group = np.arange(len(self.TRUTH)) % 2
        labels = corrupt(self.TRUTH, np.stack([np.eye(3), flip_matrix(1.0, 3, rng())]), rng(), group)
        assert (labels[group == 0] == self.TRUTH[group == 0]).all()
        assert (labels[group == 1] != self.TRUTH[group == 1]).all()

    def test_a_higher_rate_flips_the_same_labels_and_more(self):
        few, many = (corrupt(self.TRUTH, flip_matrix(rate, 3, rng(1))[None], rng(2)) for rate in (0.2, 0.3))
        assert set(np.flatnonzero(few != self.TRUTH)) < set(np.flatnonzero(many != self.TRUTH))

    @pytest.mark.parametrize("matrix", [np.eye(3), np.zeros((1, 2, 3))])
    def test_another_shape_is_refused(self, matrix):
        with pytest.raises(ValueError, match="groups × classes × classes"):
            corrupt(self.TRUTH, matrix, rng())

    @pytest.mark.parametrize("row", [[0.5, 0.4, 0.0], [np.nan, 0.5, 0.5], [-0.5, 1.0, 0.5]])
    def test_a_row_that_is_no_distribution_is_refused(self, row):
        with pytest.raises(ValueError, match="does not sum to one"):
            corrupt(self.TRUTH, np.array([[row, row, row]]), rng())

    def test_labels_and_groups_out_of_range_are_refused(self):
        with pytest.raises(ValueError, match="true label lies outside"):
            corrupt(np.array([0, 3]), np.eye(3)[None], rng())
        with pytest.raises(ValueError, match="group has no noise matrix"):
            corrupt(np.array([0, 2]), np.eye(3)[None], rng(), np.array([0, 1]))


def test_lengths_fall_into_three_bins():
    assert length_bin(np.array([0, 2, 3, 5, 6, 30])).tolist() == [0, 0, 1, 1, 2, 2]
