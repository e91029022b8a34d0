"""When a server counts as away, when it is asked again, when a run gives up: on a clock of the test's own."""

from dataclasses import replace

import numpy as np
import pytest

from annotate.providers.openai import Attempted, Outcome
from annotate.providers.outages import Outages
from models_ml.types import Failure, FailureKind, Judgement

REFUSED = Attempted(1, Outcome.NOT_SENT, "The server does not accept connections.", is_retryable=True)
DROPPED = Attempted(1, Outcome.UNKNOWN, "The server broke the connection off.", is_retryable=True, is_broken=True)
FAULT = Attempted(1, Outcome.UNKNOWN, "The server had a fault (HTTP 500).", status=500, is_retryable=True)
SLOWED = Attempted(1, Outcome.REJECTED, "The server is asked too often (HTTP 429).", status=429, is_retryable=True)
LATER = replace(FAULT, status=503, retry_after=40.0)
STOPPED = Attempted(1, Outcome.REJECTED, "The server refuses the key.", status=401, stops_run=True)
RECALLED = Attempted(1, Outcome.NOT_SENT, is_recalled=True)
ANSWERED = Attempted(1, Outcome.ANSWERED, answer=Judgement(0))
TOO_LONG = Attempted(1, Outcome.REJECTED, answer=Failure(FailureKind.TOO_LONG, "Too long."), status=400)


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def outages(clock, *attempts, max_concurrency=1, most_seconds=600.0):
    made = Outages(
        max_concurrency=max_concurrency, most_seconds=most_seconds, rng=np.random.default_rng(7), clock=clock
    )
    for attempted in attempts:
        made.record(attempted)
    return made


class TestBeginning:
    def test_a_connection_that_cannot_be_made_is_an_outage(self, clock):
        assert outages(clock, REFUSED).waiting.reason == REFUSED.reason

    def test_so_is_a_server_that_says_when_to_come_back(self, clock):
        assert outages(clock, LATER).seconds_left >= 40

    @pytest.mark.parametrize("failed", [DROPPED, FAULT])
    def test_so_are_five_failures_in_a_row(self, clock, failed):
        assert not outages(clock, *[failed] * 4).is_away
        assert outages(clock, *[failed] * 5).is_away

    @pytest.mark.parametrize("answer", [ANSWERED, TOO_LONG])
    def test_an_answer_between_starts_the_count_again(self, clock, answer):
        assert not outages(clock, *[FAULT] * 4, answer, *[FAULT] * 4).is_away

    def test_being_slowed_down_takes_three_waves(self, clock):
        assert not outages(clock, *[SLOWED] * 23, max_concurrency=8).is_away
        assert outages(clock, *[SLOWED] * 24, max_concurrency=8).is_away

    def test_what_was_never_sent_says_nothing(self, clock):
        assert not outages(clock, *[RECALLED] * 50).is_away

    def test_what_every_item_would_meet_ends_the_run(self, clock):
        assert outages(clock, STOPPED, ANSWERED).why == STOPPED.reason


class TestWaiting:
    def test_all_calls_in_flight_are_one_outage(self, clock):
        few, many = outages(clock, *[DROPPED] * 5), outages(clock, *[DROPPED] * 50)
        assert few.seconds_left == many.seconds_left

    def test_each_look_in_vain_waits_longer(self, clock):
        made, waits = outages(clock, REFUSED), []
        while made.gave_up is None:
            waits.append(made.seconds_left)
            clock.now += made.seconds_left
            assert made.seconds_left == 0
            made.record(REFUSED, is_probe=True)
        assert 0.5 <= waits[0] <= 1.5 and 1 <= waits[1] <= 3 and max(waits) <= 90
        assert sum(waits) == pytest.approx(600)
        assert "has not answered for 600 s" in made.gave_up and REFUSED.reason in made.gave_up

    def test_an_answer_ends_it_and_the_next_begins_anew(self, clock):
        made = outages(clock, REFUSED)
        for _ in range(6):
            clock.now += made.seconds_left
            made.record(REFUSED, is_probe=True)
        made.record(ANSWERED)
        assert not made.is_away and made.seconds_left == 0
        clock.now += 10_000
        made.record(REFUSED)
        assert made.seconds_left <= 1.5 and made.gave_up is None

    def test_the_servers_own_wish_goes_before_the_back_off(self, clock):
        made = outages(clock, REFUSED)
        made.record(LATER, is_probe=True)
        assert made.seconds_left == 40

    def test_nobody_waits_for_longer_than_is_allowed(self, clock):
        assert outages(clock, replace(LATER, retry_after=3_600.0)).gave_up
        assert outages(clock, REFUSED, most_seconds=0).gave_up

    def test_the_last_look_is_at_the_end(self, clock):
        made = outages(clock, REFUSED, most_seconds=0.1)
        assert made.seconds_left == pytest.approx(0.1) and made.gave_up is None
        clock.now += 0.1
        made.record(REFUSED, is_probe=True)
        assert made.gave_up
