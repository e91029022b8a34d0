"""The drawing of a round: which items go to people next, for which arm, and which of them are shown blind.

Both samples are runs of the items in order of their permanent random numbers (prn; randomness.py): audit from the low
end, reference ("random") from the high end, each grown by a fixed count per round up to its cut-off. The query strategy
never looks at these numbers. That independence
is what makes S ∩ R, the audited items outside A, a simple random sample of R.
"""

from dataclasses import dataclass, replace

import numpy as np

from models_ml.acquisition.scores import top_k
from models_ml.arrays import Bools, Floats, Positions

AUDIT, REFERENCE, CONFLICT, START, ACTIVE, REQUEST = "audit", "random", "conflict", "start", "active", "request"

# A third each leaves a third that neither sample touches, so they cannot meet however the pool changes size.
LARGEST_PART = 3


@dataclass(frozen=True)
class SamplingFrame:
    """The items present, by position; all arrays have length N.

    prn: permanent random number in [0, 1).
    is_selected: picked by any arm but audit in an earlier round, or imported with gold.
    in_audit, in_reference: carries a draw of that sample.
    audit_open, reference_open: belongs to that sample, has no blind answer yet, and nobody skipped it.
    has_blind_gold: a blind answer exists, so a sample has nothing to ask.
    has_gold: some gold exists, of whatever origin.
    conflict: the overlap is full and there is no gold: another opinion is wanted.
    """

    prn: Floats
    is_selected: Bools
    in_audit: Bools
    audit_open: Bools
    in_reference: Bools
    reference_open: Bools
    has_blind_gold: Bools
    has_gold: Bools
    conflict: Bools

    def __post_init__(self) -> None:
        if any(len(column) != len(self.prn) for column in vars(self).values()):
            raise ValueError("a sampling frame's arrays must all have the same length")

    def __len__(self) -> int:
        return len(self.prn)


@dataclass(frozen=True)
class Shares:
    """Fractions of a round's batch per arm; what is left over goes to conflicts, then to the active arm.

    audit_target, reference_target: sample sizes at which the arm stops and its share goes to active.
    """

    audit: float = 0.25
    reference: float = 0.10
    start: float = 0.0
    # ±3 points for a delivered accuracy about 90 %: z² p(1-p)/w², see docs/loop.md, "Looks".
    audit_target: int = 384
    # max(50, 5K) is where the warning beside Ĉ ends; 200 is that for 40 classes.
    reference_target: int = 200

    def __post_init__(self) -> None:
        if min(self.audit, self.reference, self.start) < 0 or self.audit + self.reference + self.start > 1:
            raise ValueError("shares are fractions of the batch: none below 0, together at most 1")


# Nothing is trained yet, so there is nothing to be active with: the reference sample trains the first model
# and fits Ĉ (representative start items were never better by more than noise); a fifth starts the audit.
FIRST_ROUND = Shares(audit=0.20, reference=0.80)
# A quarter keeps the interval shrinking while most labels still teach; a tenth keeps feeding Ĉ and the
# combiner.
LATER = Shares(audit=0.25, reference=0.10)


@dataclass(frozen=True)
class Named:
    """Items that somebody wants asked: everything, or a list. items: (N,); reason: stored with each draw.

    The list may be chosen by anything but the permanent random numbers and the arms, which follow from them.
    """

    items: Bools
    reason: str


@dataclass(frozen=True)
class Pick:
    """One draw: the item's position, its arm, inclusion probability and score (None = unknown), and why."""

    position: int
    arm: str
    pi: float | None
    score: float | None
    reason: str


@dataclass(frozen=True)
class RoundPlan:
    """picks: the draws to record, several per item where several arms took it.

    ask: (n,) positions to put to people, in an order that does not betray the arm.
    blind: (n,) beside `ask`, True where the machine's answer must not be shown.
    """

    picks: tuple[Pick, ...]
    ask: Positions
    blind: Bools

    def picked(self, arm: str) -> Positions:
        """Positions that `arm` took in this round, in order of picking."""
        return np.array([pick.position for pick in self.picks if pick.arm == arm], dtype=np.int64)


