"""Replays one project from its key to its figures, on recorded machine labels and with people who are always right.

The product's `plan_round` draws the rounds and its `estimators` estimate, with a secret key per project. Three
forbidden ways of estimating are replayed beside it, as controls that must fail.
"""

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from benchmarks.machines import Bools, Floats, Ints, Machine
from models_ml.acquisition.rounds import SamplingFrame, plan_round, shares_for
from models_ml.acquisition.scores import margin, top_k
from models_ml.estimators import Estimate, Sample, accuracy, delivered_accuracy
from models_ml.intervals import effective_size, z_value
from models_ml.label_combination import fit_label_combination
from models_ml.noise.intervals import row_intervals
from models_ml.noise.transition import direct_transition, transition_counts
from models_ml.randomness import unit_interval

PRODUCT, ACTIVE, LEFTOVER, FITTED = "product", "active", "leftover", "fit-on-audit"


@dataclass(frozen=True)
class Setup:
    """The settings of a replay: how many rounds of how many questions, and how the posterior is fitted."""

    rounds: int = 5
    batch: int = 100
    method: str | None = None  # of the intervals; None: as the product chooses, by the number of errors
    refit: bool = False  # fit the posterior after every round, not only before delivery: 3 times slower


@dataclass(frozen=True)
class Outcome:
    """One figure of one replay: whether its interval held the truth, and how wide it was."""

    estimand: str
    mode: str
    covered: bool
    width: float
    oracle_width: float
    plain_width: float
    error: float


# ---- one replay: drawing and answering


def replay(machine: Machine, generator: np.random.Generator, setup: Setup) -> list[Outcome]:
    """The figures of one project, estimated by the product's way and by three forbidden ones."""
    pool = _play(machine, generator, setup)
    labels, confidence = _deliver(machine, pool.in_reference & pool.has_gold)
    leftover = _play_leftover(machine, generator, setup)
    leftover_labels, _ = _deliver(machine, leftover.in_reference & leftover.has_gold)
    picked = pool.is_selected & ~pool.in_reference & pool.has_gold
    product = _Figures(machine, pool, labels, setup, confidence)
    return [
        *product.outcomes(PRODUCT),
        *_c_hat(machine, pool),
        *product.outcomes(ACTIVE, passed_off=picked),
        *_Figures(machine, leftover, leftover_labels, setup, confidence).outcomes(LEFTOVER),
        *_fit_on_audit(machine, pool, setup, confidence),
    ]


def _play(machine: Machine, generator: np.random.Generator, setup: Setup) -> SamplingFrame:
    """Play the rounds as the product draws them."""
    pool = _fresh(len(machine.truth), generator)
    scores: Floats | None = None
    for index in range(setup.rounds):
        drawn = plan_round(pool, scores=scores, batch=setup.batch, shares=shares_for(index), generator=generator)
        in_a, in_audit, in_reference = pool.is_selected.copy(), pool.in_audit.copy(), pool.in_reference.copy()
        for pick in drawn.picks:
            {"audit": in_audit, "random": in_reference}.get(pick.arm, in_a)[pick.position] = True
        gold, blind = pool.has_gold.copy(), pool.has_blind_gold.copy()
        gold[drawn.ask] |= machine.answerable[drawn.ask]
        blind[drawn.ask] |= drawn.blind & machine.answerable[drawn.ask]
        pool = replace(
            pool,
            is_selected=in_a | in_reference,
            in_audit=in_audit,
            in_reference=in_reference,
            has_gold=gold,
            has_blind_gold=blind,
        )
        scores = _scores(machine, in_reference & gold, setup)
    return pool


def _play_leftover(machine: Machine, generator: np.random.Generator, setup: Setup) -> SamplingFrame:
    """Play the rounds in a forbidden way: each audits a sample of what is left, and active picks skip audited ones."""
    pool, scores = _fresh(len(machine.truth), generator), np.zeros(len(machine.truth))
    for index in range(setup.rounds):
        shares = shares_for(index)
        n_audit, n_reference = round(shares.audit * setup.batch), round(shares.reference * setup.batch)
        left = np.flatnonzero(~pool.is_selected & ~pool.in_audit)
        pool.in_audit[generator.permutation(left)[:n_audit]] = True
        reference = top_k(pool.prn, n_reference, ~pool.is_selected & ~pool.in_audit)
        pool.in_reference[reference] = pool.is_selected[reference] = True
        n_active = setup.batch - n_audit - n_reference
        pool.is_selected[top_k(scores, n_active, ~pool.is_selected & ~pool.in_audit)] = True
        pool.has_gold[:] = (pool.is_selected | pool.in_audit) & machine.answerable
        scores = _scores(machine, pool.in_reference & pool.has_gold, setup)
    return replace(pool, has_blind_gold=pool.in_audit & machine.answerable)


