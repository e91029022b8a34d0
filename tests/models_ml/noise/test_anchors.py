import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.noise.anchors import anchor_transition

# Three items of two classes; the last column: no valid answer.
P = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])


def test_a_row_is_what_the_surest_item_of_a_class_says():
    np.testing.assert_allclose(anchor_transition(P, 2, percentile=100), [P[0], P[1]])


def test_the_surest_few_are_passed_over_as_outliers():
    np.testing.assert_allclose(anchor_transition(P, 2, percentile=50), [P[2], P[2]])


def test_it_is_the_item_at_numpys_percentile():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 500)
    found = anchor_transition(p, 3)
    for i in range(3):
        assert found[i, i] == pytest.approx(np.percentile(p[:, i], 97, method="lower"))


def test_the_probabilities_it_reads_stay_what_they_are():
    before = P.copy()
    anchor_transition(P, 2)
    assert (before == P).all()


def test_where_the_annotator_never_failed_that_column_is_zero():
    assert anchor_transition(np.array([[0.9, 0.1], [0.3, 0.7]]), 2).tolist() == [[0.3, 0.7, 0.0], [0.9, 0.1, 0.0]]


@given(st.integers(1, 40), st.integers(2, 6), st.floats(0, 100))
def test_rows_sum_to_one(n, k, percentile):
    p = np.random.default_rng(n).dirichlet(np.ones(k + 1), n)
    matrix = anchor_transition(p, k, percentile)
    assert matrix.shape == (k, k + 1)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_with_anchors_it_finds_the_truth_and_above_half_it_fails():
    """Items that are certainly of a class show its row; a class mostly mislabeled is taken for another (§2.4)."""
    truth = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    of_class = np.random.default_rng(0).uniform(0, 1, 1000).round()  # certain, either way
    p = np.stack([of_class, 1 - of_class], axis=1)
    np.testing.assert_allclose(anchor_transition(p @ truth, 2), truth)
    swapped = np.array([[0.3, 0.6, 0.1], [0.6, 0.3, 0.1]])
    np.testing.assert_allclose(np.diagonal(anchor_transition(p @ swapped, 2)), 0.6)


@pytest.mark.parametrize(
    ("p", "sentence"),
    [
        (np.full((2, 5), 0.2), "5 columns for 2 classes"),
        (np.zeros((0, 3)), "no items"),
        (np.array([[0.5, 0.2, 0.2]]), "sums to 0.9, not to 1"),
        (np.array([[np.nan, 0.5, 0.5]]), "NaN"),
        (np.array([[-0.5, 1.0, 0.5]]), "hold -0.5"),
    ],
)
def test_what_is_no_distribution_is_refused(p, sentence):
    with pytest.raises(ValueError, match=sentence):
        anchor_transition(p, 2)