def shares_for(
    round_index: int,
    *,
    audit_target: int = LATER.audit_target,
    reference_target: int = LATER.reference_target,
    first: Shares = FIRST_ROUND,
    later: Shares = LATER,
) -> Shares:
    """The shares of round 0, 1, … with the project's own targets."""
    shares = first if round_index == 0 else later
    return replace(shares, audit_target=audit_target, reference_target=reference_target)


def plan_round(
    frame: SamplingFrame,
    *,
    scores: Floats | None,
    batch: int,
    shares: Shares,
    generator: np.random.Generator,
    named: Named | None = None,
) -> RoundPlan:
    """Draw one round of `batch` questions (fewer where the pool gives no more).

    `scores` (N,) float, larger = asked sooner, NaN = unknown; None before there is a model.
    `named`: the items to ask besides the samples, whatever their scores; then `batch` sizes the samples only.
    `generator` decides the order of asking and the start arm, nothing else.
    Raises ValueError for a negative batch or scores of another length.
    """
    if batch < 0 or (scores is not None and len(scores) != len(frame)):
        raise ValueError("a batch is not negative, and there is one score per item")
    draft = _Draft(frame, batch)
    # 1. The samples first: their size is a fixed count. "Until n must be asked" would be inverse sampling,
    #    and would tie the sample's size to what other arms happened to label.
    n_audit, n_reference = sample_counts(shares, batch)
    _take_audit(draft, n_audit, shares.audit_target)
    _take_reference(draft, n_reference, shares.reference_target)
    if named is not None:
        draft.batch = len(frame)
        _take_conflicts(draft, named.items)
        _take_named(draft, named)
        return draft.plan(generator)
    # 2. Then what people disagree on, then what the model would learn most from.
    _take_conflicts(draft)
    if scores is not None:
        _take_active(draft, np.asarray(scores, dtype=np.float64))
    elif shares.start > 0:
        _take_start(draft, generator)
    return draft.plan(generator)


def plan_request(
    frame: SamplingFrame, *, stratum: Bools, batch: int, reason: str, generator: np.random.Generator
) -> RoundPlan:
    """Draw `batch` questions at random among the items of `stratum` (N,) that are outside A; fewer where it has fewer.

    Each item that costs a question gets the inclusion probability n_h / N_h of simple random sampling in a stratum:
    n_h questions of the N_h items there that cost one (Cochran 1977, "Sampling Techniques", chapter 5).
    """
    if batch < 0 or len(stratum) != len(frame):
        raise ValueError("a batch is not negative, and a stratum says of each item whether it belongs to it")
    draft = _Draft(frame, batch)
    _take_at_random(draft, draft.candidates() & stratum, REQUEST, reason, generator)
    return draft.plan(generator)


def sample_counts(shares: Shares, batch: int) -> tuple[int, int]:
    """How many questions of a batch the audit and the reference sample get."""
    n_audit = round(shares.audit * batch)
    return n_audit, min(round(shares.reference * batch), batch - n_audit)


def prefix_cutoff(prn: Floats, drawn: Bools) -> float | None:
    """The audit sample's cut-off: the largest prn drawn, None before the first draw. Keep the largest of all."""
    return float(prn[drawn].max()) if drawn.any() else None


def suffix_cutoff(prn: Floats, drawn: Bools) -> float | None:
    """The reference sample's cut-off: the smallest prn drawn, None before the first draw. Keep the smallest of all."""
    return float(prn[drawn].min()) if drawn.any() else None


def late_items(key: Floats, cutoff: float | None, member: Bools) -> Bools:
    """(N,) items without a draw of the sample that belong to it at once, since its cut-off has passed their `key`.

    `key` ascends in the sample's direction: prn for audit, -prn for reference.
    """
    return np.zeros(len(key), dtype=np.bool_) if cutoff is None else (key <= cutoff) & ~member


