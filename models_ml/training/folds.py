"""Fits the classifier of one fold, and predicts each item with the classifier of its own fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models_ml.arrays import AnyArray, Array, Bools
from models_ml.methods.contract import Diverged, Method, TrainingData
from models_ml.networks.network import Classifier
from models_ml.seeds import generator

# One point of the search: the values of the parameters that it varies.
Setting = Mapping[str, Any]


def fit_fold(method: Method, data: TrainingData, seed: int, fold: int) -> Classifier:
    """The classifier that predicts this fold, from zero; -1: the one that saw every fold. Raises Diverged."""
    fitted = method.fit(data, generator(seed, "fit", fold))
    if not all(np.isfinite(array).all() for array in fitted.state().values()):
        raise Diverged
    return fitted


def fit_settings(
    method: Method, data: TrainingData, settings: Sequence[Setting], seed: int, fold: int
) -> list[Classifier]:
    """A rough classifier per setting, each started from the one before.

    All have the same random numbers, so that their differences come from the settings. Starts never cross folds, so the
    search cannot carry a label into its own fold.
    """
    fitted: list[Classifier] = []
    for setting in settings:
        start = fitted[-1] if fitted else None
        fitted.append(dataclasses.replace(method, **setting).fit_roughly(data, generator(seed, "fit", fold), start))
    return fitted


def oof_logits(classifiers: Sequence[Classifier], x: Array, fold: AnyArray, which: Bools, n_classes: int) -> Array:
    """Logits float32[n, K] of the items where `which` bool[N] holds, each by the classifier of its own fold."""
    logits = np.zeros((len(x), n_classes), np.float32)
    for f, classifier in enumerate(classifiers):
        rows = np.flatnonzero(which & (fold == f))
        logits[rows] = classifier.logits(x[rows])
    return logits[which]
