"""Bad input gives a sentence that names the problem."""

import numpy as np
import pytest

from models_ml.noise.bins import binned
from models_ml.noise.choice import choose_transition
from models_ml.noise.strata import by_stratum
from models_ml.noise.transition import direct_transition, glc_transition, transition_counts, weighted_counts

GOLD, SILVER = np.array([0, 1, -1]), np.array([0, 2, 1])


@pytest.mark.parametrize(
    ("gold", "silver", "sentence"),
    [
        (np.array([0, 2, -1]), SILVER, "Among the gold labels is 2, but they go from -1 .none. to 1"),
        (np.array([0, -2, -1]), SILVER, "Among the gold labels is -2"),
        (GOLD, np.array([0, 3, 1]), "Among the silver labels is 3, but they go from -1 .none. to 2"),
        (GOLD, np.array([0, np.nan, 1]), "silver labels must be whole numbers"),
        (GOLD.astype(float), SILVER, "gold labels must be whole numbers"),
        (GOLD[:2], SILVER, "2 gold and 3 silver labels"),
    ],
)
def test_labels(gold, silver, sentence):
    same = {"direct": np.full((1, 2, 3), 1 / 3)}
    for refuses in (
        lambda: transition_counts(gold, silver, 2),
        lambda: direct_transition(gold, silver, 2),
        lambda: choose_transition(gold, silver, np.zeros(3, int), same),
    ):
        with pytest.raises(ValueError, match=sentence):
            refuses()


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (np.array([1.0, 0.0, 1.0]), "a number above 0"),
        (np.array([1.0, np.nan, 1.0]), "a number above 0"),
        (np.ones(2), "2 weights for 3 items"),
    ],
)
def test_weights(weight, sentence):
    with pytest.raises(ValueError, match=sentence):
        weighted_counts(GOLD, SILVER, 2, weight)


def test_the_weight_of_an_item_without_gold_is_not_looked_at():
    assert np.isfinite(weighted_counts(GOLD, SILVER, 2, np.array([1.0, 2.0, np.nan]))).all()


def test_probabilities():
    with pytest.raises(ValueError, match="sums to 0.7, not to 1"):
        glc_transition(np.array([[0.5, 0.1, 0.1]]), np.array([0]), 2)
    with pytest.raises(ValueError, match="2 items, but gold of 1"):
        glc_transition(np.full((2, 3), 1 / 3), np.array([0]), 2)


@pytest.mark.parametrize(
    ("stratum", "sentence"),
    [
        (np.array([0, -1, 0]), "go from -1 to 0"),
        (np.array([0, 100, 0]), "go from 0 to 100; number them from 0, at most 100"),
        (np.array([0.0, 1.0, 0.0]), "whole numbers"),
        (np.array([0]), "1 entries for 3 items"),
    ],
)
def test_strata(stratum, sentence):
    with pytest.raises(ValueError, match=sentence):
        by_stratum(np.full((2, 3), 1 / 3), GOLD, SILVER, stratum)


class TestBins:
    def test_an_edge_begins_its_bin_and_nothing_known_is_a_bin_of_its_own(self):
        assert binned(np.array([1, 3, 5, 6, np.nan]), [3, 6]).tolist() == [0, 1, 1, 2, 3]

    def test_edges_must_rise(self):
        with pytest.raises(ValueError, match="must rise"):
            binned(np.array([1.0]), [3, 3])
