"""Whether a version that was trained again is the one that is stored, as far as its method promises."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_ml import checkpoints
from models_ml.arrays import AnyArray, Array
from models_ml.training.snapshot import Snapshot
from models_ml.training.version import TrainedVersion

# In nats per item, for methods that promise to repeat a training but not its bits. Another machine or number of threads
# sums in another order, and steps carry that on; a training with another seed or setting differs by several times this.
TOLERANCE = 0.01


def broken_promise(stored: TrainedVersion, again: TrainedVersion, snapshot: Snapshot) -> str | None:
    """What a rebuild from the same snapshot and config does not keep of its method's promise, in words; else None.

    A method that reproduces "bits" must give the same artefact. One that reproduces "seed" must predict the items of
    the snapshot out of fold as the stored version does: the log-loss that comes on top of its own, were the stored
    probabilities the truth, stays within TOLERANCE.
    """
    bits = [checkpoints.to_bytes(*_to_compare(version)) for version in (stored, again)]
    if bits[0] == bits[1]:
        return None
    if stored.method.reproduces == "bits":
        return "made again it has other bits"
    excess = excess_log_loss(*(version.predict_out_of_fold(snapshot.x, snapshot.fold) for version in (stored, again)))
    if excess <= TOLERANCE:
        return None
    return f"made again its log-loss is {excess:.4f} above the stored version's, more than {TOLERANCE:g}"


def _to_compare(version: TrainedVersion) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """All of a version but one count: versions stored before may have failures among their silver labels."""
    arrays, settings = version.to_arrays()
    metrics = {name: value for name, value in settings["metrics"].items() if name != "n_silver"}
    return arrays, {**settings, "metrics": metrics}


def excess_log_loss(stored: Array, again: Array) -> float:
    """Mean over n items of Σ_k p·(log p - log q) in nats for distributions p, q float32[n, K]; 0 for no items."""
    p, q = (np.maximum(x.astype(np.float64), 1e-12) for x in (stored, again))
    return float((p * (np.log(p) - np.log(q))).sum(axis=1).mean()) if len(p) else 0.0
