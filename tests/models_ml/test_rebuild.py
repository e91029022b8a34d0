from dataclasses import replace

import numpy as np
import pytest

from models_ml.networks.linear import LinearClassifier
from models_ml.training.crossfit import TrainingConfig, train
from models_ml.training.rebuild import TOLERANCE, broken_promise, excess_log_loss
from tests.models_ml.problems import make_snapshot

SNAPSHOT, _ = make_snapshot(n=150)
STORED = train(SNAPSHOT, TrainingConfig.of("cross-entropy", {"gold_weight": 5.0, "l2": 1.0}))


class PromisesTheSeed:
    """The method of a stored version, if it promised no bits."""

    reproduces, gold_weight, l2 = "seed", 5.0, 1.0


def moved(version, by):
    """The version with all weights a little larger."""
    larger = [LinearClassifier(c.weight * np.float32(1 + by), c.bias) for c in version.of_folds]
    return replace(version, of_folds=tuple(larger))


def test_the_same_again_keeps_every_promise():
    assert broken_promise(STORED, train(SNAPSHOT, STORED.config), SNAPSHOT) is None


def test_one_other_bit_breaks_the_promise_of_bits():
    assert "other bits" in broken_promise(STORED, moved(STORED, 1e-6), SNAPSHOT)


@pytest.mark.parametrize(("by", "is_kept"), [(1e-4, True), (0.5, False)])
def test_the_promise_of_the_seed_is_kept_within_the_tolerance(by, is_kept):
    stored = replace(STORED, method=PromisesTheSeed())
    problem = broken_promise(stored, moved(stored, by), SNAPSHOT)
    assert (problem is None) == is_kept
    assert is_kept or f"more than {TOLERANCE:g}" in problem


def test_the_excess_is_what_the_log_loss_gains():
    p, q = np.array([[0.5, 0.5], [1.0, 0.0]], np.float32), np.array([[0.8, 0.2], [0.9, 0.1]], np.float32)
    by_hand = (-0.5 * np.log(0.8) - 0.5 * np.log(0.2) - np.log(2) - np.log(0.9)) / 2
    assert excess_log_loss(p, q) == pytest.approx(by_hand, rel=1e-5)
    assert excess_log_loss(p, p) == 0
    assert excess_log_loss(p[:0], q[:0]) == 0
