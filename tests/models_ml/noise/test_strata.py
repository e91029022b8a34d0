"""Strata are used where noise depends on them, and cost nothing where it does not."""

import numpy as np
import pytest

from models_ml.noise.strata import Gain, by_stratum, choose_strata, stratified_transition
from models_ml.noise.transition import direct_transition

# Two classes; silver 2 is a failure. Class 0: right, right, failed. Class 1: wrong. The last two have no gold.
GOLD = np.array([0, 0, 0, 1, -1, -1])
SILVER = np.array([0, 0, 2, 0, 1, -1])


class TestStratified:
    def test_it_is_the_pooled_one_shrunk_by_stratum(self):
        stratum = np.array([0, 1, 1, 1, 0, 0])
        matrix = stratified_transition(GOLD, SILVER, stratum, 2, stratum_strength=20)
        pooled = direct_transition(GOLD, SILVER, 2)
        np.testing.assert_allclose(matrix[1, 0], (np.array([1, 0, 1]) + 20 * pooled[0]) / 22)
        np.testing.assert_allclose(matrix[0, 1], pooled[1])

    def test_rows_sum_to_one(self):
        matrix = stratified_transition(GOLD, SILVER, np.array([0, 1, 2, 0, 1, 2]), 2)
        np.testing.assert_allclose(matrix.sum(axis=2), np.ones((3, 2)))

    def test_any_matrix_can_be_made_one_per_stratum(self):
        pooled = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
        matrix = by_stratum(pooled, GOLD, SILVER, np.zeros(6, int), strength=1)
        np.testing.assert_allclose(matrix[0, 0], (np.array([2, 0, 1]) + pooled[0]) / 4)


def noisy(seed, rates, n=400, k=3):
    """Gold of n items, silver wrong at the rate of the item's stratum; strata, and two that say nothing."""
    rng = np.random.default_rng(seed)
    gold, stratum = rng.integers(0, k, n), rng.integers(0, len(rates), n)
    is_wrong = rng.random(n) < np.array(rates)[stratum]
    silver = np.where(is_wrong, (gold + 1 + rng.integers(0, k, n)) % (k + 1), gold)
    useless = {"source": rng.integers(0, 3, n), "prompt": rng.integers(0, 2, n)}
    return gold, silver, rng.integers(0, 5, n), {"length": stratum, **useless}


class TestChoice:
    def test_strata_with_noise_of_their_own_are_found(self):
        chosen = [choose_strata(*noisy(seed, (0.6, 0.3, 0.05)), 3)[0] for seed in range(20)]
        assert chosen.count("length") >= 19

    def test_where_noise_is_alike_they_cost_nothing(self):
        """Whatever is chosen, new silver is hardly less likely: by 0.002 nats on average, where it may gain 0.1."""
        costs, n_chosen = [], 0
        for seed in range(60):
            gold, silver, fold, candidates = noisy(seed, (0.3, 0.3, 0.3), n=200)
            name, _ = choose_strata(gold, silver, fold, candidates, 3)
            n_chosen += name is not None
            if name is None:
                costs.append(0.0)
                continue
            pooled = direct_transition(gold, silver, 3)
            matrices = by_stratum(pooled, gold, silver, candidates[name])
            truth = np.full((3, 4), 0.1) + 0.6 * np.eye(3, 4)
            costs.append(float(np.mean([(truth * (np.log(pooled) - np.log(m))).sum(axis=1).mean() for m in matrices])))
        assert n_chosen <= 6
        assert np.mean(costs) < 0.002

    def test_counts_that_put_the_prior_right_are_no_gain(self):
        """All errors of a class on one label, where the prior spreads them: strata move Ĉ to the counts, whichever."""
        n_chosen = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            gold = rng.integers(0, 3, 80)
            silver = np.where(rng.random(80) < 0.3, (gold + 1) % 3, gold)
            candidates = {"source": rng.integers(0, 3, 80), "all": np.zeros(80, int)}
            n_chosen += choose_strata(gold, silver, rng.integers(0, 5, 80), candidates, 3)[0] is not None
        assert n_chosen <= 8  # beside the prior's Ĉ alone it were a third to a half

    def test_a_gain_is_clear_beyond_one_standard_error(self):
        assert Gain(0.03, 0.02).is_clear
        assert not Gain(0.02, 0.02).is_clear

    def test_a_gain_is_the_mean_of_paired_differences(self):
        gold, silver, fold, candidates = noisy(0, (0.6, 0.05), n=60)
        _, gains = choose_strata(gold, silver, fold, {"length": candidates["length"]}, 3)
        ways = np.zeros((2, 60))
        for f in range(5):
            seen = np.where(fold == f, -1, gold), np.where(fold == f, -1, silver)
            pooled = direct_transition(*seen, 3)
            own = fold == f
            at, stratum = (gold[own], silver[own]), candidates["length"]
            of_stratum = by_stratum(pooled, *seen, stratum)[(stratum[own], *at)]
            ways[0, own] = np.log(of_stratum) - np.log(pooled[at])
            ways[1, own] = np.log(of_stratum) - np.log(by_stratum(pooled, *seen, np.zeros(60, int))[0][at])
        differences = min(ways, key=np.mean)  # beside the better of two ways to have one matrix for all
        assert gains["length"].mean == pytest.approx(differences.mean())
        assert gains["length"].standard_error == pytest.approx(differences.std(ddof=1) / 60**0.5)

    def test_labels_of_items_without_reference_gold_only_count_where_they_may(self):
        """Silver of others shapes the prior; gold that is hidden changes nothing."""
        gold, silver, fold, candidates = noisy(1, (0.6, 0.05), n=100)
        hidden = fold == 0
        a = choose_strata(np.where(hidden, -1, gold), np.where(hidden, -1, silver), fold, candidates, 3)
        assert a[1]["length"].mean != choose_strata(gold, silver, fold, candidates, 3)[1]["length"].mean

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_little_to_compare_chooses_none(self, n):
        gold, silver, fold, candidates = noisy(0, (0.6, 0.05), n=30)
        gold = np.where(np.arange(30) < n, gold, -1)
        assert choose_strata(gold, silver, fold, candidates, 3)[0] is None

    def test_no_candidate_is_no_choice(self):
        gold, silver, fold, _ = noisy(0, (0.6, 0.05), n=30)
        assert choose_strata(gold, silver, fold, {}, 3) == (None, {})
