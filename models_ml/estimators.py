"""What may be said of the pool, from the audit sample only: accuracies with intervals, and their refusal.

Every figure keeps unresolved audit items in its denominator at their worst case: wrong for the low end, right
for the high end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models_ml.arrays import Bools
from models_ml.intervals import (
    Interval,
    clopper_pearson,
    effective_size,
    hypergeometric_interval,
    hypergeometric_lower,
    look_sizes,
    wilson,
    wilson_at,
)

__all__ = [
    "Estimate",
    "NotReportable",
    "Sample",
    "accuracy",
    "class_precision",
    "class_recall",
    "delivered_accuracy",
    "hypergeometric_interval",
    "hypergeometric_lower",
    "look_bound",
    "look_sizes",
    "new_data_accuracy",
    "post_stratified_accuracy",
    "post_stratified_delivered",
    "wilson",
]


# Below 30 answers a figure per class, or a part's own share, is mostly noise.
ENOUGH = 30
# Up to so many errors (or, alike, right answers) an interval is exact: on nearly perfect pools Wilson's covered 92.5 %
# where it promises 95 (docs/loop.md, "Estimates").
FEW = 8
WILSON, EXACT = "wilson", "exact"
NOT_ENOUGH = "not enough data"
NO_AUDIT = "no audited item has an answer yet"


class NotReportable(ValueError):
    """A figure was asked for from items that no figure may come from; the message names why."""


@dataclass(frozen=True)
class Sample:
    """A simple random sample that a figure may come from, if it is the audit sample.

    version: the frozen version that the figure speaks of; None = not frozen.
    population: N, the items it was drawn from. size: n, drawn. unresolved: v, drawn but without gold.
    Raises ValueError unless 0 <= v <= n <= N.
    """

    arm: str
    is_blind: bool
    version: str | int | None
    population: int
    size: int
    unresolved: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.unresolved <= self.size <= self.population:
            raise ValueError(f"{self.unresolved} unresolved of {self.size} drawn from {self.population}")

    @property
    def resolved(self) -> int:
        return self.size - self.unresolved


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, fractions of 1; value, low and high are None together, with the reason.

    n, unresolved, population: those of the sample. method: wilson, exact or census.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unresolved: int
    population: int
    method: str
    reason: str | None = None


@dataclass(frozen=True)
class _Share:
    """The share of right answers in a sample's population, unresolved items at their worst in the ends."""

    point: float
    low: float
    high: float


def accuracy(sample: Sample, correct: Bools, *, method: str | None = None) -> Estimate:
    """Accuracy on the pool of whatever `correct` marks: the LLM (a failure is wrong) or a model out of fold.

    `correct` (n - v,) bool, one per resolved item of the sample, in any order. `method`: "wilson" with
    finite-population n*, or "exact" (hypergeometric); None: exact where errors are FEW, else Wilson's. Raises
    NotReportable unless blind, frozen audit.
    """
    k = _reportable(sample, correct)
    method = method or _method(k, sample)
    if not sample.resolved:
        return _none(sample, method, NO_AUDIT)
    share = _share(k, sample, _interval(method, sample.population))
    return _estimate(sample, method, share.point, share.low, share.high)


def new_data_accuracy(sample: Sample, correct: Bools, *, method: str | None = None) -> Estimate:
    """Accuracy on future items of the same source: binomial intervals, without finite-population correction.

    The pool is itself a sample of what is to come, so that even a census of it leaves an interval. Clopper and
    Pearson's where errors are FEW, else Wilson's.
    """
    k = _reportable(sample, correct)
    method = method or _method(k, sample)
    if not sample.resolved:
        return _none(sample, method, NO_AUDIT)
    share = _share(k, sample, clopper_pearson if method == EXACT else wilson)
    return Estimate(share.point, share.low, share.high, sample.size, sample.unresolved, sample.population, method)


def delivered_accuracy(
    sample_in_r: Sample,
    correct: Bools,
    *,
    pool_size: int,
    in_a: int,
    in_a_without_gold: int,
    method: str | None = None,
) -> Estimate:
    """Accuracy of the delivered labels on the pool: gold where there is one, else the frozen machine label.

    `sample_in_r`: the audited items outside A, drawn from the N_R = pool_size - in_a items outside A.
    `correct` (m - v,) bool: the machine label of the frozen version equals the gold, per resolved item.
    `in_a_without_gold`: c, items of A whose label is the machine's; nothing is known of how it does there, so
    they count wrong in the low end and right in the high end.
    """
    _same_population(sample_in_r.population, pool_size, in_a, in_a_without_gold)
    k = _reportable(sample_in_r, correct)
    method = method or _method(k, sample_in_r)
    if not sample_in_r.resolved:
        return _without_r(sample_in_r, method, pool_size, in_a_without_gold)
    share = _share(k, sample_in_r, _interval(method, sample_in_r.population))
    corrected = sample_in_r.resolved - k
    value, low, high = _delivered(share, corrected, pool_size, in_a, in_a_without_gold)
    return _estimate(sample_in_r, method, value, low, high)


