"""Made-up snapshots to train on."""

import numpy as np

from models_ml.training.snapshot import Snapshot


def make_snapshot(n=400, k=3, d=12, n_gold=80, n_reference=60, noise=0.3, seed=0, n_folds=5):
    """n items of k separable classes, their silver wrong or failed where `noise` says so; and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    x = rng.standard_normal((n, d)) + 1.5 * rng.standard_normal((k, d))[truth]
    silver = np.where(rng.random(n) < noise, rng.integers(0, k + 1, n), truth)
    gold = np.full(n, -1)
    gold[:n_gold] = truth[:n_gold]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return Snapshot(x, rng.integers(0, n_folds, n), silver, gold, np.arange(n) < n_reference, k), truth


def rotate(labels, where, k):
    """Other labels where `where` holds; -1 stays."""
    return np.where(where & (labels >= 0), (labels + 1) % k, labels)
