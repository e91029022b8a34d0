"""Intervals of a noise matrix hold the truth as often as they say, whatever the classes are like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import betaincinv
from scipy.stats import binom

from models_ml.intervals import clopper_pearson
from models_ml.noise.intervals import row_intervals
from models_ml.noise.transition import direct_transition, transition_counts, weighted_counts


def of(*row):
    found = row_intervals(np.array([row]))
    return found.low[0], found.high[0]


class TestByHand:
    def test_all_of_three(self):
        """½p³ = .025 at p = .05^(1/3)."""
        low, high = of(3, 0)
        assert low[0] == pytest.approx(0.05 ** (1 / 3)) and high[0] == 1
        assert low[1] == 0 and high[1] == pytest.approx(1 - 0.05 ** (1 / 3))

    def test_one_of_two(self):
        """½P(1) + P(2) = p(1 - p) + p² = p, so the interval is .025 to .975."""
        low, high = of(1, 1)
        np.testing.assert_allclose([low[0], high[0]], [0.025, 0.975])

    def test_no_answer_says_nothing(self):
        low, high = of(0, 0, 0)
        assert low.tolist() == [0, 0, 0] and high.tolist() == [1, 1, 1]

    def test_it_counts_the_gold_behind_each_row(self):
        assert row_intervals(np.array([[2, 0, 1], [1, 0, 0]])).n.tolist() == [3, 1]


@pytest.mark.parametrize("n", [5, 23, 60])
def test_it_is_where_the_tail_of_the_binomial_says(n):
    k = np.arange(1, n)
    low = row_intervals(np.stack([k, n - k], axis=1)).low[:, 0]
    for count, found in zip(k, low, strict=True):
        root = brentq(lambda p, c=count: binom.sf(c, n, p) + binom.pmf(c, n, p) / 2 - 0.025, 1e-9, 1 - 1e-9)
        assert found == pytest.approx(root, abs=1e-9)


@settings(max_examples=50)
@given(st.integers(0, 40), st.integers(1, 40))
def test_it_holds_the_share_inside_the_exact_interval(k, others):
    n = k + others
    low, high = of(k, others)
    exact_low, exact_high = clopper_pearson(k, n)
    assert exact_low - 1e-9 <= low[0] <= k / n <= high[0] <= exact_high + 1e-9


@settings(max_examples=50)
@given(st.floats(0.01, 20), st.floats(0.01, 20))
def test_of_fractional_counts_it_lies_between_those_of_whole_ones(k, others):
    low, high = of(k, others)
    assert 0 <= low[0] <= k / (k + others) <= high[0] <= 1
    more = of(k + 1, others)
    assert more[0][0] >= low[0] and more[1][0] >= high[0]


class TestBesideAnEstimate:
    def test_an_entry_that_shrinkage_put_outside_is_held_too(self):
        counts = np.array([[20, 0, 0], [0, 0, 0]])
        estimate = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
        alone, beside = row_intervals(counts), row_intervals(counts, estimate)
        assert alone.low[0, 0] > 0.6 and beside.low[0, 0] == 0.6
        assert alone.high[0, 1] < 0.3 and beside.high[0, 1] == 0.3
        assert (beside.low <= alone.low).all() and (beside.high >= alone.high).all()

    def test_equal_weights_change_nothing(self):
        rng = np.random.default_rng(0)
        gold, silver = rng.integers(-1, 3, 80), rng.integers(-1, 4, 80)
        plain = row_intervals(transition_counts(gold, silver, 3))
        weighted = row_intervals(weighted_counts(gold, silver, 3, np.full(80, 7.0)))
        np.testing.assert_allclose(plain.low, weighted.low, atol=1e-9)
        np.testing.assert_allclose(plain.n, weighted.n)

    def test_unlike_weights_widen(self):
        gold, silver = np.zeros(40, int), np.arange(40) % 2
        weight = np.where(np.arange(40) < 20, 10.0, 1.0)
        plain, weighted = row_intervals(transition_counts(gold, silver, 2)), None
        weighted = row_intervals(weighted_counts(gold, silver, 2, weight))
        assert weighted.high[0, 0] - weighted.low[0, 0] > plain.high[0, 0] - plain.low[0, 0]


@pytest.mark.parametrize("wrong", [np.nan, -1.0, np.inf])
def test_counts_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="Counts must be"):
        row_intervals(np.array([[3.0, wrong]]))


def test_for_every_share_it_covers():
    """Exactly, by summing over all counts: the replays below can only show averages."""
    shares = np.concatenate([np.linspace(0.001, 0.05, 50), np.linspace(0.5, 0.98, 97)])
    of_all = []
    for n in (3, 4, 5, 7, 10, 15, 20, 30, 40, 60):
        k = np.arange(n + 1)
        found = row_intervals(np.stack([k, n - k], axis=1))
        low, high = found.low[:, 0], found.high[:, 0]
        held = (low <= shares[:, None]) & (shares[:, None] <= high)
        of_all.append((binom.pmf(k, n, shares[:, None]) * held).sum(axis=1))
    assert np.min(of_all) > 0.915
    assert 0.955 < np.mean(of_all) < 0.985


# ---- replays


def posterior_intervals(gold, silver, k):
    """The control: quantiles of the Dirichlet posterior around Ĉ, as intervals were made before."""
    n = transition_counts(gold, silver, k).sum(axis=1)
    alpha = direct_transition(gold, silver, k) * (n[:, None] + 5.0)
    rest = alpha.sum(axis=1, keepdims=True) - alpha
    return betaincinv(alpha, rest, 0.025), betaincinv(alpha, rest, 0.975)


def machine(rng, k):
    """Classes that err in unlike ways: diagonal .5 to .98, the rest on few labels; each has 3 to 60 gold items."""
    truth = rng.dirichlet(np.full(k + 1, 0.5), k)
    np.fill_diagonal(truth, 0)
    diagonal = rng.uniform(0.5, 0.98, k)
    truth *= ((1 - diagonal) / truth.sum(axis=1))[:, None]
    np.fill_diagonal(truth, diagonal)
    gold = np.repeat(np.arange(k), rng.integers(3, 61, k))
    silver = (rng.random(len(gold))[:, None] > truth[gold].cumsum(axis=1)).sum(axis=1)
    return truth, gold, np.minimum(silver, k)


def covered(k, replays, seed=0):
    """Shares of entries, and of entries on the diagonal, that were held: by the product's intervals, and the control's.

    float[2, 2]: (product, control) by (entries, diagonal).
    """
    rng, held = np.random.default_rng(seed), np.zeros((2, 2))
    for _ in range(replays):
        truth, gold, silver = machine(rng, k)
        found = row_intervals(transition_counts(gold, silver, k), direct_transition(gold, silver, k))
        for way, (low, high) in enumerate([(found.low, found.high), posterior_intervals(gold, silver, k)]):
            inside = (low <= truth) & (truth <= high)
            held[way] += inside.mean(), np.diagonal(inside).mean()
    return held / replays


def test_a_few_replays_cover():
    assert (np.mean([covered(k, 20) for k in (3, 6, 12)], axis=0)[0] >= 0.94).all()


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 6, 12])
def test_many_replays_cover_where_the_posterior_does_not(k):
    product, control = covered(k, 3000)
    assert (product >= 0.95).all()
    assert (control < 0.94).any()


def covered_of_a_scarce_class(replays, seed=0):
    """How often the diagonal entry of a class is held that has 5 gold items and errs unlike all others, either way."""
    rng, held = np.random.default_rng(seed), np.zeros(2)
    for _ in range(replays):
        gold = np.repeat([0, 1, 2], [50, 50, 5])
        right = np.array([0.9, 0.9, 0.3])
        silver = np.where(rng.random(105) < right[gold], gold, (gold + 1) % 3)
        found = row_intervals(transition_counts(gold, silver, 3), direct_transition(gold, silver, 3))
        low, high = posterior_intervals(gold, silver, 3)
        held += found.low[2, 2] <= 0.3 <= found.high[2, 2], low[2, 2] <= 0.3 <= high[2, 2]
    return held / replays


def test_the_scarce_class_that_the_prior_pulls_away_is_held():
    product, control = covered_of_a_scarce_class(150)
    assert product >= 0.93 and control < 0.85
