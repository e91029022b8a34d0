"""Made-up labels on which a robust method must beat cross-entropy, and how right a method is that learned from them."""

from __future__ import annotations

import numpy as np

from models_ml import methods
from models_ml.methods.contract import TrainingData
from models_ml.seeds import generator

SEEDS = (0, 1, 2)


def make_data(x, silver, k, gold=None, transition=None):
    """What a fit may see; all gold is of the reference sample."""
    gold = np.full(len(x), -1) if gold is None else gold
    transition = np.eye(k, k + 1) if transition is None else transition
    return TrainingData(
        inputs=x.astype(np.float32),
        gold=gold,
        reference=gold >= 0,
        silver=silver,
        transitions=transition[None],
        n_classes=k,
    )


def far_outliers(seed, n=400, share=0.1, n_gold=20):
    """Two classes side by side, and wrong labels far out on the right side, where no line does them justice.

    The data, which of their labels are wrong, and new items with their truth.
    """
    rng = np.random.default_rng(seed)
    truth, far = rng.integers(0, 2, 3 * n), rng.random(3 * n) < 2 * share
    x = rng.normal(0, 0.6, (3 * n, 2))
    x[:, 0] += np.where(truth == 1, 1.0, -1.0)
    wrong = far & (truth == 1) & (np.arange(3 * n) < n)
    x[wrong, 0] += 5
    silver, gold = np.where(wrong, 0, truth), np.where(np.arange(3 * n) < n_gold, truth, -1)
    data = make_data(x[:n], silver[:n], 2, gold[:n])
    return data, wrong[:n], x[n:].astype(np.float32), truth[n:]


def accuracy(name, data, x, truth, **parameters):
    """Of new items, once the method learned from the data with l2 and λ at 1."""
    built = methods.build(name, {"gold_weight": 1.0, "l2": 1.0, **parameters})
    return float((built.fit(data, generator(0)).logits(x).argmax(axis=1) == truth).mean())


def on_far_outliers(name, share=0.1, **parameters):
    """Mean accuracy on new items over the seeds."""
    right = []
    for seed in SEEDS:
        data, _, x, truth = far_outliers(seed, share=share)
        right.append(accuracy(name, data, x, truth, **parameters))
    return float(np.mean(right))


def called_the_next(seed, k=6, n=1500, d=20, rate=0.35, n_gold=60):
    """k classes, each called by the next one's name where the rate says so: data, new items, their truth."""
    rng = np.random.default_rng(seed)
    truth, centers = rng.integers(0, k, 2 * n), rng.standard_normal((k, d))
    x = 1.4 * rng.standard_normal((2 * n, d)) + centers[truth]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    silver = np.where(rng.random(2 * n) < rate, (truth + 1) % k, truth)
    gold = np.where(np.arange(2 * n) < n_gold, truth, -1)
    return make_data(x[:n], silver[:n], k, gold[:n]), x[n:], truth[n:]
