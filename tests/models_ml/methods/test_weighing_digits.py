"""What methods that weigh or correct machine labels make of handwritten digits; figures stand in docs/methods.md."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from models_ml.noise.transition import direct_transition
from tests.models_ml.planted import accuracy, make_data

K, N_TRAINED, N_GOLD = 10, 1400, 100
NEXT = np.roll(np.eye(K), 1, axis=1)
NOISE = {
    "flip .45": 0.55 * np.eye(K) + 0.45 * NEXT,
    "flip .6": 0.4 * np.eye(K) + 0.6 * NEXT,
    "uniform .6": 0.4 * np.eye(K) + 0.6 / K,
}
NAMES = (
    "cross-entropy",
    "corrected",
    "importance",
    "learning-to-reweight",
    "random-weights",
    "mentornet",
    "meta-label-correction",
    "fasten",
)


def digits(transition, seed):
    """Data with 100 reference gold among 1,400 digits, then what is left to be right about."""
    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    x, truth = (x - x.mean(axis=0))[order], truth[order]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    silver = np.array([rng.choice(K, p=transition[y]) for y in truth[:N_TRAINED]])
    gold = np.where(np.arange(N_TRAINED) < N_GOLD, truth[:N_TRAINED], -1)
    data = make_data(x[:N_TRAINED], silver, K, gold, direct_transition(gold, silver, K))
    return data, x[N_TRAINED:], truth[N_TRAINED:]


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_published_orders_show(noise):
    cases = [digits(NOISE[noise], seed) for seed in range(3)]
    found = {name: np.mean([accuracy(name, *case, gold_weight=5.0) for case in cases]) for name in NAMES}
    found["gold-only"] = np.mean([accuracy("cross-entropy", *case, gold_weight="inf") for case in cases])
    print(noise, ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    plain, margin = found["cross-entropy"], 0.05 if noise.startswith("flip") else 0.01
    for name in ("learning-to-reweight", "mentornet", "fasten"):
        assert found[name] > plain + margin
    assert found["learning-to-reweight"] > found["random-weights"] + margin
    if noise.startswith("flip"):  # what can be corrected by label
        assert min(found["meta-label-correction"], found["importance"]) > plain + margin
