"""Scores of the pool and the k largest of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.acquisition.scores import SCORES, entropy, least_confidence, margin, top_k

TABLE = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])


class TestScores:
    def test_it_scores_margins(self):
        assert margin(TABLE) == pytest.approx([0.5, 1.0, 0.0, 1.0])

    def test_it_scores_least_confidence(self):
        assert least_confidence(TABLE) == pytest.approx([0.3, 0.6, 0.0, 2 / 3])

    def test_it_scores_entropy_and_takes_zero_log_zero_as_zero(self):
        assert entropy(TABLE) == pytest.approx([0.801819, 1.054920, 0.0, np.log(3)], abs=1e-6)

    @pytest.mark.parametrize("score", SCORES.values())
    def test_it_equals_the_plain_expression_on_many_rows(self, score):
        p = np.random.default_rng(1).dirichlet(np.ones(7), 20_001)
        ordered = np.sort(p, axis=1)
        plain = {
            margin: 1 - (ordered[:, -1] - ordered[:, -2]),
            least_confidence: 1 - ordered[:, -1],
            entropy: -(p * np.log(p)).sum(axis=1),
        }
        assert score(p) == pytest.approx(plain[score])

    @pytest.mark.parametrize("score", SCORES.values())
    def test_it_keeps_unknown_unknown(self, score):
        assert np.isnan(score(np.array([[np.nan, 0.5], [0.5, 0.5]]))).tolist() == [True, False]

    @pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2, 2)])
    def test_it_refuses_other_shapes(self, shape):
        with pytest.raises(ValueError, match="K >= 2"):
            margin(np.ones(shape))

    def test_it_scores_an_empty_pool(self):
        assert margin(np.empty((0, 3))).shape == (0,)


class TestTopK:
    def test_it_gives_the_largest_first(self):
        assert top_k(np.array([0.1, 0.9, 0.5]), 2).tolist() == [1, 2]

    def test_it_breaks_ties_by_position(self):
        assert top_k(np.array([1.0, 2.0, 1.0, 1.0, 2.0]), 3).tolist() == [1, 4, 0]

    def test_it_takes_only_the_eligible(self):
        eligible = np.array([True, False, True])
        assert top_k(np.array([0.1, 0.9, 0.5]), 3, eligible).tolist() == [2, 0]

    def test_it_puts_the_unknown_last(self):
        assert top_k(np.array([np.nan, 0.2, 0.3]), 3).tolist() == [2, 1, 0]

    def test_it_gives_nothing_for_nothing(self):
        assert top_k(np.array([1.0]), 0).tolist() == []

    @given(st.lists(st.integers(0, 4), max_size=40), st.integers(0, 45), st.randoms(use_true_random=False))
    def test_it_equals_a_stable_sort(self, values, k, random):
        scores = np.array(values, dtype=float)
        eligible = np.array([random.random() < 0.7 for _ in values], dtype=bool)
        slow = sorted(np.flatnonzero(eligible), key=lambda i: (-scores[i], i))[:k]
        assert top_k(scores, k, eligible).tolist() == slow
