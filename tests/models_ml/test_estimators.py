"""What may be said of the pool, and what may not."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest, hypergeom

from models_ml.estimators import (
    NotReportable,
    Sample,
    accuracy,
    class_precision,
    class_recall,
    delivered_accuracy,
    look_bound,
    new_data_accuracy,
    post_stratified_accuracy,
    post_stratified_delivered,
)
from models_ml.intervals import (
    clopper_pearson,
    effective_size,
    hypergeometric_interval,
    hypergeometric_lower,
    look_sizes,
    wilson,
)

Z = 1.959963984540054


def audit(population, size, unresolved=0):
    return Sample("audit", True, "v1", population, size, unresolved)


def answers(right, wrong=0):
    return np.array([True] * right + [False] * wrong, dtype=bool)


@st.composite
def projects(draw):
    """pool_size, in_a, in_a_without_gold, sample of R, answers."""
    in_a = draw(st.integers(0, 150))
    in_r = draw(st.integers(1, 300))
    m = draw(st.integers(1, in_r))
    v = draw(st.integers(0, m - 1))
    k = draw(st.integers(0, m - v))
    c = draw(st.integers(0, in_a))
    return in_a + in_r, in_a, c, audit(in_r, m, v), answers(k, m - v - k)


class TestClopperPearson:
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (7, 10), (97, 100), (30, 30)])
    def test_it_equals_scipy(self, k, n):
        assert clopper_pearson(k, n) == pytest.approx(tuple(binomtest(k, n).proportion_ci(method="exact")))

    def test_it_takes_fractions_of_an_effective_size(self):
        low, high = clopper_pearson(9.7, 10.2)
        assert clopper_pearson(9, 10.2)[0] < low < 9.7 / 10.2 < high < 1

    def test_more_right_than_there_are_is_refused(self):
        with pytest.raises(ValueError, match="11 successes of 10"):
            clopper_pearson(11, 10)


class TestWilson:
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (7, 10), (87, 100), (30, 30)])
    def test_it_equals_scipy(self, k, n):
        reference = binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx(tuple(reference))

    def test_it_takes_another_confidence(self):
        reference = binomtest(7, 10).proportion_ci(confidence_level=0.8, method="wilson")
        assert wilson(7, 10, confidence=0.8) == pytest.approx(tuple(reference))

    def test_it_uses_the_size_with_the_hypergeometric_variance(self):
        n = effective_size(100, 400)
        assert n == 100 * 399 / 300
        assert hypergeom(400, 340, 100).var() / 100**2 == pytest.approx(0.85 * 0.15 / n)

    def test_it_is_a_hand_computed_interval(self):
        n = 100 * 399 / 300
        centre = (0.85 + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * math.sqrt(0.85 * 0.15 / n + Z**2 / (4 * n**2))
        assert wilson(85, 100, 400) == pytest.approx((centre - half, centre + half))

    def test_it_is_exact_for_a_census(self):
        assert wilson(9, 10, 10) == (0.9, 0.9)
        assert wilson(1, 1, 1) == (1.0, 1.0)

    def test_it_knows_nothing_from_nothing(self):
        assert wilson(0, 0, 50) == (0.0, 1.0)

    @pytest.mark.parametrize("args", [(-1, 5), (6, 5), (5, 10, 9)])
    def test_it_refuses_impossible_counts(self, args):
        with pytest.raises(ValueError, match="successes"):
            wilson(*args)


class TestHypergeometric:
    @pytest.mark.parametrize(("n", "population"), [(1, 1), (3, 10), (10, 10), (9, 10), (12, 25)])
    def test_it_equals_trying_every_pool(self, n, population):
        for k in range(n + 1):
            possible = [
                right
                for right in range(k, population - n + k + 1)
                if hypergeom.sf(k - 1, population, right, n) > 0.025 and hypergeom.cdf(k, population, right, n) > 0.025
            ]
            expected = (possible[0] / population, possible[-1] / population)
            assert hypergeometric_interval(k, n, population) == expected

    @pytest.mark.parametrize(("n", "population"), [(5, 10), (20, 40), (30, 300)])
    def test_it_covers_every_pool(self, n, population):
        ends = np.array([hypergeometric_interval(k, n, population) for k in range(n + 1)])
        for right in range(population + 1):
            covers = (ends[:, 0] <= right / population) & (right / population <= ends[:, 1])
            chance = hypergeom.pmf(np.arange(n + 1), population, right, n)
            assert chance[covers].sum() >= 0.95

    def test_its_lower_bound_holds_for_every_pool(self):
        bounds = np.array([hypergeometric_lower(k, 20, 60, alpha=0.05) for k in range(21)])
        for right in range(61):
            chance = hypergeom.pmf(np.arange(21), 60, right, 20)
            assert chance[bounds > right / 60].sum() <= 0.05

    def test_it_is_exact_for_a_census(self):
        assert hypergeometric_interval(9, 10, 10) == (0.9, 0.9)


class TestLookSizes:
    def test_it_looks_at_sizes_that_grow_by_half(self):
        assert look_sizes(384) == (34, 51, 76, 114, 171, 256, 384)

    @given(st.integers(1, 100_000))
    def test_it_never_looks_more_than_seven_times(self, target):
        sizes = look_sizes(target)
        assert len(sizes) <= 7 and sizes[-1] == target
        assert all(small < large for small, large in pairwise(sizes))

    def test_it_never_looks_without_a_target(self):
        assert look_sizes(0) == ()


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"arm": "active"}, "only the audit sample"),
            ({"arm": "random"}, "only the audit sample"),
            ({"is_blind": False}, "in sight"),
            ({"version": None}, "not frozen"),
            ({"version": ""}, "not frozen"),
        ],
    )
    @pytest.mark.parametrize(
        "estimate",
        [
            accuracy,
            new_data_accuracy,
            class_precision,
            class_recall,
            lambda s, right: delivered_accuracy(s, right, pool_size=90, in_a=10, in_a_without_gold=0),
            lambda s, right: look_bound(s, right, looks=3, pool_size=90, in_a=10, in_a_without_gold=0),
            lambda s, right: post_stratified_accuracy([s, s], [right, right]),
            lambda s, right: post_stratified_delivered(
                [s, s], [right, right], pool_size=170, in_a=10, in_a_without_gold=0
            ),
        ],
    )
    def test_every_figure_refuses_all_but_blind_frozen_audit(self, estimate, change, why):
        with pytest.raises(NotReportable, match=why):
            estimate(replace(audit(80, 40), **change), answers(30, 10))

    def test_it_refuses_answers_that_do_not_match_the_sample(self):
        with pytest.raises(ValueError, match="resolved"):
            accuracy(audit(80, 40, 1), answers(40))

    def test_it_refuses_an_impossible_sample(self):
        with pytest.raises(ValueError, match="unresolved"):
            audit(80, 40, 41)

    def test_it_refuses_parts_of_different_versions(self):
        other = replace(audit(100, 40), version="v2")
        with pytest.raises(NotReportable, match="versions"):
            post_stratified_accuracy([audit(100, 40), other], [answers(40), answers(40)])


class TestAccuracy:
    def test_it_is_wilson_on_the_pool(self):
        estimate = accuracy(audit(400, 100), answers(85, 15))
        assert (estimate.value, (estimate.low, estimate.high)) == (0.85, wilson(85, 100, 400))
        assert (estimate.n, estimate.unresolved, estimate.population) == (100, 0, 400)

    def test_it_is_exact_on_request(self):
        estimate = accuracy(audit(400, 100), answers(85, 15), method="exact")
        assert (estimate.low, estimate.high) == hypergeometric_interval(85, 100, 400)

    def test_it_keeps_unresolved_at_their_worst_case(self):
        estimate = accuracy(audit(400, 100, unresolved=10), answers(80, 10))
        assert estimate.value == pytest.approx(80 / 90)
        assert (estimate.low, estimate.high) == (wilson(80, 100, 400)[0], wilson(90, 100, 400)[1])

    def test_it_has_no_figure_without_answers(self):
        estimate = accuracy(audit(400, 5, unresolved=5), answers(0))
        assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
        assert estimate.reason

    def test_it_is_a_census_when_all_are_audited(self):
        estimate = accuracy(audit(10, 10), answers(9, 1))
        assert (estimate.value, estimate.low, estimate.high, estimate.method) == (0.9, 0.9, 0.9, "census")

    def test_it_keeps_an_interval_for_new_data_even_after_a_census(self):
        estimate = new_data_accuracy(audit(10, 10), answers(9, 1))
        assert (estimate.low, estimate.high) == clopper_pearson(9, 10)


class TestFewErrors:
    @pytest.mark.parametrize(("wrong", "method"), [(0, "exact"), (8, "exact"), (9, "wilson")])
    def test_up_to_eight_errors_the_interval_is_exact(self, wrong, method):
        estimate = accuracy(audit(400, 100), answers(100 - wrong, wrong))
        assert estimate.method == method
        exact = hypergeometric_interval(100 - wrong, 100, 400)
        assert (estimate.low, estimate.high) == (exact if method == "exact" else wilson(100 - wrong, 100, 400))

    @pytest.mark.parametrize(("right", "method"), [(8, "exact"), (9, "wilson")])
    def test_so_it_is_where_few_are_right(self, right, method):
        assert accuracy(audit(400, 100), answers(right, 100 - right)).method == method

    def test_the_delivered_interval_is_too(self):
        estimate = delivered_accuracy(audit(800, 100), answers(97, 3), pool_size=1000, in_a=200, in_a_without_gold=0)
        low, high = hypergeometric_interval(97, 100, 800)
        assert estimate.method == "exact"
        assert (estimate.low, estimate.high) == pytest.approx(((203 + 800 * low) / 1000, (203 + 800 * high) / 1000))

    def test_new_data_has_no_population(self):
        estimate = new_data_accuracy(audit(400, 100), answers(97, 3))
        assert (estimate.low, estimate.high, estimate.method) == (*clopper_pearson(97, 100), "exact")

    def test_parts_with_few_errors_are_exact_on_the_effective_size(self):
        estimate = post_stratified_accuracy([audit(500, 50), audit(500, 50)], [answers(48, 2), answers(49, 1)])
        n = [50 * 499 / 450] * 2
        smooth = [49 / 52, 50 / 52]
        centre = sum(smooth) / 2
        variance = sum(0.25 * p * (1 - p) / size for p, size in zip(smooth, n, strict=True))
        size = centre * (1 - centre) / variance
        assert (estimate.low, estimate.high) == pytest.approx(clopper_pearson(0.97 * size, size))
        assert estimate.method == "exact"


class TestDelivered:
    def test_it_is_the_row_of_the_design(self):
        # N = 1000, A = 200 of which 10 without gold, m = 100, v = 4, k = 84
        estimate = delivered_accuracy(
            audit(800, 100, 4), answers(84, 12), pool_size=1000, in_a=200, in_a_without_gold=10
        )
        p = 84 / 96
        low, high = wilson(84, 100, 800)[0], wilson(88, 100, 800)[1]
        assert estimate.value == pytest.approx((1000 - 800 - 10 + 10 * p + 800 * p + 12) / 1000)
        assert estimate.low == pytest.approx((1000 - 800 - 10 + 800 * low + 12) / 1000)
        assert estimate.high == pytest.approx((1000 - 800 - 10 + 10 + 800 * high + 12) / 1000)

    def test_it_is_exact_when_all_outside_a_are_audited(self):
        estimate = delivered_accuracy(audit(50, 50), answers(40, 10), pool_size=80, in_a=30, in_a_without_gold=0)
        assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)

    def test_it_counts_both_ways_what_nobody_answered(self):
        estimate = delivered_accuracy(audit(50, 50, 5), answers(40, 5), pool_size=80, in_a=30, in_a_without_gold=3)
        assert (estimate.low, estimate.high) == (pytest.approx(72 / 80), 1.0)

    @pytest.mark.parametrize(("m", "v"), [(0, 0), (6, 6)])
    def test_it_has_no_figure_without_answers(self, m, v):
        estimate = delivered_accuracy(audit(50, m, v), answers(0), pool_size=80, in_a=30, in_a_without_gold=0)
        assert estimate.value is None and estimate.low is None and estimate.reason

    def test_it_is_right_everywhere_once_all_items_have_gold(self):
        estimate = delivered_accuracy(audit(0, 0), answers(0), pool_size=30, in_a=30, in_a_without_gold=0)
        assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)

    def test_it_has_no_figure_for_an_empty_pool(self):
        estimate = delivered_accuracy(audit(0, 0), answers(0), pool_size=0, in_a=0, in_a_without_gold=0)
        assert estimate.value is None

    def test_it_has_no_figure_when_only_unlabeled_items_of_a_are_left(self):
        estimate = delivered_accuracy(audit(0, 0), answers(0), pool_size=30, in_a=30, in_a_without_gold=1)
        assert estimate.value is None

    def test_it_refuses_a_sample_of_another_population(self):
        with pytest.raises(ValueError, match="outside A"):
            delivered_accuracy(audit(49, 6), answers(6), pool_size=80, in_a=30, in_a_without_gold=0)

    @given(projects(), st.sampled_from(["wilson", "exact"]))
    def test_its_interval_holds_its_value_within_bounds(self, project, method):
        pool_size, in_a, c, sample, right = project
        estimate = delivered_accuracy(sample, right, pool_size=pool_size, in_a=in_a, in_a_without_gold=c, method=method)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1

    @given(projects())
    def test_its_exact_interval_holds_every_count_that_was_seen(self, project):
        pool_size, in_a, c, sample, right = project
        estimate = delivered_accuracy(
            sample, right, pool_size=pool_size, in_a=in_a, in_a_without_gold=c, method="exact"
        )
        assert estimate.low >= (in_a - c + sample.resolved) / pool_size - 1e-12

    @given(projects(), st.booleans())
    def test_an_unresolved_item_widens(self, project, was_right):
        pool_size, in_a, c, sample, right = project
        assume(np.any(right == was_right) and sample.resolved > 1)
        facts = {"pool_size": pool_size, "in_a": in_a, "in_a_without_gold": c}
        before = delivered_accuracy(sample, right, **facts)
        lost = replace(sample, unresolved=sample.unresolved + 1)
        after = delivered_accuracy(lost, np.delete(right, np.flatnonzero(right == was_right)[0]), **facts)
        assert after.low <= before.low + 1e-12
        # A resolved item is delivered right whatever the machine said: losing it can lower the high end, but
        # only by what its correction was worth.
        assert after.high >= before.high - 1 / pool_size - 1e-12


class TestClasses:
    def test_it_says_nothing_below_thirty(self):
        assert class_precision(audit(200, 29), answers(29)).reason == "not enough data"
        assert class_recall(audit(200, 40, 11), answers(29)).value is None

    def test_its_precision_knows_how_many_are_called_so(self):
        estimate = class_precision(audit(100, 50), answers(40, 10))
        assert (estimate.value, (estimate.low, estimate.high)) == (0.8, wilson(40, 50, 100))

    def test_its_recall_knows_no_population(self):
        estimate = class_recall(audit(100, 52, 2), answers(40, 10))
        assert (estimate.low, estimate.high) == (wilson(40, 52)[0], wilson(42, 52)[1])


class TestPostStratified:
    def test_it_weights_the_parts_by_their_size(self):
        estimate = post_stratified_accuracy([audit(900, 40), audit(100, 60)], [answers(20, 20), answers(60)])
        assert estimate.value == pytest.approx(0.9 * 0.5 + 0.1 * 1.0)
        assert (estimate.n, estimate.population) == (100, 1000)

    def test_it_is_hand_computed_wilson_on_the_effective_size(self):
        estimate = post_stratified_accuracy([audit(900, 40), audit(100, 60)], [answers(20, 20), answers(60)])
        n1, n2 = 40 * 899 / 860, 60 * 99 / 40
        p1, p2 = 21 / 42, 61 / 62
        p, variance = 0.9 * p1 + 0.1 * p2, 0.81 * p1 * (1 - p1) / n1 + 0.01 * p2 * (1 - p2) / n2
        n = p * (1 - p) / variance
        centre = (0.55 + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * math.sqrt(0.55 * 0.45 / n + Z**2 / (4 * n**2))
        assert (estimate.low, estimate.high) == pytest.approx((centre - half, centre + half))

    def test_it_equals_wilson_when_the_parts_are_alike_and_drawn_alike(self):
        estimate = post_stratified_accuracy([audit(500, 50)] * 2, [answers(40, 10)] * 2)
        assert (estimate.low, estimate.high) == pytest.approx(wilson(80, 100, 1000), abs=2e-3)

    def test_it_merges_small_parts_into_the_largest(self):
        estimate = post_stratified_accuracy(
            [audit(100, 10), audit(500, 50), audit(400, 40)], [answers(0, 10), answers(50), answers(40)]
        )
        assert estimate.value == pytest.approx(0.6 * 50 / 60 + 0.4)

    def test_it_pools_where_only_one_part_is_large_enough(self):
        estimate = post_stratified_accuracy([audit(900, 80), audit(100, 29)], [answers(80), answers(0, 29)])
        assert (estimate.low, estimate.high) == wilson(80, 109, 1000)

    def test_it_keeps_unresolved_at_their_worst_case(self):
        samples = [audit(500, 50, 5), audit(500, 50)]
        wide = post_stratified_accuracy(samples, [answers(40, 5), answers(40, 10)])
        narrow = post_stratified_accuracy([audit(500, 50)] * 2, [answers(45, 5), answers(40, 10)])
        assert wide.low < narrow.low and wide.high >= narrow.high

    def test_it_is_a_census_when_every_part_is(self):
        estimate = post_stratified_accuracy([audit(40, 40), audit(60, 60)], [answers(40), answers(30, 30)])
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.7, 0.7, 0.7))

    def test_it_delivers(self):
        facts = {"pool_size": 1100, "in_a": 100, "in_a_without_gold": 2}
        samples, right = [audit(900, 40), audit(100, 60)], [answers(20, 20), answers(60)]
        share = post_stratified_accuracy(samples, right)
        estimate = post_stratified_delivered(samples, right, **facts)
        assert estimate.value == pytest.approx((98 + 20 + 1002 * 0.55) / 1100)
        assert estimate.low == pytest.approx((98 + 20 + 1000 * share.low) / 1100)
        assert estimate.high == pytest.approx((98 + 20 + 2 + 1000 * share.high) / 1100)

    def test_it_delivers_pooled_where_only_one_part_is_large_enough(self):
        facts = {"pool_size": 1100, "in_a": 100, "in_a_without_gold": 0}
        pooled = delivered_accuracy(audit(1000, 60), answers(50, 10), **facts)
        parts = [audit(900, 50), audit(100, 10)], [answers(50), answers(0, 10)]
        assert post_stratified_delivered(*parts, **facts) == pooled

    @given(
        st.lists(
            st.tuples(st.integers(1, 60), st.integers(0, 5), st.integers(0, 60), st.integers(0, 200)),
            min_size=1,
            max_size=4,
        )
    )
    def test_its_interval_holds_its_value_within_bounds(self, rows):
        samples = [audit(n + v + rest, n + v, v) for n, v, _, rest in rows]
        right = [answers(min(k, n), n - min(k, n)) for n, _, k, _ in rows]
        estimate = post_stratified_accuracy(samples, right)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


class TestLooks:
    def test_it_is_the_exact_bound_at_a_share_of_alpha(self):
        bound = look_bound(audit(800, 100, 4), answers(90, 6), looks=5, pool_size=1000, in_a=200, in_a_without_gold=10)
        share = hypergeometric_lower(90, 100, 800, 0.01)
        assert bound == pytest.approx((190 + 6 + 800 * share) / 1000)

    def test_more_looks_cost_width(self):
        facts = {"pool_size": 1000, "in_a": 200, "in_a_without_gold": 0}
        bounds = [look_bound(audit(800, 100), answers(95, 5), looks=t, **facts) for t in (1, 3, 7)]
        assert bounds[0] > bounds[1] > bounds[2]


class TestCoverage:
    @pytest.mark.parametrize(("pool_size", "in_a", "m"), [(300, 100, 40), (2000, 400, 100)])
    def test_the_delivered_interval_covers(self, pool_size, in_a, m):
        """Exact coverage over all samples, machine 87.5 % right outside A: no simulation noise."""
        in_r = pool_size - in_a
        right = round(0.875 * in_r)
        covered = 0.0
        for k in range(m + 1):
            estimate = delivered_accuracy(
                audit(in_r, m), answers(k, m - k), pool_size=pool_size, in_a=in_a, in_a_without_gold=0
            )
            truth = (in_a + right + m - k) / pool_size
            covered += hypergeom.pmf(k, in_r, right, m) * (estimate.low <= truth <= estimate.high)
        assert covered >= 0.94

    @pytest.mark.parametrize("wrong", [1, 2, 4, 8, 16, 32])
    @pytest.mark.parametrize("m", [60, 120, 200])
    def test_the_delivered_interval_covers_nearly_perfect_pools(self, wrong, m):
        """Exact coverage over all samples of 1,600 items with few machine errors, where Wilson's alone fell to .925."""
        covered = 0.0
        for k in range(m - min(m, wrong), m + 1):
            estimate = delivered_accuracy(
                audit(1600, m), answers(k, m - k), pool_size=2000, in_a=400, in_a_without_gold=0
            )
            truth = (400 + 1600 - wrong + m - k) / 2000
            covered += hypergeom.pmf(k, 1600, 1600 - wrong, m) * (
                estimate.low <= truth + 1e-12 <= estimate.high + 2e-12
            )
        assert covered >= 0.94

    def test_the_post_stratified_interval_covers(self):
        generator = np.random.default_rng(7)
        sizes, right, drawn = (1500, 500), (1350, 325), (90, 60)
        truth, covered = sum(right) / 2000, 0
        for _ in range(1000):
            k = [generator.hypergeometric(r, size - r, n) for size, r, n in zip(sizes, right, drawn, strict=True)]
            estimate = post_stratified_accuracy(
                [audit(size, n) for size, n in zip(sizes, drawn, strict=True)],
                [answers(got, n - got) for got, n in zip(k, drawn, strict=True)],
            )
            covered += estimate.low <= truth <= estimate.high
        assert covered >= 935
