"""Predicts pool items as if they were new: by models that saw no near-duplicate of them."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import AnyArray, Array, Bools, Matrix
from models_ml.calibration import apply_temperature
from models_ml.training.folds import fit_fold
from models_ml.training.snapshot import Snapshot
from models_ml.training.version import TrainedVersion

# Similarities held at once: 16 MB of float32, whatever the size of the pool.
BLOCK = 4_000_000


def new_data_predictions(
    version: TrainedVersion, snapshot: Snapshot, positions: AnyArray, threshold: float = 0.95
) -> Matrix:
    """Calibrated probabilities float64[n, K] at `positions` int[n], by models without near-duplicates.

    An item whose cosine to one of a fold's positions is at least `threshold` leaves that fold's training
    set; a fold is fitted again, with the version's own parameters, only where that removes something that
    trained.
    """
    s, method, seed = snapshot, version.method, version.config.seed
    labeled = (s.gold >= 0) | (s.silver >= 0)
    logits = np.zeros((len(positions), s.n_classes), np.float32)
    for f in np.unique(s.fold[positions]):
        here = np.flatnonzero(s.fold[positions] == f)
        duplicates, others = near_duplicates(s.x, positions[here], threshold), s.fold != f
        classifier = version.of_folds[f]
        if (duplicates & labeled & others).any():
            data = s.training_data(others & ~duplicates, *version.noise_of(int(f)))
            classifier = fit_fold(method, data, seed, int(f))
        logits[here] = classifier.logits(s.x[positions[here]])
    return apply_temperature(logits, version.temperature)


def near_duplicates(x: Array, positions: AnyArray, threshold: float) -> Bools:
    """Which items of x float32[N, d] have a cosine of at least `threshold` to a position; bool[N]."""
    norms = np.maximum(np.linalg.norm(x, axis=1), np.float32(1e-12))
    directions = x[positions] / norms[positions, None]
    step = max(1, BLOCK // max(1, len(positions)))
    blocks = [
        (x[i : i + step] @ directions.T >= threshold * norms[i : i + step, None]).any(axis=1)
        for i in range(0, len(x), step)
    ]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.bool_)
