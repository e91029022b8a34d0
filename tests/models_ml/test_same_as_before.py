"""The methods of the first versions, written out in one straight line: what `train` makes must stay what it was."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from models_ml.training.crossfit import Snapshot, TrainingConfig, train

N, D, K, F = 150, 8, 3, 5
WEIGHTS, L2 = (1.0, 20.0, np.inf), (3.0, 0.3)


def make_snapshot():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, K, N)
    x = rng.standard_normal((N, D)) + 1.2 * rng.standard_normal((K, D))[truth]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    silver = np.where(rng.random(N) < 0.7, truth, rng.integers(0, K + 1, N))
    silver[rng.random(N) < 0.05] = -1
    gold = np.where(rng.random(N) < 0.4, truth, -1)
    return Snapshot(x, rng.integers(0, F, N), silver, gold, (rng.random(N) < 0.8) & (gold >= 0), K)


def direct(gold, silver):
    """Ĉ of Direct: counts, shrunk to one error rate spread by the silver marginal."""
    both = (gold >= 0) & (silver >= 0)
    counts = np.zeros((K, K + 1))
    np.add.at(counts, (gold[both], silver[both]), 1)
    error = ((gold != silver)[both].sum() + 1) / (both.sum() + 5)
    marginal = np.bincount(silver[silver >= 0], minlength=K + 1) + 1 / (K + 1)
    prior = np.tile(marginal / marginal.sum(), (K, 1))
    prior[np.arange(K), np.arange(K)] = 0
    prior *= error / prior.sum(axis=1, keepdims=True)
    prior[np.arange(K), np.arange(K)] = 1 - error
    return (counts + 5 * prior) / (counts.sum(axis=1, keepdims=True) + 5)


def fit(x, likelihood, weight, l2):
    """Minimise Σ w · -log Σ p L + l2/2·(‖W‖² + ‖b‖²/100) in double precision."""
    x = np.hstack([x.astype(np.float64), np.ones((len(x), 1))])
    held = np.full(x.shape[1], l2)
    held[-1] /= 100

    def loss(flat):
        w = flat.reshape(K, -1)
        p = softmax(x @ w.T, axis=1)
        match = (p * likelihood).sum(axis=1)
        gradient = (weight[:, None] * (p - p * likelihood / match[:, None])).T @ x + held * w
        return -(weight * np.log(match)).sum() + 0.5 * (held * w**2).sum(), gradient.ravel()

    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    return minimize(loss, np.zeros(K * x.shape[1]), jac=True, method="L-BFGS-B", options=options).x.reshape(K, -1)


def fit_method(snapshot, seen, method, gold_weight, l2):
    s, alone = snapshot, method == "gold_only" or np.isinf(gold_weight)
    reference = np.where(s.reference & seen, s.gold, -1)
    columns = direct(reference, np.where(seen, s.silver, -1)) if method == "corrected" else np.eye(K)
    is_gold = seen & (s.gold >= 0)
    is_silver = seen & (s.gold < 0) & (s.silver >= 0) & (s.silver < columns.shape[1]) & (not alone)
    likelihood = np.concatenate([np.eye(K)[s.gold[is_gold]], columns.T[s.silver[is_silver]]])
    weight = np.concatenate([np.full(is_gold.sum(), 1.0 if alone else gold_weight), np.ones(is_silver.sum())])
    x = np.concatenate([s.x[is_gold], s.x[is_silver]])
    return fit(x, likelihood, weight, l2 / 20 if alone else l2)


def out_of_fold(snapshot, method, gold_weight, l2):
    """Logits of all items."""
    z = np.zeros((N, K))
    for f in range(F):
        w = fit_method(snapshot, snapshot.fold != f, method, gold_weight, l2)
        here = snapshot.fold == f
        z[here] = snapshot.x[here] @ w[:, :-1].T + w[:, -1]
    return z


def temperature_of(z, labels):
    def loss(log_t):
        nll = -log_softmax(z * np.exp(-log_t), axis=1)[np.arange(len(labels)), labels].sum()
        return nll + 0.5 * (log_t / 0.5) ** 2

    return np.exp(minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded").x)


@pytest.mark.parametrize("method", ["corrected", "cross_entropy", "gold_only"])
def test_it_is_the_training_written_out(method):
    snapshot = make_snapshot()
    config = TrainingConfig(method=method, gold_weights=WEIGHTS, l2=L2, transition="direct")
    version = train(snapshot, config)
    z = out_of_fold(snapshot, method, version.gold_weight, version.method.l2)
    at = snapshot.reference & (snapshot.gold >= 0)
    temperature = temperature_of(z[at], snapshot.gold[at])
    found = version.predict_out_of_fold(snapshot.x, snapshot.fold)
    np.testing.assert_allclose(found, softmax(z / temperature, axis=1), atol=2e-3)
    assert version.temperature == pytest.approx(temperature, rel=2e-3)
    # The rough fits of the search say the same of every setting.
    for row in version.metrics["grid"]:
        z = out_of_fold(snapshot, method, float(row["gold_weight"]), row["l2"])
        loss = -log_softmax(z[at], axis=1)[np.arange(at.sum()), snapshot.gold[at]].mean()
        assert row["log_loss"] == pytest.approx(loss, abs=0.02)


def test_the_chosen_setting_is_the_first_of_the_lowest():
    version = train(make_snapshot(), TrainingConfig(gold_weights=WEIGHTS, l2=L2, transition="direct"))
    tried = [(row["gold_weight"], row["l2"]) for row in version.metrics["grid"]]
    assert tried[:2] == [(1.0, 3.0), (1.0, 0.3)]  # l2 at the first λ (5, the default, is none of these)
    assert set(tried) >= {("inf", 3.0), ("inf", 0.3)}  # gold alone at every l2
    assert len(set(tried)) == len(tried)
