"""The noise layer learns from labels alone how they err."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models_ml import methods
from models_ml.methods.noise_layer import NoiseLayer
from models_ml.seeds import generator
from models_ml.training.loop import Batch, State
from tests.models_ml.problems import make_snapshot

PLAIN = {"gold_weight": 1.0, "l2": 0.3}


def liar(seed=0, n=1000, n_gold=30):
    """Of class 1 silver says 0 in 45 of 100, and of every class it fails in 10: hardly any gold."""
    snapshot, truth = make_snapshot(n=n, noise=0.0, n_gold=n_gold, n_reference=n_gold, seed=seed)
    rng = np.random.default_rng(seed + 100)  # not the stream that made the snapshot
    silver = np.where((truth == 1) & (rng.random(n) < 0.45), 0, truth)
    return replace(snapshot, silver=np.where(rng.random(n) < 0.1, 3, silver)), truth


def data_of(snapshot):
    return snapshot.training_data(snapshot.fold >= 0, np.full((3, 4), 0.25))


def learned(method, snapshot):
    """Classifier and Q of a fit."""
    states = []

    class Looks(NoiseLayer):
        def finish(self, state, networks):
            states.append(state)
            return super().finish(state, networks)

    classifier = Looks(**method).fit(data_of(snapshot), generator(0))
    return classifier, states[0].memory["layer"].softmax(dim=1).detach().numpy()


def test_it_beats_plain_cross_entropy_where_silver_lies_about_one_class():
    shares = []
    for seed in range(3):
        snapshot, truth = liar(seed)
        ways = (
            methods.build(name, PLAIN).fit(data_of(snapshot), generator(0)) for name in ("noise-layer", "cross-entropy")
        )
        shares.append([(way.logits(snapshot.x).argmax(axis=1) == truth).mean() for way in ways])
    ours, control = np.mean(shares, axis=0)
    assert control < 0.93  # it learns the lie
    assert ours > control + 0.04


def test_the_penalty_takes_the_matrix_away_from_the_identity():
    snapshot, _ = liar()
    diagonals = [np.diagonal(learned({**PLAIN, "trace_penalty": b}, snapshot)[1]).mean() for b in (0.0, 0.5)]
    assert diagonals[0] > diagonals[1] + 0.05


def test_rows_of_the_matrix_sum_to_one_with_the_column_of_failures():
    _, q = learned(PLAIN, liar()[0])
    assert q.shape == (3, 4)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)


def a_batch(epoch):
    """Three items by hand: gold 0, silver 1, and a failure; two classes."""
    return Batch(
        x=torch.zeros(3, 1),
        likelihood=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]),
        weight=torch.tensor([1.0, 1.0, 1.0]),
        rows=torch.arange(3),
        is_gold=torch.tensor([True, False, False]),
        epoch=epoch,
        reference_batch=lambda: None,
    )


def loss_at(epoch, trace_penalty=0.0):
    q = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    state = State([], {"layer": q.log(), "silver": torch.tensor([-1, 1, 2])})
    method = NoiseLayer(epochs=4, frozen=0.25, trace_penalty=trace_penalty)
    (loss,) = method.step(state, [lambda x: torch.tensor([[0.8, 0.2]] * 3).log()], a_batch(epoch), None)
    return float(loss)


def test_at_first_the_matrix_is_the_identity_and_failures_say_nothing():
    assert loss_at(0) == pytest.approx(-(np.log(0.8) + np.log(0.2) + np.log(0.5)) / 3)


def test_then_silver_is_read_through_the_matrix():
    heard = 0.8 * 0.2 + 0.2 * 0.6, 0.8 * 0.1 + 0.2 * 0.3
    assert loss_at(1) == pytest.approx(-(np.log(0.8) + np.log(heard[0]) + np.log(heard[1])) / 3)
    assert loss_at(1, trace_penalty=2.0) == pytest.approx(loss_at(1) + 2.0 * (0.7 + 0.6) / 2)


@pytest.mark.parametrize("k", [2, 50])
def test_without_gold_and_with_nothing_but_failures_it_is_finite(k):
    snapshot, _ = make_snapshot(k=k, n_gold=0)
    for silver in (snapshot.silver, np.full(400, k)):
        data = replace(snapshot, silver=silver).training_data(snapshot.fold >= 0, np.full((k, k + 1), 1 / (k + 1)))
        classifier = NoiseLayer(epochs=3).fit(data, generator(0))
        assert np.isfinite(classifier.weight).all()
