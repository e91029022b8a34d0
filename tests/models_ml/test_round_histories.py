"""What holds of the samples however a project goes: rounds, late items and withdrawals in any order."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models_ml.acquisition.rounds import (
    SamplingFrame,
    Shares,
    late_items,
    plan_round,
    prefix_cutoff,
    shares_for,
    suffix_cutoff,
)
from tests.models_ml.frames import after, make_pool, plan


@st.composite
def histories(draw):
    """A seed, a sequence of batches, and when items are imported or an import is withdrawn."""
    return (
        draw(st.integers(0, 2**32 - 1)),
        draw(st.lists(st.integers(1, 25), min_size=1, max_size=6)),
        draw(st.lists(st.sampled_from(["", "import", "withdraw"]), min_size=6, max_size=6)),
        draw(st.sampled_from([5, 17, 60, 120])),
    )


def grown(pool, generator, count):
    """`count` more items; those behind a mark are open in that sample at once."""
    more = make_pool(generator.random(count))
    columns = {name: np.concatenate([getattr(pool, name), getattr(more, name)]) for name in vars(pool)}
    pool = SamplingFrame(**columns)
    audit, reference = with_late_items(pool)
    return replace(
        pool,
        audit_open=pool.audit_open | audit & ~pool.in_audit,
        reference_open=pool.reference_open | reference & ~pool.in_reference,
    )


def with_late_items(pool):
    """The masks of both samples, items imported behind their cut-offs included."""
    audit = late_items(pool.prn, prefix_cutoff(pool.prn, pool.in_audit), pool.in_audit)
    reference = late_items(-pool.prn, prefix_cutoff(-pool.prn, pool.in_reference), pool.in_reference)
    return pool.in_audit | audit, pool.in_reference | reference


def is_prefix(key, mask):
    """Whether no item outside the mask stands before one inside it, by ascending key."""
    in_order = mask[np.argsort(key)]
    return not (in_order[1:] & ~in_order[:-1]).any()


def shrunk(pool, generator):
    stays = generator.random(len(pool)) < 0.6
    return SamplingFrame(**{name: column[stays] for name, column in vars(pool).items()})


def play(history):
    """Yield (pool before, plan, pool after, batch) for each round of a history."""
    seed, batches, events, size = history
    generator = np.random.default_rng(seed)
    pool = make_pool(generator.random(size))
    for index, batch in enumerate(batches):
        if events[index] == "import":
            pool = grown(pool, generator, 20)
        elif events[index] == "withdraw":
            pool = shrunk(pool, generator)
        scores = generator.random(len(pool)) if index else None
        drawn = plan_round(pool, scores=scores, batch=batch, shares=shares_for(index), generator=generator)
        later = after(pool, drawn)
        yield pool, drawn, later, batch
        pool = later


class TestProperties:
    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_the_samples_never_meet(self, history):
        for _, _, pool, _ in play(history):
            low, high = prefix_cutoff(pool.prn, pool.in_audit), suffix_cutoff(pool.prn, pool.in_reference)
            assert low is None or high is None or low < high

    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_the_samples_with_their_late_items_are_complete_prefixes(self, history):
        for _, _, pool, _ in play(history):
            audit, reference = with_late_items(pool)
            assert is_prefix(pool.prn, audit)
            assert is_prefix(-pool.prn, reference)

    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_the_samples_only_grow(self, history):
        for before, _, pool, _ in play(history):
            assert not (before.in_audit & ~pool.in_audit).any()
            assert not (before.in_reference & ~pool.in_reference).any()

    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_the_marks_only_move_inwards(self, history):
        for before, _, pool, _ in play(history):
            low, high = prefix_cutoff(before.prn, before.in_audit), suffix_cutoff(before.prn, before.in_reference)
            assert low is None or prefix_cutoff(pool.prn, pool.in_audit) >= low
            assert high is None or suffix_cutoff(pool.prn, pool.in_reference) <= high

    @settings(max_examples=80, deadline=None)
    @given(histories())
    # The item at the mark is withdrawn while late items behind it are open: they still count.
    @example((0, [5, 1, 3, 1, 3, 14], ["", "withdraw", "", "import", "", "withdraw"], 17))
    def test_fresh_items_are_drawn_only_up_to_a_third_of_the_pool(self, history):
        for before, drawn, pool, _ in play(history):
            fresh = [pick for pick in drawn.picks if pick.reason == "next in the random order"]
            for arm, member in (("audit", pool.in_audit), ("random", pool.in_reference)):
                if any(pick.arm == arm for pick in fresh):
                    assert member.sum() <= len(before) // 3

    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_no_more_is_asked_than_the_batch_and_less_only_from_an_exhausted_pool(self, history):
        for before, drawn, pool, batch in play(history):
            assert len(drawn.ask) <= batch
            assert len(set(drawn.ask.tolist())) == len(drawn.ask)
            if any(pick.arm == "active" for pick in drawn.picks) and len(drawn.ask) < batch:
                assert (pool.is_selected | before.is_selected).all()

    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_audit_and_reference_are_always_asked_blind(self, history):
        for before, drawn, _, _ in play(history):
            sampled = {pick.position for pick in drawn.picks if pick.arm in ("audit", "random")}
            for position, blind in zip(drawn.ask.tolist(), drawn.blind.tolist(), strict=True):
                is_member = before.in_audit[position] or before.in_reference[position]
                assert blind or (position not in sampled and not is_member)

    @settings(max_examples=80, deadline=None)
    @given(histories())
    def test_no_item_is_picked_twice_by_an_arm_that_puts_it_in_a(self, history):
        for before, drawn, _, _ in play(history):
            active = drawn.picked("active")
            assert len(set(active.tolist())) == len(active)
            assert not before.is_selected[active].any()

    @settings(max_examples=80, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(1, 20))
    def test_active_never_looks_at_u(self, seed, n_audited, batch):
        """Whoever happens to be audited, active walks down the same ranking of everything outside A."""
        generator = np.random.default_rng(seed)
        scores = generator.random(60)
        ranking = np.argsort(-scores, kind="stable").tolist()
        for _ in range(2):
            prn = generator.random(60)
            audited = np.argsort(prn)[:n_audited]
            pool = make_pool(prn, in_audit=audited, has_gold=audited, has_blind_gold=audited)
            drawn = plan(pool, scores=scores, batch=batch, shares=Shares(audit=0.25, reference=0))
            active = drawn.picked("active").tolist()
            assert active == ranking[: len(active)]
