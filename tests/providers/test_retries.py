from dataclasses import replace

import numpy as np
import pytest

from annotate.providers.openai import Attempted, Outcome
from annotate.providers.retries import MAX_ATTEMPTS, MAX_BREAKS, MAX_SLOWED, back_off, wait_before_retry
from models_ml.types import Failure, FailureKind, Judgement

BROKEN = Attempted(1, Outcome.UNKNOWN, "The server had a fault (HTTP 500).", status=500, is_retryable=True)
SLOWED = Attempted(1, Outcome.REJECTED, "The server is asked too often (HTTP 429).", status=429, is_retryable=True)
STOPPED = Attempted(1, Outcome.REJECTED, "The server refuses the key.", status=401, stops_run=True)
ANSWERED = Attempted(1, Outcome.ANSWERED, answer=Judgement(0))
TOO_LONG = Attempted(1, Outcome.REJECTED, answer=Failure(FailureKind.TOO_LONG, "Too long."), status=400)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


class TestWaiting:
    def test_it_waits_longer_each_time_and_then_gives_up(self, rng):
        waits = [wait_before_retry(n, BROKEN, rng) for n in (1, 2, 3)]
        assert 0.5 <= waits[0] <= 1.5
        assert 1 <= waits[1] <= 3
        assert waits[2] is None
        assert MAX_ATTEMPTS == 3

    def test_two_never_wait_alike(self, rng):
        assert wait_before_retry(1, BROKEN, rng) != wait_before_retry(1, BROKEN, rng)

    @pytest.mark.parametrize(("asked", "least"), [(0.0, 0.0), (7.0, 7.0), (60.0, 60.0), (3600.0, 60.0)])
    def test_it_keeps_to_retry_after_up_to_a_minute(self, rng, asked, least):
        attempted = Attempted(1, Outcome.REJECTED, status=429, retry_after=asked, is_retryable=True)
        assert least <= wait_before_retry(1, attempted, rng) <= least + 1

    @pytest.mark.parametrize("attempted", [STOPPED, ANSWERED, TOO_LONG])
    def test_it_asks_again_only_where_that_can_help(self, rng, attempted):
        assert wait_before_retry(1, attempted, rng) is None

    def test_a_broken_connection_is_asked_again_more_often_than_an_error(self, rng):
        dropped = replace(BROKEN, status=None, is_broken=True)
        assert wait_before_retry(MAX_ATTEMPTS, dropped, rng) > 0
        assert wait_before_retry(MAX_BREAKS, dropped, rng) is None

    def test_so_is_what_came_too_often(self, rng):
        assert wait_before_retry(MAX_ATTEMPTS, SLOWED, rng) > 0
        assert wait_before_retry(MAX_SLOWED, SLOWED, rng) is None

    def test_no_wait_is_longer_than_a_minute_and_a_half(self, rng):
        assert max(back_off(n, rng) for n in (6, 60, 6_000)) <= 90
