"""Which noise matrix Ĉ trains: one per fold, or one per fold and stratum, estimated without that fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from models_ml.arrays import AnyArray, Matrix
from models_ml.losses import make_targets, marginal_likelihood
from models_ml.methods.contract import Method, Need
from models_ml.networks.linear import LinearClassifier
from models_ml.noise.anchors import anchor_transition
from models_ml.noise.choice import choose_transition
from models_ml.noise.dual_t import dual_t_transition
from models_ml.noise.hard import hard_transition
from models_ml.noise.strata import by_stratum, choose_strata
from models_ml.noise.transition import direct_prior, direct_transition, glc_transition
from models_ml.training.config import TrainingConfig
from models_ml.training.full_batch import ROUGH, fit_linear
from models_ml.training.snapshot import Snapshot

# The silver-only model of GLC: its own l2, a middle value, for it is averaged and never deployed.
GLC_L2 = 1.0


class FitNoise(NamedTuple):
    """Ĉ by which one fit reads silver: float64[K, K+1], or float64[G, K, K+1] by the strata of this name."""

    transition: Matrix
    stratum: str | None = None


def compares_both(config: TrainingConfig, method: Method) -> bool:
    """Whether GLC's Ĉ is fitted beside Direct's: only for a method that reads silver by the better of them."""
    return config.transition == "auto" and Need.NOISE_MATRIX in method.needs


def fits_silver_model(config: TrainingConfig, method: Method) -> bool:
    """Whether Ĉ takes a model of silver per fold."""
    return config.transition in ("glc", "anchor", "dual-t") or compares_both(config, method)


def transitions_of_folds(
    snapshot: Snapshot, config: TrainingConfig, method: Method, step: Callable[[int], None]
) -> tuple[str, Matrix, dict[str, float]]:
    """Which kind of Ĉ trains, one per fold and without it, float64[F, K, K+1]; and the log-losses that chose it.

    `step(n)` is told of fitted models.
    """
    kinds = [config.transition] if config.transition != "auto" else ["direct"]
    if compares_both(config, method):
        kinds.append("glc")
    seen = [_without(snapshot, f) for f in range(config.n_folds)]
    candidates = {kind: np.stack([_estimate(kind, snapshot, *labels) for labels in seen]) for kind in kinds}
    if fits_silver_model(config, method):
        step(config.n_folds)
    kind, losses = choose_transition(snapshot.reference_gold, snapshot.silver, snapshot.fold, candidates)
    return kind, candidates[kind], losses


def transition_of_all(snapshot: Snapshot, kind: str) -> Matrix:
    """Ĉ of the chosen kind from all of the reference sample."""
    return _estimate(kind, snapshot, snapshot.reference_gold, snapshot.silver)


def noise_of_fits(
    snapshot: Snapshot, method: Method, of_folds: Matrix, of_all: Matrix
) -> tuple[list[FitNoise], dict[str, list[float]]]:
    """How each fold's fit, and last the whole one, reads silver; and what each candidate's strata would gain in all.

    of_folds float64[F, K, K+1], of_all float64[K, K+1]: one Ĉ for all. Candidates are compared inside the labels that
    the fit may see, so that no label of a fold has a part in its classifier's strata; by Direct, whatever the kind,
    because a model of silver for each pair of folds would cost more than all else. gains: name -> [mean, standard
    error] in nats; empty where there are no candidates, or the method does not read silver by Ĉ.
    """
    s = snapshot
    labels = [*(_without(s, f) for f in range(len(of_folds))), (s.reference_gold, s.silver)]
    plain = [FitNoise(transition) for transition in (*of_folds, of_all)]
    if not s.candidates or Need.NOISE_MATRIX not in method.needs:
        return plain, {}
    noise = []
    for fit, (gold, silver) in zip(plain, labels, strict=True):
        name, gains = choose_strata(gold, silver, s.fold, s.candidates, s.n_classes)
        chosen = fit if name is None else FitNoise(by_stratum(fit.transition, gold, silver, s.candidates[name]), name)
        noise.append(chosen)
    return noise, {name: [gain.mean, gain.standard_error] for name, gain in gains.items()}


def stored_strata(noise: Sequence[FitNoise]) -> dict[str, Any]:
    """What a version keeps of strata: nothing where none was chosen, so that its bytes are as they always were.

    strata: names by fit; strata_transitions float64[F+1, G, K, K+1] with G that of the most strata; fits with fewer
    repeat their last matrix, which no item reads.
    """
    if all(fit.stratum is None for fit in noise):
        return {}
    stacks = [fit.transition.reshape(-1, *fit.transition.shape[-2:]) for fit in noise]
    most = max(map(len, stacks))
    filled = [np.concatenate([stack, np.repeat(stack[-1:], most - len(stack), axis=0)]) for stack in stacks]
    return {"strata": tuple(fit.stratum for fit in noise), "strata_transitions": np.stack(filled)}


def _without(snapshot: Snapshot, fold: int) -> tuple[AnyArray, AnyArray]:
    """Reference gold and silver of all other folds, -1 in this one."""
    hidden = snapshot.fold == fold
    return np.where(hidden, -1, snapshot.reference_gold), np.where(hidden, -1, snapshot.silver)


def _estimate(kind: str, snapshot: Snapshot, gold: AnyArray, silver: AnyArray) -> Matrix:
    """Ĉ float64[K, K+1] from these labels; what is hidden is -1 in both."""
    k = snapshot.n_classes
    if kind == "direct":
        return direct_transition(gold, silver, k)
    if kind == "counts":
        return hard_transition(gold, silver, k, absent=direct_prior(gold, silver, k))
    if kind == "glc":
        return _glc(snapshot, gold, silver)
    asked = np.flatnonzero(silver >= 0)
    if not len(asked):
        return direct_prior(gold, silver, k)
    p = _silver_model(snapshot, gold, silver).predict_proba(snapshot.x[asked])
    return anchor_transition(p, k) if kind == "anchor" else dual_t_transition(p, silver[asked], k)


def _glc(snapshot: Snapshot, gold: AnyArray, silver: AnyArray) -> Matrix:
    """Ĉ as published: the mean of what the model of silver says of the gold items of each class."""
    k, has_gold = snapshot.n_classes, np.flatnonzero(gold >= 0)
    if not len(has_gold):
        return direct_prior(gold, silver, k)
    model = _silver_model(snapshot, gold, silver)
    return glc_transition(model.predict_proba(snapshot.x[has_gold]), gold[has_gold], k, direct_prior(gold, silver, k))


def _silver_model(snapshot: Snapshot, gold: AnyArray, silver: AnyArray) -> LinearClassifier:
    """A model of silver alone, failures as one more class.

    As in GLC's paper gold items are no part of its training set, else it would repeat their silver labels.
    """
    k = snapshot.n_classes
    rows = np.flatnonzero((silver >= 0) & (gold < 0))
    targets = make_targets(np.full(len(rows), -1), silver[rows], k + 1, 1.0)
    return fit_linear(snapshot.x[rows], marginal_likelihood(targets), k + 1, GLC_L2, solver=ROUGH)
