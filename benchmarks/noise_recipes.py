"""The published ways to learn from noisy labels and some gold, as recipes of plain fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from benchmarks.learners import Words
from benchmarks.noise_stages import Learned, Stages, chosen_matrices, glc_matrices
from models_ml import registry
from models_ml.arrays import Matrix
from models_ml.methods import Need, find
from models_ml.metrics import TINY
from models_ml.networks.linear import softmax
from models_ml.noise.anchors import anchor_transition
from models_ml.training.config import TrainingConfig
from models_ml.training.loop import Minibatch

Recipe = Callable[[Stages], Learned]


def uncorrected(s: Stages) -> Learned:
    """Silver at its word, no gold: "no correction" of the published tables."""
    return Learned(s.silver_alone())


def uncorrected_with_gold(s: Stages) -> Learned:
    """All labels at their word."""
    data = s.pool.data(s.pool.gold, s.silver)
    return Learned(s.learner.plain(data, s.rng("silver and gold")))


def gold_only(s: Stages) -> Learned:
    return Learned(s.learner.gold_alone(s.pool.data(s.pool.gold, s.nothing), s.rng("gold only")))


def glc(s: Stages) -> Learned:
    """Gold loss correction, Hendrycks et al. 2018."""
    return _corrected(s, glc_matrices(s, s.answers()))


def confusion(s: Stages) -> Learned:
    """GLC with the answers counted instead of averaged."""
    answers = s.answers()
    hard = np.eye(answers.shape[1])[answers.argmax(axis=1)]
    matrices = glc_matrices(s, hard)[:, :, : answers.shape[1]] * 0.99 + 0.01 / answers.shape[1]
    return _corrected(s, np.pad(matrices, ((0, 0), (0, 0), (0, s.pool.n_classes + 1 - answers.shape[1]))))


def forward(s: Stages) -> Learned:
    """Forward correction with anchor points, which needs no gold: gold is among the labels, and nobody knows it."""
    everything = np.where(s.pool.gold >= 0, s.pool.gold, s.silver)
    matrices = anchor_transition(softmax(s.all_as_silver().logits(s.pool.x)), s.pool.n_classes)[None]
    data = s.pool.data(s.nothing, everything, matrices)
    return Learned(s.learner.corrected(data, s.rng("corrected")), matrices)


def forward_gold(s: Stages) -> Learned:
    """Anchor points of silver, and gold at its word."""
    return _corrected(s, anchor_transition(s.answers(np.arange(len(s.pool.truth))), s.pool.n_classes)[None])


def ideal(s: Stages) -> Learned:
    """What the best possible estimate of the noise would reach: the matrix of the whole pool, which nobody has."""
    return _corrected(s, np.nan_to_num(s.pool.noise, nan=1 / (s.pool.n_classes + 1)))


def gce(s: Stages) -> Learned:
    """Generalized cross-entropy on silver alone, q = .7, as in the re-run that it is compared with."""
    data = s.pool.data(s.nothing, s.silver)
    if isinstance(s.learner, Words):
        return Learned(s.learner.registered("gce", data, s.rng("gce")))
    return Learned(find("gce")(gold_weight=1.0).fit(data, s.rng("gce")))


def distillation(s: Stages) -> Learned:
    """Li et al. 2017: labels mixed with what a network trained on three quarters of the gold says.

    As published with GLC, λ is how precise that network is on the last quarter, over the sum of that and of how precise
    silver is, and it is the weight of the *given* label: the better the network, the less it counts. So it is a
    baseline, not a method to use.
    """
    if not isinstance(s.learner, Words):
        raise ValueError("The recipe distillation is there for the encoder glc-words alone.")
    pool, n_held = s.pool, len(s.pool.gold_rows) // 4
    held, used = pool.gold_rows[:n_held], np.full(len(pool.truth), -1)
    used[pool.gold_rows[n_held:]] = pool.truth[pool.gold_rows[n_held:]]
    teacher = s.learner.gold_alone(pool.data(used, s.nothing), s.rng("teacher"))
    said = teacher.logits(pool.x[held]).argmax(axis=1)
    right = [(pool.truth[held][said == k] == k).mean() if (said == k).any() else 0.0 for k in range(pool.n_classes)]
    clean, noisy = float(np.mean(right)), _silver_precision(s)
    share = clean / max(clean + noisy, TINY)
    given = np.where(pool.gold >= 0, pool.gold, s.silver)
    data = pool.data(s.nothing, np.where(given < pool.n_classes, given, -1))
    one_hot = np.eye(pool.n_classes)[np.clip(given, 0, pool.n_classes - 1)]
    soft = share * one_hot + (1 - share) * softmax(teacher.logits(pool.x))
    return Learned(s.learner.soft(data, soft, s.rng("distilled")))


def _silver_precision(s: Stages) -> float:
    """How often what silver says is true, the mean over classes, as Ĉ and the shares of the gold have it."""
    k = s.pool.n_classes
    shares = np.bincount(s.pool.truth[s.pool.gold_rows], minlength=k) / max(1, len(s.pool.gold_rows))
    joint = glc_matrices(s, s.answers())[0, :, :k] * shares[:, None]
    return float(np.mean(np.diag(joint) / np.maximum(joint.sum(axis=0), TINY)))


def default(s: Stages) -> Learned:
    """What a project gets that chose nothing, in one fit: the better noise matrix and the default weight of gold."""
    return _corrected(s, chosen_matrices(s), TrainingConfig().default_gold_weight)


def registered_on_words(name: str) -> Recipe:
    """A method of the registry that learns from minibatches; where it reads silver by a noise matrix, by GLC's."""

    def recipe(s: Stages) -> Learned:
        needs_matrix = Need.NOISE_MATRIX in find(name).needs
        matrices = glc_matrices(s, s.answers()) if needs_matrix else None
        data = s.pool.data(s.pool.gold, s.silver, matrices)
        return Learned(cast(Words, s.learner).registered(name, data, s.rng(name)), matrices)

    return recipe


def _corrected(s: Stages, matrices: Matrix, gold_weight: float = 1.0) -> Learned:
    data = s.pool.data(s.pool.gold, s.silver, matrices)
    return Learned(s.learner.corrected(data, s.rng("corrected"), gold_weight), matrices)


RECIPES: dict[str, Recipe] = {
    "default": default,
    "ce": uncorrected,
    "ce-with-gold": uncorrected_with_gold,
    "gold-only": gold_only,
    "forward": forward,
    "forward-gold": forward_gold,
    "distillation": distillation,
    "confusion": confusion,
    "glc": glc,
    "ideal": ideal,
    "gce": gce,
}


def recipes_on_words() -> dict[str, Recipe]:
    """All that the network of words can be trained by: the recipes, and methods that learn from minibatches."""
    others = (name.replace("_", "-") for name in registry.METHODS if issubclass(find(name), Minibatch))
    return {**{name: registered_on_words(name) for name in others}, **RECIPES}
