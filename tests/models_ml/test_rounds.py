"""The drawing of a round."""

from dataclasses import replace

import numpy as np
import pytest

from models_ml.acquisition.rounds import (
    FIRST_ROUND,
    LATER,
    Shares,
    late_items,
    plan_request,
    prefix_cutoff,
    shares_for,
    suffix_cutoff,
)
from models_ml.intervals import z_value
from tests.models_ml.frames import ladder, make_pool, plan


class TestFirstRound:
    def test_it_takes_both_ends_of_u(self):
        drawn = plan(ladder(), shares=FIRST_ROUND)
        assert drawn.picked("audit").tolist() == [0, 1]
        assert drawn.picked("random").tolist() == [29, 28, 27, 26, 25, 24, 23, 22]

    def test_it_asks_all_of_them_blind(self):
        drawn = plan(ladder(), shares=FIRST_ROUND)
        assert sorted(drawn.ask.tolist()) == [0, 1, *range(22, 30)]
        assert drawn.blind.all()

    def test_it_leaves_places_unfilled_that_no_arm_may_take(self):
        drawn = plan(ladder(), batch=20, shares=FIRST_ROUND)  # a third of 30 is 10
        assert (len(drawn.picked("audit")), len(drawn.picked("random")), len(drawn.ask)) == (4, 10, 14)

    def test_it_may_start_with_representative_items_instead(self):
        drawn = plan(ladder(300), batch=100, shares=Shares(audit=0.2, reference=0.4, start=0.4))
        assert len(drawn.picked("start")) >= 40
        assert len(drawn.ask) == 100

    def test_it_records_the_inclusion_probability(self):
        drawn = plan(ladder(), shares=FIRST_ROUND)
        assert {(pick.arm, pick.pi) for pick in drawn.picks} == {("audit", 2 / 30), ("random", 8 / 30)}


class TestSamples:
    def test_it_asks_first_what_is_open(self):
        pool = ladder(in_audit=[0, 1, 2], audit_open=[1])
        assert plan(pool, batch=8).picked("audit").tolist() == [1, 3]

    def test_it_asks_what_is_open_even_when_the_target_is_met(self):
        pool = ladder(in_audit=[0, 1, 2], audit_open=[1])
        assert plan(pool, batch=8, shares=replace(LATER, audit_target=3)).picked("audit").tolist() == [1]

    def test_it_takes_late_items_before_fresh_ones_and_despite_the_target(self):
        pool = ladder(in_audit=[0, 2], in_reference=[29, 27])
        shares = Shares(audit=0.2, reference=0.2, audit_target=2, reference_target=2)
        drawn = plan(pool, shares=shares)
        assert (drawn.picked("audit").tolist(), drawn.picked("random").tolist()) == ([1], [28])

    def test_it_draws_a_fixed_count_whatever_is_answered_already(self):
        pool = ladder(is_selected=[0, 1, 2], has_gold=[0, 1, 2], has_blind_gold=[0, 1])
        drawn = plan(pool, scores=np.linspace(1, 0, 30), batch=16)
        assert drawn.picked("audit").tolist() == [0, 1, 2, 3]
        assert {0, 1}.isdisjoint(drawn.ask.tolist())

    def test_it_gives_freed_places_to_the_active_arm(self):
        pool = ladder(is_selected=[0, 1, 2], has_gold=[0, 1, 2], has_blind_gold=[0, 1])
        assert len(plan(pool, scores=np.linspace(1, 0, 30), batch=16).ask) == 16

    def test_it_asks_again_blind_what_was_answered_in_sight_of_the_machine(self):
        pool = ladder(is_selected=[0], has_gold=[0])
        drawn = plan(pool, shares=FIRST_ROUND)
        assert drawn.blind[drawn.ask.tolist().index(0)]

    def test_it_stops_at_the_target_and_gives_the_share_to_active(self):
        shares = Shares(audit=0.5, reference=0.4, audit_target=2, reference_target=1)
        drawn = plan(ladder(), scores=np.zeros(30), shares=shares)
        assert (len(drawn.picked("audit")), len(drawn.picked("random"))) == (2, 1)
        assert len(drawn.ask) == 10

    def test_they_never_meet_even_when_nearly_all_is_withdrawn(self):
        pool = make_pool([0.7, 0.8, 0.9], in_reference=[0, 1, 2], is_selected=[0, 1, 2])
        assert plan(pool, batch=3, shares=Shares(audit=1.0, reference=0)).picks == ()

    def test_it_plans_an_empty_pool(self):
        drawn = plan(ladder(0), scores=np.empty(0))
        assert (drawn.picks, len(drawn.ask), len(drawn.blind)) == ((), 0, 0)


