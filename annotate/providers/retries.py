"""Decides whether and when an item is tried again after an attempt without an answer. Each try is reserved anew."""

import numpy as np

from annotate.providers.openai import Attempted

MAX_ATTEMPTS = 3  # at one item, including the first
MAX_BREAKS = 6  # connections that broke during one item: a restarted server is no fault of the item, a crash may be
MAX_SLOWED = 10  # "too many requests" about one item, which cost nothing
MOST_WAIT_SECONDS = 60.0
FIRST_WAIT_SECONDS = 1.0
_JITTER_SECONDS = 0.5  # added to Retry-After, so that not all come back at once


def wait_before_retry(attempt_number: int, attempted: Attempted, rng: np.random.Generator) -> float | None:
    """Seconds until the next attempt at the item; None if there should be none.

    attempt_number: of the attempt just made, from 1. The server's Retry-After is obeyed up to a minute, plus at most
    half a second; without it 1, 2, ... s, times 0.5 to 1.5 at random, so that not all come back at once.
    """
    if not attempted.is_retryable or attempted.stops_run or attempt_number >= _most(attempted):
        return None
    if attempted.retry_after is not None:
        return min(attempted.retry_after, MOST_WAIT_SECONDS) + float(rng.uniform(0, _JITTER_SECONDS))
    return back_off(attempt_number - 1, rng)


def back_off(n_before: int, rng: np.random.Generator) -> float:
    """Seconds of the next wait after `n_before` others: 1, 2, 4, ... up to a minute, times 0.5 to 1.5 at random."""
    return float(min(FIRST_WAIT_SECONDS * 2 ** min(n_before, 10), MOST_WAIT_SECONDS) * rng.uniform(0.5, 1.5))


def _most(attempted: Attempted) -> int:
    if attempted.status == 429:
        return MAX_SLOWED
    return MAX_BREAKS if attempted.is_broken else MAX_ATTEMPTS
