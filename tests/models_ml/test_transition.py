import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models_ml.noise.choice import choose_transition
from models_ml.noise.transition import (
    direct_prior,
    direct_transition,
    glc_transition,
    pooled_error,
    silver_marginal,
    transition_counts,
    weighted_counts,
)

# Two classes; silver 2 is a failure. Class 0: right, right, failed. Class 1: wrong. The last two have no gold.
GOLD = np.array([0, 0, 0, 1, -1, -1])
SILVER = np.array([0, 0, 2, 0, 1, -1])


class TestCounts:
    def test_it_counts_pairs_and_failures(self):
        assert transition_counts(GOLD, SILVER, 2).tolist() == [[2, 0, 1], [1, 0, 0]]

    def test_it_ignores_gold_that_was_never_sent_to_the_machine(self):
        assert transition_counts(np.array([1]), np.array([-1]), 2).sum() == 0


class TestPooledError:
    def test_it_counts_failures_as_wrong(self):
        assert pooled_error(GOLD, SILVER) == pytest.approx((2 + 1) / (4 + 5))

    def test_it_is_one_fifth_before_any_gold(self):
        assert pooled_error(np.full(6, -1), SILVER) == pytest.approx(0.2)


class TestDirect:
    def test_it_is_counts_shrunk_to_the_prior(self):
        error = 3 / 9
        marginal = np.array([3 + 1 / 3, 1 + 1 / 3, 1 + 1 / 3]) / 6
        others = error * marginal[1:] / marginal[1:].sum()
        prior = np.array([1 - error, *others])
        expected = (np.array([2, 0, 1]) + 5 * prior) / (3 + 5)
        np.testing.assert_allclose(direct_transition(GOLD, SILVER, 2)[0], expected)

    def test_it_is_the_prior_for_a_class_without_gold(self):
        gold = np.array([0, 0, 0, -1, -1, -1])
        np.testing.assert_allclose(direct_transition(gold, SILVER, 2)[1], direct_prior(gold, SILVER, 2)[1], rtol=1e-15)

    def test_it_has_no_zero_even_when_the_machine_was_never_wrong(self):
        labels = np.arange(50) % 3
        assert direct_transition(labels, labels, 3).min() > 0

    @given(arrays(np.int64, 30, elements=st.integers(-1, 3)), arrays(np.int64, 30, elements=st.integers(-1, 4)))
    def test_rows_sum_to_one(self, gold, silver):
        for matrix in (direct_transition(gold, silver, 4), direct_prior(gold, silver, 4)):
            assert matrix.shape == (4, 5)
            np.testing.assert_allclose(matrix.sum(axis=1), 1)

    def test_it_goes_to_the_truth_with_much_gold(self):
        rng = np.random.default_rng(0)
        truth = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
        gold = rng.integers(0, 2, 20_000)
        silver = (rng.random(20_000)[:, None] > truth[gold].cumsum(axis=1)).sum(axis=1)
        np.testing.assert_allclose(direct_transition(gold, silver, 2), truth, atol=0.02)