class TestActive:
    def test_it_takes_the_highest_scores_outside_a(self):
        pool = ladder(is_selected=[14])
        scores = np.zeros(30)
        scores[[12, 13, 14, 15]] = [1, 3, 4, 2]
        drawn = plan(pool, scores=scores, batch=3, shares=Shares(audit=0, reference=0))
        assert [(pick.position, pick.score, pick.pi) for pick in drawn.picks] == [
            (13, 3.0, 1.0),
            (15, 2.0, 1.0),
            (12, 1.0, 1.0),
        ]

    def test_it_shows_active_items_with_the_machine_label(self):
        drawn = plan(ladder(), scores=np.linspace(0, 1, 30), shares=Shares(audit=0, reference=0))
        assert not drawn.blind.any()

    def test_an_audited_item_joins_a_and_costs_nothing(self):
        pool = ladder(in_audit=[0, 1], has_gold=[0, 1], has_blind_gold=[0, 1])
        drawn = plan(pool, scores=np.linspace(1, 0, 30), batch=4, shares=Shares(audit=0, reference=0))
        assert drawn.picked("active").tolist() == [0, 1, 2, 3, 4, 5]
        assert sorted(drawn.ask.tolist()) == [2, 3, 4, 5]

    def test_an_item_asked_for_audit_anyway_costs_nothing_more_and_stays_blind(self):
        drawn = plan(ladder(), scores=np.linspace(1, 0, 30), batch=4, shares=Shares(audit=0.25, reference=0))
        assert drawn.picked("audit").tolist() == [0]
        assert drawn.picked("active").tolist() == [0, 1, 2, 3]
        assert dict(zip(drawn.ask.tolist(), drawn.blind.tolist(), strict=True)) == {
            0: True,
            1: False,
            2: False,
            3: False,
        }

    def test_it_does_not_ask_again_what_people_gave_up(self):
        pool = ladder(in_audit=[0])
        drawn = plan(pool, scores=np.linspace(1, 0, 30), batch=1, shares=Shares(audit=0, reference=0))
        assert (drawn.picked("active").tolist(), drawn.ask.tolist()) == ([0, 1], [1])

    def test_it_asks_blind_what_is_still_open_in_a_sample(self):
        pool = ladder(in_audit=[0, 1], audit_open=[0, 1])
        drawn = plan(pool, scores=np.linspace(1, 0, 30), batch=2, shares=Shares(audit=0, reference=0))
        assert sorted(drawn.ask.tolist()) == [0, 1]
        assert drawn.blind.all()

    def test_it_leaves_items_without_a_score_to_the_end(self):
        scores = np.full(30, np.nan)
        scores[5] = 0.1
        drawn = plan(ladder(), scores=scores, batch=2, shares=Shares(audit=0, reference=0))
        assert [(pick.position, pick.score) for pick in drawn.picks] == [(5, 0.1), (0, None)]

    def test_it_picks_nothing_once_the_batch_is_full(self):
        drawn = plan(ladder(), scores=np.ones(30), batch=4, shares=Shares(audit=0.5, reference=0.5))
        assert len(drawn.picked("active")) == 0


class TestConflicts:
    def test_they_come_before_active(self):
        pool = ladder(is_selected=[14], conflict=[14])
        drawn = plan(pool, scores=np.ones(30), batch=2, shares=Shares(audit=0, reference=0))
        assert [pick.arm for pick in drawn.picks] == ["conflict", "active"]

    def test_a_disputed_audit_item_stays_audit_lest_only_the_hard_ones_leave_r(self):
        pool = ladder(in_audit=[0, 1], conflict=[1])
        drawn = plan(pool, batch=1, shares=Shares(audit=0, reference=0))
        assert [(pick.position, pick.arm) for pick in drawn.picks] == [(1, "audit")]
        assert drawn.blind.all()

    def test_a_disputed_reference_item_is_asked_blind(self):
        pool = ladder(is_selected=[29], in_reference=[29], conflict=[29])
        drawn = plan(pool, batch=1, shares=Shares(audit=0, reference=0))
        assert [pick.arm for pick in drawn.picks] == ["conflict"]
        assert drawn.blind.all()


class TestStart:
    def test_it_says_how_likely_each_item_was(self):
        """20 free items among 60: the stated probabilities are the observed frequencies."""
        labeled = list(range(20))
        pool = ladder(60, in_audit=labeled, has_gold=labeled, has_blind_gold=labeled)
        taken, stated = np.zeros(60), np.zeros(60)
        for seed in range(2000):
            drawn = plan(pool, batch=10, shares=Shares(audit=0, reference=0, start=1.0), seed=seed)
            taken[drawn.picked("start")] += 1
            for pick in drawn.picks:
                stated[pick.position] = pick.pi
        assert stated[0] == 10 / 41 and stated[59] == 10 / 40
        assert taken[:20].mean() / 2000 == pytest.approx(10 / 41, abs=0.01)
        assert taken[20:].mean() / 2000 == pytest.approx(10 / 40, abs=0.01)

    def test_it_takes_all_when_the_batch_is_larger_than_the_pool(self):
        drawn = plan(ladder(6), batch=10, shares=Shares(audit=0, reference=0, start=1.0))
        assert len(drawn.ask) == 6
        assert {pick.pi for pick in drawn.picks} == {1.0}


