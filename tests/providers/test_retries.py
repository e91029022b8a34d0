import numpy as np
import pytest

from annotate.providers.openai import Attempted, Outcome
from annotate.providers.retries import MAX_ATTEMPTS, CircuitBreaker, wait_before_retry
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


class TestCircuitBreaker:
    def recorded(self, *attempts, **options):
        breaker = CircuitBreaker(**options)
        for attempted in attempts:
            breaker.record(attempted)
        return breaker

    def test_it_opens_after_five_without_an_answer_and_says_why(self):
        assert not self.recorded(*[BROKEN] * 4).is_open
        breaker = self.recorded(*[BROKEN] * 5)
        assert breaker.why == "5 attempts in a row had no answer. The last: The server had a fault (HTTP 500)."

    @pytest.mark.parametrize("answer", [ANSWERED, TOO_LONG])
    def test_an_answer_between_starts_the_count_again(self, answer):
        assert not self.recorded(*[BROKEN] * 4, answer, *[BROKEN] * 4).is_open

    def test_it_opens_at_once_where_all_items_would_meet_the_same(self):
        assert self.recorded(STOPPED).why == "The server refuses the key."

    def test_being_slowed_down_takes_three_waves(self):
        assert not self.recorded(*[SLOWED] * 23, max_concurrency=8).is_open
        assert self.recorded(*[SLOWED] * 24, max_concurrency=8).is_open
        assert self.recorded(*[SLOWED] * 5).is_open

    def test_it_stays_open(self):
        assert self.recorded(STOPPED, ANSWERED).is_open
