import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix

from models_ml.noise.hard import hard_transition

GOLD, SILVER = np.array([0, 0, 0, 1, -1]), np.array([0, 0, 2, 0, 1])


def test_it_is_the_counts_with_a_hundredth_spread():
    third = 0.01 / 3
    expected = [[0.99 * 2 / 3 + third, third, 0.99 / 3 + third], [0.99 + third, third, third]]
    np.testing.assert_allclose(hard_transition(GOLD, SILVER, 2), expected)


def test_without_smoothing_it_is_the_confusion_matrix_of_scikit_learn():
    rng = np.random.default_rng(0)
    gold, silver = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    theirs = confusion_matrix(gold, silver, labels=range(5), normalize="true")[:4]
    np.testing.assert_allclose(hard_transition(gold, silver, 4, smoothing=0), theirs)


def test_a_class_without_gold_takes_the_row_it_is_given():
    absent = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    gold = np.where(GOLD == 1, -1, GOLD)
    np.testing.assert_allclose(hard_transition(gold, SILVER, 2)[1], 1 / 3)
    np.testing.assert_allclose(hard_transition(gold, SILVER, 2, absent=absent)[1], absent[1])


@settings(max_examples=30)
@given(arrays(np.int64, 30, elements=st.integers(-1, 3)), arrays(np.int64, 30, elements=st.integers(-1, 4)))
def test_rows_sum_to_one_and_nothing_is_impossible(gold, silver):
    matrix = hard_transition(gold, silver, 4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix.min() > 0