class _Draft:
    """A round being drawn: what is picked so far, what is asked, and how many questions are left."""

    def __init__(self, frame: SamplingFrame, batch: int) -> None:
        self.frame = frame
        self.batch = batch
        self.picks: list[Pick] = []
        self.is_asked = np.zeros(len(frame), dtype=np.bool_)
        self.blind = frame.in_audit | frame.in_reference | frame.audit_open | frame.reference_open
        self.joins_a = np.zeros(len(frame), dtype=np.bool_)

    @property
    def left(self) -> int:
        return self.batch - int(self.is_asked.sum())

    def take(
        self, positions: Positions, arm: str, reason: str, pi: float | None = None, ask: Bools | None = None
    ) -> None:
        """Record one pick per position; put to people those in `ask` (default: all)."""
        self.picks += [Pick(int(position), arm, pi, None, reason) for position in positions]
        self.is_asked[positions if ask is None else positions[ask[positions]]] = True
        if arm != AUDIT:
            self.joins_a[positions] = True
        if arm in (AUDIT, REFERENCE, REQUEST):
            self.blind[positions] = True

    def free(self) -> Bools:
        """(N,) items that cost no question: labeled already, asked anyway, or given up by people."""
        frame = self.frame
        unresolved = frame.in_audit & ~frame.audit_open
        return frame.has_gold | frame.has_blind_gold | unresolved | self.is_asked

    def candidates(self) -> Bools:
        """(N,) everything outside A, audited or not: the strategy must not see who is audited."""
        return ~self.frame.is_selected & ~self.frame.in_reference & ~self.joins_a

    def plan(self, generator: np.random.Generator) -> RoundPlan:
        ask = generator.permutation(np.flatnonzero(self.is_asked)).astype(np.int64)
        return RoundPlan(tuple(self.picks), ask, self.blind[ask])


def _take_audit(draft: _Draft, count: int, target: int) -> None:
    frame = draft.frame
    reference_cutoff = suffix_cutoff(frame.prn, frame.in_reference)
    apart = frame.prn < (np.inf if reference_cutoff is None else reference_cutoff)
    _take_sample(draft, _End(AUDIT, frame.prn, frame.in_audit, frame.audit_open, apart), count, target)


def _take_reference(draft: _Draft, count: int, target: int) -> None:
    frame = draft.frame
    in_audit = frame.in_audit.copy()
    in_audit[[pick.position for pick in draft.picks]] = True  # only audit has picked so far
    audit_cutoff = prefix_cutoff(frame.prn, in_audit)
    apart = frame.prn > (-np.inf if audit_cutoff is None else audit_cutoff)
    _take_sample(draft, _End(REFERENCE, -frame.prn, frame.in_reference, frame.reference_open, apart), count, target)


@dataclass(frozen=True)
class _End:
    """One end of the random order, and the sample that grows from it.

    key: (N,) the sample takes items from its smallest value on; apart: items beyond the other sample.
    """

    arm: str
    key: Floats
    member: Bools
    is_open: Bools
    apart: Bools


