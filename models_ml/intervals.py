"""Intervals for a proportion of a finite pool, Wilson's and the exact one, and the sample sizes to look at."""

import math
from functools import cache

from scipy.special import betaincinv, ndtri

Interval = tuple[float, float]


def wilson(k: int, n: int, population: int | None = None, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for k successes in a simple random sample of n.

    With `population` N, n becomes n* = n(N-1)/(N-n), whose binomial variance is the hypergeometric one; n = N
    is a census and gives the point itself. n = 0 says nothing: (0, 1). Raises ValueError unless
    0 <= k <= n <= N.
    Reference: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    _check(k, n, population)
    if n == 0:
        return 0.0, 1.0
    return wilson_at(k / n, effective_size(n, population), confidence)


def wilson_at(p: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's interval about a share p as if from n answers; n may be fractional, or infinite (exact)."""
    if math.isinf(n):
        return p, p
    z2 = z_value(confidence) ** 2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * p * (1 - p) / n + z2 * z2 / (4 * n * n)) / (1 + z2 / n)
    # At p = 0 and 1 the end is 0 and 1 exactly; rounding would leave it at 1e-17.
    low = 0.0 if p <= 0 else max(0.0, centre - half)
    high = 1.0 if p >= 1 else min(1.0, centre + half)
    return low, high


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> Interval:
    """The exact binomial interval; k and n may be fractional (k of an effective size), n infinite (the share itself).

    Raises ValueError unless 0 <= k <= n. References: Clopper & Pearson 1934, "The use of confidence or fiducial
    limits illustrated in the case of the binomial"; for effective sizes Korn & Graubard 1998.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes of {n} answers")
    tail = (1 - confidence) / 2
    low = 0.0 if k <= 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k >= n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def effective_size(n: int, population: int | None) -> float:
    """n* = n(N-1)/(N-n): the sample with replacement of the same variance; infinite for a census."""
    if population is None:
        return float(n)
    return math.inf if n >= population else n * (population - 1) / (population - n)


@cache
def z_value(confidence: float) -> float:
    """The two-sided normal quantile: 1.96 for .95."""
    return float(ndtri((1 + confidence) / 2))


def hypergeometric_interval(k: int, n: int, population: int, confidence: float = 0.95) -> Interval:
    """Exact equal-tailed interval for the share of successes among N items, k of n drawn being successes.

    Both ends are multiples of 1/N. Inverts two one-sided hypergeometric tests, as Clopper & Pearson 1934 do
    for the binomial. Raises ValueError unless 0 <= k <= n <= N.
    """
    tail = (1 - confidence) / 2
    fewest, fewest_wrong = _fewest(k, n, population, tail), _fewest(n - k, n, population, tail)
    return (fewest / population, (population - fewest_wrong) / population) if population else (0.0, 1.0)


def hypergeometric_lower(k: int, n: int, population: int, alpha: float = 0.05) -> float:
    """Exact lower bound for that share: the smallest K/N with P(X >= k | K successes among N) > alpha.

    The true share lies below it with probability at most alpha.
    """
    return _fewest(k, n, population, alpha) / population if population else 0.0


def _fewest(k: int, n: int, population: int, alpha: float) -> int:
    """The bound as a count; P(X >= k | K) grows with K, so halving finds it."""
    from scipy.stats import hypergeom  # half a second, for a number that is seldom asked for

    _check(k, n, population)
    low, high = k, population - (n - k)  # what has been seen bounds K from both sides
    while low < high:
        middle = (low + high) // 2
        if hypergeom.sf(k - 1, population, middle, n) > alpha:
            high = middle
        else:
            low = middle + 1
    return low


def look_sizes(target_n: int, *, ratio: float = 1.5, max_looks: int = 7, smallest: int = 30) -> tuple[int, ...]:
    """Audit sizes at which stopping may be considered: up to `target_n` by `ratio`, at most `max_looks`.

    Below `smallest` no bound is worth a look: even 30 of 30 right leave a lower bound below 0.85.
    Empty where target_n < 1; a target below `smallest` is one look.
    """
    sizes = [target_n] if target_n >= 1 else []
    while sizes and len(sizes) < max_looks and (size := math.ceil(sizes[-1] / ratio)) >= smallest:
        sizes.append(size)
    return tuple(reversed(sizes))


def _check(k: int, n: int, population: int | None) -> None:
    if not 0 <= k <= n or (population is not None and n > population):
        raise ValueError(f"{k} successes of {n} answers from {population} items")
