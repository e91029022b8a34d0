"""Why a round is smaller than asked for, over hand-sized pools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.acquisition.rounds import FIRST_ROUND, LATER, Named, Shares, plan_round
from models_ml.acquisition.shortfall import Shortfall, shortfalls
from tests.models_ml.frames import after, ladder


def drawn(pool, batch, shares=FIRST_ROUND, scores=None, named=None):
    random = np.random.default_rng(0)
    return plan_round(pool, scores=scores, batch=batch, shares=shares, generator=random, named=named)


def short(pool, batch, shares=FIRST_ROUND, scores=None):
    plan = drawn(pool, batch, shares, scores)
    return shortfalls(pool, plan, batch=batch, shares=shares, has_scores=scores is not None)


def test_eleven_items_and_a_hundred_questions():
    assert short(ladder(11), 100) == (
        Shortfall("audit", 20, 3, "third", 5),
        Shortfall("random", 80, 3, "third", 5),
        Shortfall("active", 94, 0, "no_scores", 5),
    )


def test_with_scores_the_rest_is_taken_until_none_is_left():
    found = short(ladder(11), 100, scores=np.zeros(11))
    assert found[-1] == Shortfall("active", 94, 5, "none_left", 0)


def test_a_sample_at_its_target():
    found = short(ladder(60), 20, Shares(audit=0.5, reference=0.5, audit_target=2, reference_target=3))
    assert [(one.arm, one.taken, one.reason) for one in found[:2]] == [("audit", 2, "target"), ("random", 3, "target")]


def test_members_with_a_blind_answer_are_known():
    pool = ladder(30, has_blind_gold=[0, 1, 2], has_gold=[0, 1, 2], is_selected=[0, 1, 2])
    found = short(pool, 8, Shares(audit=0.5, reference=0.5))
    assert found[0] == Shortfall("audit", 4, 1, "known", 22)


def test_a_full_round_is_not_short():
    assert short(ladder(60), 10) == ()


@given(n=st.integers(1, 40), batch=st.integers(1, 60), has_scores=st.booleans(), is_first=st.booleans())
def test_what_was_taken_and_what_is_left_add_up(n, batch, has_scores, is_first):
    pool, shares, scores = ladder(n), FIRST_ROUND if is_first else LATER, np.zeros(n) if has_scores else None
    plan = drawn(pool, batch, shares, scores)
    found = shortfalls(pool, plan, batch=batch, shares=shares, has_scores=has_scores)
    assert bool(found) == (len(plan.ask) < batch)
    if found:
        assert found[-1].wanted - found[-1].taken == batch - len(plan.ask)
        assert found[-1].left == n - len(plan.ask)
        assert (found[-1].reason == "no_scores") == (not has_scores and found[-1].left > 0)


class TestNamed:
    def everything(self, pool):
        return Named(np.ones(len(pool), dtype=bool), "everything was asked for")

    def test_it_takes_all_outside_a_audited_or_not(self):
        pool = ladder(11)
        plan = drawn(pool, 11, named=self.everything(pool))
        assert sorted(plan.ask.tolist()) == list(range(11))
        assert plan.picked("audit").tolist() == [0, 1]
        assert sorted(plan.picked("active").tolist()) == list(range(8))

    def test_items_with_gold_are_not_asked_and_given_up_ones_are(self):
        pool = ladder(11)
        later = after(pool, drawn(pool, 5))
        given_up = later.in_audit.copy()
        later.has_gold[given_up] = later.has_blind_gold[given_up] = False
        plan = drawn(later, 11, LATER, named=self.everything(later))
        assert not set(plan.ask.tolist()) & set(np.flatnonzero(later.has_gold))
        assert set(np.flatnonzero(given_up)) <= set(plan.ask.tolist())

    def test_a_list_ignores_scores_and_batch(self):
        pool = ladder(30)
        named = np.zeros(30, dtype=bool)
        named[[10, 11, 12, 13]] = True
        plan = drawn(pool, 4, LATER, scores=np.arange(30.0), named=Named(named, "asked for by name"))
        assert plan.picked("active").tolist() == [10, 11, 12, 13]
        assert (len(plan.picked("audit")), len(plan.picked("random"))) == (1, 0)
        assert {pick.pi for pick in plan.picks if pick.arm == "active"} == {1.0}

    @pytest.mark.parametrize("n", [1, 2, 11, 50])
    def test_the_samples_are_those_of_a_batch_of_that_size(self, n):
        pool = ladder(n)
        named = drawn(pool, n, named=self.everything(pool))
        batch = drawn(pool, n)
        for arm in ("audit", "random"):
            assert named.picked(arm).tolist() == batch.picked(arm).tolist()