class TestWeights:
    """Items that stand for unlike numbers of others, as those of later stratified draws do."""

    def test_it_is_the_share_of_the_weighted_of_as_many_as_they_are_effectively(self):
        weight = np.array([1.0, 1.0, 2.0, 5.0, 1.0, 1.0])
        effective = (1 + 1 + 2) ** 2 / (1 + 1 + 4)
        counts = weighted_counts(GOLD, SILVER, 2, weight)
        np.testing.assert_allclose(counts, [[effective / 2, 0, effective / 2], [1, 0, 0]])

    def test_equal_weights_are_none(self):
        weight = np.full(6, 3.0)
        np.testing.assert_allclose(weighted_counts(GOLD, SILVER, 2, weight), transition_counts(GOLD, SILVER, 2))
        weighted = direct_transition(GOLD, SILVER, 2, weight=weight)
        np.testing.assert_allclose(weighted, direct_transition(GOLD, SILVER, 2))

    def test_it_undoes_an_unequal_draw_that_plain_counts_repeat(self):
        """Of a pool 90 % easy (right .95) and 10 % hard (right .3), as many hard ones were drawn as easy ones."""
        rng = np.random.default_rng(0)
        is_hard = np.arange(4000) % 2 == 1
        gold = rng.integers(0, 2, 4000)
        silver = np.where(rng.random(4000) < np.where(is_hard, 0.3, 0.95), gold, 1 - gold)
        weight = np.where(is_hard, 1.0, 9.0)
        pool = 0.9 * 0.95 + 0.1 * 0.3
        weighted, plain = (direct_transition(gold, silver, 2, weight=w)[0, 0] for w in (weight, None))
        assert weighted == pytest.approx(pool, abs=0.02)
        assert plain == pytest.approx(0.625, abs=0.03)

    def test_without_gold_it_is_the_prior(self):
        nothing = np.full(6, -1)
        weighted = direct_transition(nothing, SILVER, 2, weight=np.ones(6))
        np.testing.assert_allclose(weighted, direct_prior(nothing, SILVER, 2))


class TestGlc:
    PROBABILITIES = np.array([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.2, 0.8, 0.0]])

    def test_it_is_the_mean_prediction_per_gold_class(self):
        matrix = glc_transition(self.PROBABILITIES, np.array([0, 0, 1]), 2)
        np.testing.assert_allclose(matrix, [[0.7, 0.2, 0.1], [0.2, 0.8, 0.0]])

    def test_a_class_without_gold_is_uniform_as_published(self):
        matrix = glc_transition(self.PROBABILITIES, np.array([0, 0, -1]), 2)
        np.testing.assert_allclose(matrix[1], 1 / 3)

    def test_a_class_without_gold_may_take_another_row(self):
        prior = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
        matrix = glc_transition(self.PROBABILITIES, np.array([0, 0, -1]), 2, prior)
        np.testing.assert_allclose(matrix[1], prior[1])

    def test_it_adds_an_empty_failure_column(self):
        assert glc_transition(np.array([[0.6, 0.4]]), np.array([1]), 2)[1].tolist() == [0.6, 0.4, 0.0]

    def test_it_refuses_another_number_of_classes(self):
        with pytest.raises(ValueError, match="3 columns for 4 classes"):
            glc_transition(self.PROBABILITIES, np.array([0, 0, 1]), 4)


class TestLogLoss:
    def test_it_is_the_mean_surprise(self):
        matrix = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]])
        _, losses = choose_transition(GOLD, SILVER, np.zeros(6, int), {"direct": matrix[None]})
        assert losses == pytest.approx({"direct": -np.log([0.5, 0.5, 0.25, 0.5]).mean()})

    def test_it_is_nan_without_pairs(self):
        candidates = {"direct": np.full((1, 2, 3), 1 / 3)}
        _, losses = choose_transition(np.full(6, -1), SILVER, np.zeros(6, int), candidates)
        assert np.isnan(losses["direct"])

    def test_the_choice_scores_each_item_by_its_own_fold(self):
        right, wrong = np.array([[0.8, 0.1, 0.1]] * 2), np.array([[0.1, 0.8, 0.1]] * 2)
        gold, silver, fold = np.array([0, 0]), np.array([0, 1]), np.array([0, 1])
        name, losses = choose_transition(
            gold, silver, fold, {"direct": np.stack([wrong, right]), "glc": np.stack([right, wrong])}
        )
        assert name == "glc"
        assert losses == pytest.approx({"direct": -np.log(0.1), "glc": -np.log(0.8)})

    def test_the_first_wins_without_reference(self):
        nothing = np.full(2, -1)
        same = np.full((2, 2, 3), 1 / 3)
        name, losses = choose_transition(nothing, nothing, np.zeros(2, int), {"direct": same, "glc": same})
        assert name == "direct"
        assert np.isnan(losses["glc"])


def test_the_marginal_has_no_zero():
    np.testing.assert_allclose(silver_marginal(np.array([0, 0, -1]), 1), [2.5 / 3, 0.5 / 3])
