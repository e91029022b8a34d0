"""Why a round has fewer questions than were asked for: per arm, what was wanted, taken, and what stopped it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models_ml.acquisition.rounds import (
    ACTIVE,
    AUDIT,
    LARGEST_PART,
    REFERENCE,
    REQUEST,
    RoundPlan,
    SamplingFrame,
    Shares,
    sample_counts,
)
from models_ml.arrays import Bools

# target: the sample has reached its target. third: a sample is at most a third of the pool. none_left: no item is left
# to take. known: items that were taken have an answer already. no_scores: nothing says what else to ask.
Reason = Literal["target", "third", "none_left", "known", "no_scores"]


@dataclass(frozen=True)
class Shortfall:
    """One arm of a round that got fewer questions than it was to have.

    wanted: the questions that its share of the batch gave it; for the active arm, what the samples left of the batch.
    taken: the questions that it got. left: the items of the pool that no arm has drawn and that have no gold.
    """

    arm: str
    wanted: int
    taken: int
    reason: Reason
    left: int


def shortfalls(
    frame: SamplingFrame, plan: RoundPlan, *, batch: int, shares: Shares, has_scores: bool
) -> tuple[Shortfall, ...]:
    """The arms that came short in a plan of `batch` questions; none where the round is as large as asked for."""
    if len(plan.ask) >= batch:
        return ()
    left = int(_left(frame, plan).sum())
    counts = dict(zip((AUDIT, REFERENCE), sample_counts(shares, batch), strict=True))
    targets = {AUDIT: shares.audit_target, REFERENCE: shares.reference_target}
    members = {AUDIT: frame.in_audit, REFERENCE: frame.in_reference}
    asked = set(plan.ask.tolist())
    found, n_sampled = [], 0
    for arm, wanted in counts.items():
        picked = plan.picked(arm)
        taken = min(wanted, sum(position in asked for position in picked.tolist()))
        n_sampled += taken
        if taken < wanted:
            size = int((members[arm] | _mask(frame, picked)).sum())
            reason = _why_sample(len(picked), wanted, size, targets[arm], len(frame))
            found.append(Shortfall(arm, wanted, taken, reason, left))
    rest = Shortfall(ACTIVE, batch - n_sampled, len(plan.ask) - n_sampled, "none_left", left)
    if left and not has_scores:
        rest = Shortfall(ACTIVE, rest.wanted, rest.taken, "no_scores", left)
    return (*found, rest)


def of_request(frame: SamplingFrame, plan: RoundPlan, *, batch: int) -> tuple[Shortfall, ...]:
    """Why a plan for a request of `batch` questions has fewer: its label is predicted for no more items."""
    if len(plan.ask) >= batch:
        return ()
    return (Shortfall(REQUEST, batch, len(plan.ask), "none_left", int(_left(frame, plan).sum())),)


def _why_sample(n_picked: int, wanted: int, size: int, target: int, n_items: int) -> Reason:
    if n_picked >= wanted:
        return "known"
    if size >= target:
        return "target"
    return "third" if size >= n_items // LARGEST_PART else "none_left"


def _left(frame: SamplingFrame, plan: RoundPlan) -> Bools:
    """(N,) items without gold that no arm has drawn, in this round or before."""
    drawn = (
        frame.is_selected | frame.in_audit | frame.in_reference | _mask(frame, [pick.position for pick in plan.picks])
    )
    return ~drawn & ~frame.has_gold & ~frame.has_blind_gold


def _mask(frame: SamplingFrame, positions: object) -> Bools:
    mask = np.zeros(len(frame), dtype=np.bool_)
    mask[np.asarray(positions, dtype=np.int64)] = True
    return mask