def class_precision(sample: Sample, correct: Bools, *, method: str | None = None) -> Estimate:
    """Of the pool's items that the machine calls this class, the share that are.

    `sample`: the audited ones among the `population` items called so. None below 30 answers.
    """
    _reportable(sample, correct)
    if sample.resolved < ENOUGH:
        return _none(sample, WILSON, NOT_ENOUGH)
    return accuracy(sample, correct, method=method)


def class_recall(sample: Sample, correct: Bools, *, method: str | None = None) -> Estimate:
    """Of the pool's items of this class, the share that the machine calls so.

    `sample`: the audited items whose gold is this class, and *every* unresolved one as unresolved, since it
    may be of this class. How many the pool holds is unknown, so there is no finite-population correction.
    """
    _reportable(sample, correct)
    if sample.resolved < ENOUGH:
        return _none(sample, WILSON, NOT_ENOUGH)
    return new_data_accuracy(sample, correct, method=method)


def post_stratified_accuracy(
    samples: Sequence[Sample], correct: Sequence[Bools], *, method: str | None = None
) -> Estimate:
    """Pool accuracy from parts (imports) weighted by their sizes; one Sample and one array per part.

    Parts with fewer than 30 resolved audited items are merged into the largest. With fewer than two parts
    left this is `accuracy`.
    """
    parts = _parts(samples, correct)
    whole = _union([sample for sample, _ in parts])
    if len(parts) < 2:
        return accuracy(whole, np.concatenate(list(correct)), method=method)
    method = method or _method(sum(k for _, k in parts), whole)
    share = _stratified(parts, method)
    return _estimate(whole, method, share.point, share.low, share.high)


def post_stratified_delivered(
    samples_in_r: Sequence[Sample],
    correct: Sequence[Bools],
    *,
    pool_size: int,
    in_a: int,
    in_a_without_gold: int,
    method: str | None = None,
) -> Estimate:
    """`delivered_accuracy` with the share right outside A post-stratified by parts."""
    parts = _parts(samples_in_r, correct)
    whole = _union([sample for sample, _ in parts])
    if len(parts) < 2:
        return delivered_accuracy(
            whole,
            np.concatenate(list(correct)),
            pool_size=pool_size,
            in_a=in_a,
            in_a_without_gold=in_a_without_gold,
            method=method,
        )
    _same_population(whole.population, pool_size, in_a, in_a_without_gold)
    k = sum(right for _, right in parts)
    method = method or _method(k, whole)
    share = _stratified(parts, method)
    value, low, high = _delivered(share, whole.resolved - k, pool_size, in_a, in_a_without_gold)
    return _estimate(whole, method, value, low, high)


def look_bound(
    sample_in_r: Sample,
    correct: Bools,
    *,
    looks: int,
    pool_size: int,
    in_a: int,
    in_a_without_gold: int,
    alpha: float = 0.05,
) -> float:
    """Lower bound of delivered accuracy that holds at all `looks` looks together with probability 1 - alpha.

    Exact one-sided hypergeometric bound at alpha / looks (Bonferroni); unresolved and c count wrong.
    Raises NotReportable unless blind, frozen audit.
    """
    _same_population(sample_in_r.population, pool_size, in_a, in_a_without_gold)
    k = _reportable(sample_in_r, correct)
    bound = hypergeometric_lower(k, sample_in_r.size, sample_in_r.population, alpha / looks)
    share = _Share(point=bound, low=bound, high=1.0)
    return _delivered(share, sample_in_r.resolved - k, pool_size, in_a, in_a_without_gold)[1]


def _reportable(sample: Sample, correct: Bools) -> int:
    """k, after refusing what may not be reported."""
    if sample.arm != "audit":
        raise NotReportable(f"only the audit sample is reported, not items of arm '{sample.arm}'")
    if not sample.is_blind:
        raise NotReportable("the answers were given with the machine's label in sight")
    if sample.version is None or sample.version == "":
        raise NotReportable("the version that the figure speaks of is not frozen")
    if len(correct) != sample.resolved:
        raise ValueError(f"{len(correct)} answers for {sample.resolved} resolved items")
    return int(np.count_nonzero(correct))


def _method(k: int, sample: Sample) -> str:
    """The kind of interval for k right answers: exact where errors, or right answers, are FEW."""
    return EXACT if min(k, sample.resolved - k) <= FEW else WILSON


def _interval(method: str, population: int) -> Callable[[int, int], Interval]:
    if method == EXACT:
        return lambda k, n: hypergeometric_interval(k, n, population)
    if method == WILSON:
        return lambda k, n: wilson(k, n, population)
    raise ValueError(f"no such method: {method}")


def _share(k: int, sample: Sample, interval: Callable[[int, int], Interval]) -> _Share:
    low, _ = interval(k, sample.size)
    _, high = interval(k + sample.unresolved, sample.size)
    return _Share(k / sample.resolved, low, high)