def _take_sample(draft: _Draft, end: _End, count: int, target: int) -> None:
    """Advance one sample along its key by `count`, what is still open counted first."""
    arm, key, member, is_open = end.arm, end.key, end.member, end.is_open
    n = len(key)
    waiting = np.flatnonzero(is_open)
    waiting = waiting[np.argsort(key[waiting], kind="stable")][:count]
    cutoff = prefix_cutoff(key, member)
    # What is open was behind a cut-off once, even where the item at that cut-off has been withdrawn since.
    belongs = member | is_open | late_items(key, cutoff, member)
    # Late items belong whatever the target says; only a fresh item needs room.
    room = max(0, min(target, n // LARGEST_PART) - int(belongs.sum()))
    late = _lowest(key, belongs & ~member & ~is_open, count - len(waiting))
    fresh = _lowest(key, ~belongs & ~is_open & end.apart, min(room, count - len(waiting) - len(late)))
    # An item that is open without a draw (imported behind the cut-off) becomes a member by this draw too.
    size = int((member | is_open).sum()) + len(late) + len(fresh)
    pi, to_ask = size / n if n else None, ~draft.frame.has_blind_gold
    draft.take(waiting, arm, "open in the sample", pi, to_ask)
    draft.take(late, arm, "imported behind the mark", pi, to_ask)  # the words are stored with every draw
    draft.take(fresh, arm, "next in the random order", pi, to_ask)


def _lowest(key: Floats, eligible: Bools, count: int) -> Positions:
    return top_k(-key, count, eligible)


def _take_conflicts(draft: _Draft, among: Bools | None = None) -> None:
    """Another opinion for the oldest conflicts, or for those `among` some items.

    Outside A only audited items have answers at all. Were they to join A for being disputed, the hard part
    of the audit sample, and of nothing else, would leave R, and S ∩ R would look too easy: so they are asked
    again as what they are, audit.
    """
    frame = draft.frame
    wanted = frame.conflict if among is None else frame.conflict & among
    disputed = np.flatnonzero(wanted & ~draft.is_asked)[: draft.left]
    only_audited = (frame.in_audit & ~frame.is_selected)[disputed]
    sampled = float(frame.in_audit.mean()) if len(frame) else None
    draft.take(disputed[~only_audited], CONFLICT, "people disagree", 1.0)
    draft.take(disputed[only_audited], AUDIT, "people disagree", sampled)


def _take_active(draft: _Draft, scores: Floats) -> None:
    """The highest scores outside A; items that cost nothing are picked on the way, till the batch is full."""
    free, candidates, left = draft.free(), draft.candidates(), draft.left
    if left <= 0:
        return
    ranked = top_k(scores, left + int((free & candidates).sum()), candidates)
    picked = _until_full(ranked, free, left)
    draft.take(picked, ACTIVE, "highest score", 1.0, ~free)
    n_before = len(draft.picks) - len(picked)
    known = [None if np.isnan(scores[position]) else float(scores[position]) for position in picked]
    draft.picks[n_before:] = [
        replace(pick, score=score) for pick, score in zip(draft.picks[n_before:], known, strict=True)
    ]


def _take_named(draft: _Draft, named: Named) -> None:
    """All named items outside A, audited or not, and those of A that have no gold yet; items with gold are not asked.

    An audited item that is named joins A like any other: were A to spare the audit, S ∩ R would not be a random sample
    of R once more items are imported.
    """
    frame = draft.frame
    without_gold = ~frame.has_gold & ~frame.has_blind_gold
    again = frame.is_selected & without_gold & ~draft.is_asked
    positions = np.flatnonzero(named.items & (draft.candidates() | again)).astype(np.int64)
    draft.take(positions, ACTIVE, named.reason, 1.0, without_gold)


def _take_start(draft: _Draft, generator: np.random.Generator) -> None:
    """Representative items: everything outside A."""
    _take_at_random(draft, draft.candidates(), START, "representative", generator)


def _take_at_random(draft: _Draft, candidates: Bools, arm: str, reason: str, generator: np.random.Generator) -> None:
    """A random walk over the candidates until the batch is full.

    With C items that cost a question and `left` to spend, such an item is reached with probability left / C;
    one that costs nothing, reached if fewer than `left` of the others stand before it, left / (C + 1).
    """
    free, left = draft.free(), draft.left
    n_costly = int((candidates & ~free).sum())
    if left <= 0:
        return
    picked = _until_full(generator.permutation(np.flatnonzero(candidates)), free, left)
    for costly, pi in ((True, left / max(n_costly, 1)), (False, left / (n_costly + 1))):
        some = picked[free[picked] != costly]
        draft.take(some, arm, reason, min(1.0, pi), ~free)


def _until_full(ranked: Positions, free: Bools, left: int) -> Positions:
    """The shortest run of `ranked` with `left` items that cost a question; all if there are fewer."""
    cost = np.cumsum(~free[ranked])
    return ranked[: int(np.searchsorted(cost, left)) + 1]
