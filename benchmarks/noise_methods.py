"""What `benchmarks.noise` calls a method: a recipe, or one of the registry as a project trains it."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.noise_recipes import RECIPES, recipes_on_words
from benchmarks.noise_stages import Stages
from benchmarks.noisy_pools import Pool
from models_ml import methods, metrics, registry
from models_ml.arrays import Array, Matrix
from models_ml.methods import Need
from models_ml.networks.linear import softmax
from models_ml.seeds import generator
from models_ml.training.crossfit import Snapshot, TrainingConfig, train

# How the product is told a recipe's name, on vectors.
_PRODUCT: dict[str, tuple[str, dict[str, Any]]] = {
    "default": (TrainingConfig().method.replace("_", "-"), {}),
    "ce": ("cross-entropy", {}),
    "glc": ("corrected", {"transition": "glc", "gold_weight": 1.0}),
}
Found = tuple[Array, Matrix | None]  # probabilities of the test items float[t, K]; Ĉ float64[G, K, K+1]


def method_names(asked: str, encoder: str) -> list[str]:
    """The methods that are asked for; ValueError names one that there is not."""
    registered = [name.replace("_", "-") for name in registry.METHODS]
    known = list(recipes_on_words()) if encoder == "glc-words" else list(dict.fromkeys([*RECIPES, *registered]))
    if asked == "all":
        return known
    names = asked.split(",")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"There is no method {unknown[0]} for {encoder}; there are {', '.join(known)}.")
    return names


def figures(name: str, stages: Stages, encoder: str, *, single: bool, fixed: bool) -> dict[str, Any]:
    """error, log_loss, ece, seconds, c_hat and c_error of a method; single: by one fit, as recipes are."""
    pool, recipes = stages.pool, recipes_on_words() if encoder == "glc-words" else RECIPES
    if encoder != "glc-words" and not single and (name in _PRODUCT or name.replace("-", "_") in registry.METHODS):
        started = perf_counter()
        p, c_hat = _by_product(name, pool, stages.seed, fixed)
        seconds = perf_counter() - started
    elif name in recipes:
        learned, seconds = stages.run(recipes[name])
        p, c_hat = softmax(learned.classifier.logits(pool.x_test)), learned.transitions
    else:
        raise ValueError("it takes no strata here")
    return {
        "error": round(1 - metrics.accuracy(p, pool.test), 9),
        "log_loss": metrics.log_loss(p, pool.test),
        "ece": metrics.ece(p, pool.test),
        "seconds": round(seconds, 2),
        "c_hat": None if c_hat is None else np.round(c_hat, 4).tolist(),
        "c_error": None if c_hat is None else _c_error(c_hat, pool.noise),
    }


def _by_product(name: str, pool: Pool, seed: int, fixed: bool) -> Found:
    """Out of fold, searched, calibrated: predictions of new items by what saw every fold."""
    method, given = _PRODUCT.get(name, (name, {}))
    described = next(d for d in methods.describe() if d.name == method)
    defaults = {p.name: p.default for p in described.parameters if p.tries} if fixed else {}
    config = TrainingConfig.of(method, {**defaults, **given}, seed=seed)
    fold = generator(seed, "noise", "folds").integers(0, config.n_folds, len(pool.truth))
    version = train(Snapshot(pool.x, fold, pool.silver, pool.gold, pool.gold >= 0, pool.n_classes), config)
    needs_matrix = Need.NOISE_MATRIX in described.needs
    return version.predict_new(pool.x_test), version.transition[None] if needs_matrix else None


def _c_error(c_hat: Matrix, noise: Matrix) -> float | None:
    """The mean over rows of half the sum of absolute differences; rows of classes that no item has do not count."""
    differences = 0.5 * np.abs(c_hat - noise).sum(axis=2)
    return float(np.nanmean(differences)) if np.isfinite(differences).any() else None