def _fresh(items: int, generator: np.random.Generator) -> SamplingFrame:
    key = generator.bytes(32)
    u = np.array([unit_interval(key, content) for content in _hashes(items)])
    return SamplingFrame(u, *(np.zeros(items, dtype=np.bool_) for _ in range(8)))


@cache
def _hashes(items: int) -> tuple[str, ...]:
    return tuple(sha256(str(i).encode()).hexdigest() for i in range(items))


# ---- one replay: the machine label


def _scores(machine: Machine, reference: Bools, setup: Setup) -> Floats:
    """Margins that score the next round; without refitting by the combiner's default weights a = b = 1/2."""
    if setup.refit:
        return np.asarray(margin(_fit(machine, reference)), np.float64)
    logs = np.log(np.maximum(machine.p_oof, 1e-6))
    known = ~np.isnan(machine.p_llm[:, 0])
    logs[known] = (logs[known] + np.log(np.maximum(machine.p_llm[known], 1e-6))) / 2
    return np.asarray(margin(softmax(logs, axis=1)), np.float64)


def _deliver(machine: Machine, reference: Bools) -> tuple[Ints, Floats]:
    """Labels int64[N] and their probabilities float64[N] of the version fitted on the reference sample."""
    posterior = _fit(machine, reference)
    return posterior.argmax(axis=1), posterior.max(axis=1)


def _fit(machine: Machine, reference: Bools) -> Floats:
    delivery = fit_label_combination(
        silver=machine.silver,
        silver_probability=machine.p_llm,
        p_oof=machine.p_oof,
        gold=np.where(reference, machine.truth, -1),
        reference=reference,
        fold=machine.fold,
        n_classes=machine.p_oof.shape[1],
    )
    return delivery.posterior(machine.silver, machine.p_llm, machine.p_oof)


def _fit_on_audit(machine: Machine, pool: SamplingFrame, setup: Setup, confidence: Floats) -> list[Outcome]:
    """The delivered figure of somebody who fits on the audit sample and then reports from it.

    The product's own combiner has so few weights, and is shrunk so strongly, that even this hardly shows with
    120 audited items: coverage .94, and .94 without the ridge. So this is the worst case of somebody who
    stacks both machines in a full matrix without ridge and takes the best of that and of either machine by
    audit accuracy.
    """
    known = pool.in_audit & pool.has_gold
    model = machine.p_oof.argmax(axis=1)
    llm = np.where(machine.silver < machine.p_oof.shape[1], machine.silver, model)
    candidates = [_unshrunk(machine, known).argmax(axis=1), model, llm]
    best = max(candidates, key=lambda labels: np.mean(labels[known] == machine.truth[known]))
    outcomes = _Figures(machine, pool, best, setup, confidence).outcomes(FITTED)
    return [outcome for outcome in outcomes if outcome.estimand == "delivered"]


def _unshrunk(machine: Machine, known: Bools) -> Floats:
    """softmax(log p_llm · W + log p_oof · V + c) with all 2 K² + K weights free, fitted on `known`."""
    n, k = machine.p_oof.shape
    p_llm = np.where(np.isnan(machine.p_llm), 1 / k, machine.p_llm)
    logs = np.log(np.maximum(np.hstack([p_llm, machine.p_oof]), 1e-6))
    inputs = np.hstack([logs, np.ones((n, 1))])
    x, target = inputs[known], np.eye(k)[machine.truth[known]]

    def loss(theta: Floats) -> tuple[float, Floats]:
        log_p = log_softmax(x @ theta.reshape(-1, k), axis=1)
        return -float((target * log_p).sum()), (x.T @ (np.exp(log_p) - target)).ravel()

    start = np.vstack([np.eye(k), np.eye(k), np.zeros((1, k))]).ravel() / 2
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return np.asarray(softmax(inputs @ theta.reshape(-1, k), axis=1))


# ---- one replay: figures against the truth


