"""Pools of items as the drawing of a round sees them."""

from dataclasses import replace

import numpy as np

from models_ml.acquisition.rounds import (
    LATER,
    SamplingFrame,
    plan_round,
)


def make_pool(prn, **columns):
    """A pool without history; columns are given as lists of positions."""
    masks = {name: np.zeros(len(prn), dtype=bool) for name in SamplingFrame.__dataclass_fields__ if name != "prn"}
    for name, positions in columns.items():
        masks[name][positions] = True
    return SamplingFrame(prn=np.asarray(prn, dtype=float), **masks)


def ladder(n=30, **columns):
    """prn grows with the position, so that the samples can be read off."""
    return make_pool((np.arange(n) + 0.5) / n, **columns)


def plan(pool, scores=None, batch=10, shares=LATER, seed=0):
    return plan_round(pool, scores=scores, batch=batch, shares=shares, generator=np.random.default_rng(seed))


def after(pool, drawn):
    """The pool once everybody has answered the round."""
    in_audit, in_reference, is_selected = pool.in_audit.copy(), pool.in_reference.copy(), pool.is_selected.copy()
    for pick in drawn.picks:
        {"audit": in_audit, "random": in_reference}.get(pick.arm, is_selected)[pick.position] = True
    answered, blind = pool.has_gold.copy(), pool.has_blind_gold.copy()
    answered[drawn.ask] = True
    blind[drawn.ask[drawn.blind]] = True
    return replace(
        pool,
        is_selected=is_selected | in_reference,
        in_audit=in_audit,
        in_reference=in_reference,
        has_gold=answered,
        has_blind_gold=blind,
        audit_open=pool.audit_open & ~blind,
        reference_open=pool.reference_open & ~blind,
        conflict=pool.conflict & ~answered,
    )
