"""Which item is asked next, and whose fault a failure is: no database, no server, a clock of the test's own."""

import numpy as np
import pytest

from annotate.models import Item
from annotate.providers.retries import MAX_BREAKS
from annotate.silver.tries import Tries, Try
from tests.providers.test_outages import DROPPED, FAULT, RECALLED, REFUSED, Clock


@pytest.fixture
def clock():
    return Clock()


def tries(clock, n=3):
    first = (Try(Item(pk=pk), []) for pk in range(n))
    return Tries(first, most_waiting=100, rng=np.random.default_rng(7), clock=clock)


def taken(some, clock, seconds=100.0):
    """All that can be asked within so many seconds, as (item, number)."""
    clock.now += seconds
    some.fill(100)
    found = [(one.item.pk, one.number) for one in some.ready]
    some.ready.clear()
    return found


def first_of(some):
    some.fill(1)
    return some.ready.popleft()


def test_a_failure_counts_against_the_item_once_an_answer_shows_that_the_server_is_well(clock):
    some = tries(clock)
    some.failed(first_of(some), FAULT, is_away=False)
    assert taken(some, clock) == [(1, 1), (2, 1)]
    some.blame()
    assert taken(some, clock) == [(0, 2)]


def test_it_does_not_where_the_server_was_away(clock):
    some = tries(clock)
    for _ in range(5):
        some.failed(first_of(some), FAULT, is_away=False)
        some.forgive()
        clock.now += 100
    assert sorted(taken(some, clock)) == [(0, 1), (1, 1), (2, 1)]


def test_where_nothing_else_is_left_the_item_is_blamed(clock):
    some = tries(clock, n=1)
    some.failed(first_of(some), FAULT, is_away=False)
    assert not some.is_empty
    assert taken(some, clock, seconds=0) == []
    assert taken(some, clock) == [(0, 2)]


def test_what_was_not_sent_is_never_given_up(clock):
    some = tries(clock, n=1)
    for _ in range(50):
        some.failed(first_of(some), REFUSED, is_away=True)
        some.failed(first_of(some), RECALLED, is_away=False)
    assert taken(some, clock) == [(0, 1)]


def test_an_item_that_makes_the_server_crash_is_left_in_the_end(clock):
    some = tries(clock, n=1)
    for _ in range(MAX_BREAKS):
        some.failed(first_of(some), DROPPED, is_away=True)
        clock.now += 100
    some.fill(1)
    assert some.is_empty


def test_and_others_go_first_meanwhile(clock):
    some = tries(clock)
    some.failed(first_of(some), DROPPED, is_away=True)
    assert first_of(some).item.pk == 1