def _delivered(
    share: _Share, corrected: int, pool_size: int, in_a: int, without_gold: int
) -> tuple[float, float, float]:
    """[|A| - c + right in A + N_R·p + corrected] / N, p being the share right in R at the point, low and high end.

    A: items selected by an arm other than audit, or imported with gold. R: the other N_R items. c (`without_gold`):
    items of A without gold, of which c·p count right at the point, 0 at the low end, c at the high end.
    `corrected`: of the m audited items in R, those whose wrong machine label the gold replaces.
    """
    sure = in_a - without_gold + corrected
    in_r = pool_size - in_a
    value = (sure + (without_gold + in_r) * share.point) / pool_size
    low = (sure + in_r * share.low) / pool_size
    high = (sure + without_gold + in_r * share.high) / pool_size
    return min(1.0, value), max(0.0, low), min(1.0, high)


def _without_r(sample: Sample, method: str, pool_size: int, without_gold: int) -> Estimate:
    if pool_size and sample.population == 0 and without_gold == 0:
        return Estimate(1.0, 1.0, 1.0, 0, 0, 0, "census")  # every item has gold
    return _none(sample, method, NO_AUDIT)


def _parts(samples: Sequence[Sample], correct: Sequence[Bools]) -> list[tuple[Sample, int]]:
    """(sample, k) per part, parts below ENOUGH merged into the one with most answers."""
    parts = [(sample, _reportable(sample, right)) for sample, right in zip(samples, correct, strict=True)]
    if not parts:
        raise ValueError("no parts to estimate from")
    parts.sort(key=lambda part: part[0].resolved, reverse=True)
    own = [part for part in parts[1:] if part[0].resolved >= ENOUGH]
    merged = [parts[0]] + [part for part in parts[1:] if part[0].resolved < ENOUGH]
    return [(_union([sample for sample, _ in merged]), sum(k for _, k in merged)), *own]


def _union(samples: Sequence[Sample]) -> Sample:
    if len({sample.version for sample in samples}) > 1:
        raise NotReportable("the parts speak of different versions")
    return Sample(
        samples[0].arm,
        samples[0].is_blind,
        samples[0].version,
        sum(sample.population for sample in samples),
        sum(sample.size for sample in samples),
        sum(sample.unresolved for sample in samples),
    )


def _stratified(parts: Sequence[tuple[Sample, int]], method: str) -> _Share:
    total = sum(sample.population for sample, _ in parts)
    point = sum(sample.population * k / sample.resolved for sample, k in parts) / total
    low, _ = _stratified_interval([(sample, k) for sample, k in parts], method)
    _, high = _stratified_interval([(sample, k + sample.unresolved) for sample, k in parts], method)
    return _Share(point, low, high)


def _stratified_interval(parts: Sequence[tuple[Sample, int]], method: str) -> Interval:
    """The interval at the weighted share, on the size of a simple random sample of equal variance.

    n_eff = p(1-p) / Σ W_h² p_h(1-p_h) / n*_h, n*_h the finite-population size of the part. There p_h is
    (k_h + 1) / (n_h + 2), so that a part without errors does not pretend to have no variance. "exact": Clopper and
    Pearson's interval for p·n_eff of n_eff, as the reference has it; "wilson": Wilson's in its place.
    Reference: Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data".
    """
    weight = np.array([sample.population for sample, _ in parts], dtype=np.float64)
    weight /= weight.sum()
    k = np.array([right for _, right in parts], dtype=np.float64)
    n = np.array([sample.size for sample, _ in parts], dtype=np.float64)
    n_star = np.array([effective_size(sample.size, sample.population) for sample, _ in parts])
    smooth = (k + 1) / (n + 2)
    variance = float((weight**2 * smooth * (1 - smooth) / n_star).sum())
    p, centre = min(1.0, float((weight * k / n).sum())), float((weight * smooth).sum())
    n_eff = centre * (1 - centre) / variance if variance else np.inf
    if method == EXACT and np.isfinite(n_eff):
        return clopper_pearson(p * n_eff, n_eff)
    return wilson_at(p, n_eff)


def _same_population(in_r: int, pool_size: int, in_a: int, in_a_without_gold: int) -> None:
    if in_r != pool_size - in_a or not 0 <= in_a_without_gold <= in_a:
        raise ValueError(f"{in_r} items outside A, yet {in_a} of {pool_size} in A, {in_a_without_gold} without gold")


def _estimate(sample: Sample, method: str, value: float, low: float, high: float) -> Estimate:
    is_census = sample.size == sample.population and low == high
    name = "census" if is_census else method
    # Sums of fractions may cross by one rounding; the order of the three is a promise.
    return Estimate(value, min(low, value), max(high, value), sample.size, sample.unresolved, sample.population, name)


def _none(sample: Sample, method: str, reason: str) -> Estimate:
    return Estimate(None, None, None, sample.size, sample.unresolved, sample.population, method, reason)