class TestMarks:
    def test_they_are_the_inner_ends_of_the_samples(self):
        pool = make_pool([0.1, 0.3, 0.8, 0.9], in_audit=[0, 1], in_reference=[2, 3])
        assert prefix_cutoff(pool.prn, pool.in_audit) == 0.3
        assert suffix_cutoff(pool.prn, pool.in_reference) == 0.8

    def test_there_is_none_before_the_first_draw(self):
        pool = ladder()
        assert prefix_cutoff(pool.prn, pool.in_audit) is None
        assert suffix_cutoff(pool.prn, pool.in_reference) is None
        assert not late_items(pool.prn, None, pool.in_audit).any()

    def test_late_items_are_those_a_mark_has_passed(self):
        prn, drawn = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]), np.array([1, 0, 0, 0, 0, 1], dtype=bool)
        assert np.flatnonzero(late_items(prn, 0.2, drawn)).tolist() == [1]
        assert np.flatnonzero(late_items(-prn, -0.8, drawn)).tolist() == [4]


class TestShares:
    def test_the_first_round_differs(self):
        assert (shares_for(0).reference, shares_for(1).reference) == (0.80, 0.10)

    def test_it_carries_the_projects_targets(self):
        shares = shares_for(3, audit_target=70, reference_target=55)
        assert (shares.audit, shares.audit_target, shares.reference_target) == (0.25, 70, 55)

    def test_its_default_target_buys_three_points(self):
        assert LATER.audit_target == round(z_value(0.95) ** 2 * 0.9 * 0.1 / 0.03**2)

    @pytest.mark.parametrize("parts", [{"audit": -0.1}, {"audit": 0.9, "reference": 0.2}])
    def test_it_refuses_impossible_shares(self, parts):
        with pytest.raises(ValueError, match="fractions"):
            Shares(**parts)

    def test_it_refuses_scores_of_another_pool(self):
        with pytest.raises(ValueError, match="one score per item"):
            plan(ladder(), scores=np.ones(29))

    def test_it_refuses_uneven_columns(self):
        with pytest.raises(ValueError, match="same length"):
            replace(ladder(), is_selected=np.zeros(3, dtype=bool))


class TestOrder:
    def test_it_repeats_with_the_same_seed(self):
        first, second = plan(ladder(), scores=np.arange(30.0)), plan(ladder(), scores=np.arange(30.0))
        assert first.picks == second.picks and first.ask.tolist() == second.ask.tolist()

    def test_the_order_of_asking_does_not_betray_the_arm(self):
        """Over seeds every place in the order is audit equally often."""
        pool, places = ladder(200), np.zeros(40)
        for seed in range(600):
            drawn = plan(pool, scores=np.arange(200.0), batch=40, seed=seed)
            places += drawn.blind
        assert np.abs(places / 600 - 14 / 40).max() < 0.09


class TestRequest:
    def stratum(self, frame):
        return np.arange(len(frame)) % 4 == 0

    def plan(self, frame, batch=10, seed=1):
        generator = np.random.default_rng(seed)
        return plan_request(frame, stratum=self.stratum(frame), batch=batch, reason="asked for", generator=generator)

    def test_it_draws_at_random_in_the_stratum_blind_with_its_probability(self):
        plan = self.plan(ladder(200))
        assert len(plan.ask) == 10
        assert self.stratum(ladder(200))[plan.ask].all()
        assert plan.blind.all()
        assert {(pick.arm, pick.pi, pick.score) for pick in plan.picks} == {("request", 10 / 50, None)}

    def test_it_leaves_out_what_was_picked_before(self):
        plan = self.plan(ladder(200, is_selected=range(100)), batch=100)
        assert sorted(plan.ask) == [n for n in range(100, 200) if n % 4 == 0]
        assert {pick.pi for pick in plan.picks} == {1.0}

    def test_each_item_is_as_likely_as_its_probability_says(self):
        times = np.zeros(40)
        for seed in range(1_000):
            times[self.plan(ladder(40), batch=3, seed=seed).ask] += 1
        assert times[~self.stratum(ladder(40))].sum() == 0
        # Binomial(1000, 0.3): four standard deviations are 58.
        assert np.abs(times[self.stratum(ladder(40))] - 300).max() < 58

    def test_it_refuses_a_stratum_of_another_ladder(self):
        with pytest.raises(ValueError, match="stratum"):
            plan_request(
                ladder(5), stratum=np.ones(4, dtype=bool), batch=1, reason="", generator=np.random.default_rng(1)
            )