@dataclass(frozen=True)
class _Figures:
    """The figures of one project, from its audit sample or from items passed off as one."""

    machine: Machine
    pool: SamplingFrame
    labels: Ints
    setup: Setup
    confidence: Floats

    def outcomes(self, mode: str, passed_off: Bools | None = None) -> list[Outcome]:
        """LLM, model and delivered; `passed_off` bool[N] replaces the audit sample."""
        machine, outside = self.machine, ~self.pool.is_selected
        sample = self.pool.in_audit if passed_off is None else passed_off
        in_r = sample & outside if passed_off is None else _at_most(passed_off, int(outside.sum()))
        everything = np.ones_like(outside)
        llm, model = machine.silver == machine.truth, machine.p_oof.argmax(axis=1) == machine.truth
        right = self.labels == machine.truth
        certainty = np.nan_to_num(machine.p_llm.max(axis=1))
        found = [
            (
                "llm",
                self._pool_accuracy(llm, sample),
                llm.mean(),
                _widths(llm, everything, sample, certainty),
            ),
            (
                "model",
                self._pool_accuracy(model, sample),
                model.mean(),
                _widths(model, everything, sample, machine.p_oof.max(axis=1)),
            ),
            (
                "delivered",
                self._delivered(right, in_r),
                (self.pool.has_gold | right).mean(),
                _widths(right, outside, in_r, self.confidence),
            ),
        ]
        return [_outcome(name, mode, *rest) for name, *rest in found if rest[0].value is not None]

    def _sample(self, sample: Bools, population: int) -> tuple[Sample, Bools]:
        # Controls reach the estimators only by claiming to be a blind audit sample, as here.
        resolved = sample & self.pool.has_gold
        size = int(sample.sum())
        return Sample("audit", True, "replay", population, size, size - int(resolved.sum())), resolved

    def _pool_accuracy(self, right: Bools, members: Bools) -> Estimate:
        sample, resolved = self._sample(members, len(right))
        return accuracy(sample, right[resolved], method=self.setup.method)

    def _delivered(self, right: Bools, members: Bools) -> Estimate:
        in_a = self.pool.is_selected
        sample, resolved = self._sample(members, int((~in_a).sum()))
        return delivered_accuracy(
            sample,
            right[resolved],
            pool_size=len(right),
            in_a=int(in_a.sum()),
            in_a_without_gold=int((in_a & ~self.pool.has_gold).sum()),
            method=self.setup.method,
        )


def _at_most(members: Bools, count: int) -> Bools:
    kept = np.zeros_like(members)
    kept[np.flatnonzero(members)[:count]] = True
    return kept


def _widths(right: Bools, population: Bools, sample: Bools, certainty: Floats) -> tuple[float, float]:
    """Widths, as shares of the whole pool, of normal intervals with the true variance: stratified, and plain.

    Stratified: by ten equal bins of the machine's certainty, as if their true shares were known.
    """
    n_population, n = int(population.sum()), int(sample.sum())
    if not n:
        return float("nan"), float("nan")
    ordered = right[population][np.argsort(certainty[population], kind="stable")]
    bins = [part.mean() for part in np.array_split(ordered, 10)]
    within = float(np.mean([p * (1 - p) for p in bins]))
    plain = float(ordered.mean() * (1 - ordered.mean()))
    scale = 2 * z_value(0.95) * n_population / len(right) / effective_size(n, n_population) ** 0.5
    return scale * within**0.5, scale * plain**0.5


def _outcome(estimand: str, mode: str, estimate: Estimate, truth: float, widths: tuple[float, float]) -> Outcome:
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    # Both are counts over N: equal up to rounding is equal.
    covered = estimate.low - 1e-12 <= truth <= estimate.high + 1e-12
    error = float(estimate.value - truth)
    return Outcome(estimand, mode, bool(covered), estimate.high - estimate.low, *widths, error)


def _c_hat(machine: Machine, pool: SamplingFrame) -> list[Outcome]:
    """The diagonal of Ĉ, one outcome per class with reference gold."""
    k = machine.p_oof.shape[1]
    gold = np.where(pool.in_reference & pool.has_gold, machine.truth, -1)
    rows = row_intervals(transition_counts(gold, machine.silver, k), direct_transition(gold, machine.silver, k))
    counts = transition_counts(machine.truth, machine.silver, k)
    found = []
    for i in np.flatnonzero(rows.n):
        p, low, high = counts[i, i] / counts[i].sum(), float(rows.low[i, i]), float(rows.high[i, i])
        width = 2 * z_value(0.95) * (p * (1 - p) / effective_size(int(rows.n[i]), int(counts[i].sum()))) ** 0.5
        covered, error = bool(low <= p <= high), float((low + high) / 2 - p)
        found.append(Outcome("c_hat", PRODUCT, covered, high - low, float(width), float(width), error))
    return found
