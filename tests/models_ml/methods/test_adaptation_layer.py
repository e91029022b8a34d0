"""The adaptation layer begins as the confusion matrix and learns on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models_ml import methods
from models_ml.losses import marginal_losses
from models_ml.methods.adaptation_layer import AdaptationLayer, _heard
from models_ml.noise.transition import direct_transition
from models_ml.seeds import generator
from models_ml.training.loop import Batch
from tests.models_ml.problems import make_snapshot

PLAIN = {"gold_weight": 1.0, "l2": 0.3}


def permuted(seed=0, n=1000, n_gold=60, rate=0.46):
    """Silver of an item is the next class's in 46 of 100, as in the published experiment; and a machine that fails."""
    snapshot, truth = make_snapshot(n=n, noise=0.0, n_gold=n_gold, n_reference=n_gold, seed=seed)
    rng = np.random.default_rng(seed + 100)  # not the stream that made the snapshot
    silver = np.where(rng.random(n) < rate, (truth + 1) % 3, truth)
    return replace(snapshot, silver=np.where(rng.random(n) < 0.05, 3, silver)), truth


def data_of(snapshot, transition=None):
    transition = direct_transition(snapshot.reference_gold, snapshot.silver, 3) if transition is None else transition
    return snapshot.training_data(snapshot.fold >= 0, transition)


def share_right(classifier, snapshot, truth):
    return (classifier.logits(snapshot.x).argmax(axis=1) == truth).mean()


@pytest.mark.parametrize("layer", ["simple", "complex"])
def test_it_beats_plain_cross_entropy_under_permuted_labels(layer):
    gains = []
    for seed in range(2):
        snapshot, truth = permuted(seed)
        plain = methods.build("cross-entropy", PLAIN).fit(data_of(snapshot), generator(0))
        adapted = methods.build("adaptation-layer", {**PLAIN, "layer": layer}).fit(data_of(snapshot), generator(0))
        control = share_right(plain, snapshot, truth)
        assert control < 0.9
        gains.append(share_right(adapted, snapshot, truth) - control)
    assert np.mean(gains) > 0.03


def test_it_depends_on_where_it_begins():
    """From the identity it stays below what the confusion matrix gives it, as published."""
    snapshot, truth = permuted()
    identity = 0.97 * np.eye(3, 4) + 0.03 / 4
    told, untold = (
        AdaptationLayer(**PLAIN).fit(data_of(snapshot, transition), generator(0)) for transition in (None, identity)
    )
    assert share_right(told, snapshot, truth) > share_right(untold, snapshot, truth) + 0.02


def a_batch(rows, d=2):
    n = len(rows)
    return Batch(
        x=torch.zeros(n, d),
        likelihood=torch.ones(n, 2),
        weight=torch.ones(n),
        rows=torch.tensor(rows),
        is_gold=torch.zeros(n, dtype=torch.bool),
        epoch=0,
        reference_batch=lambda: None,
    )


class TestByHand:
    MATRICES = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], [[0.5, 0.4, 0.1], [0.2, 0.2, 0.6]]])

    def memory(self, **more):
        return {
            "b": self.MATRICES.log(),
            "silver": torch.tensor([1, 2, -1]),
            "stratum": torch.tensor([0, 1, 0]),
            **more,
        }

    def test_silver_is_heard_by_its_column_of_the_stratum(self):
        heard = _heard(self.memory(), torch.zeros(2, 2), a_batch([0, 1]))
        np.testing.assert_allclose(heard, [[0.2, 0.6], [0.1, 0.6]], rtol=1e-6)

    def test_what_an_item_is_moves_it(self):
        """u = log 3 for (class 0, label 1) on the first feature: 0.2·3 beside 0.7 and 0.1."""
        u = torch.zeros(2, 6)
        u[0, 1] = np.log(3)
        heard = _heard(self.memory(u=u), torch.tensor([[1.0, 0.0], [0.0, 1.0]]), a_batch([0, 1]))
        np.testing.assert_allclose(heard, [[0.6 / 1.4, 0.6], [0.1, 0.6]], rtol=1e-6)

    def test_both_begin_as_forward_correction(self):
        logits = torch.tensor([[1.0, -1.0], [0.5, 0.2]])
        plain = _heard(self.memory(), torch.ones(2, 2), a_batch([0, 1]))
        of_items = _heard(self.memory(u=torch.zeros(2, 6)), torch.ones(2, 2), a_batch([0, 1]))
        np.testing.assert_allclose(plain, of_items, rtol=1e-6)
        expected = -torch.log((logits.softmax(dim=1) * plain).sum(dim=1))
        np.testing.assert_allclose(marginal_losses(logits, plain), expected, rtol=1e-5)


def test_without_steps_of_its_own_it_is_forward_correction():
    snapshot, _ = permuted(n=400)
    data, same = data_of(snapshot), {"gold_weight": 5.0, "l2": 1.0}
    exact = methods.build("corrected", same).fit(data, generator(0))
    adapted = AdaptationLayer(layer_rate=0.0, epochs=100, **same).fit(data, generator(0))
    difference = np.abs(exact.predict_proba(snapshot.x) - adapted.predict_proba(snapshot.x))
    assert difference.max() < 0.03


def test_it_begins_at_the_matrix_of_each_stratum():
    snapshot, _ = permuted(n=400)
    strata = np.arange(400) % 2
    both = np.stack([direct_transition(snapshot.reference_gold, snapshot.silver, 3), np.full((3, 4), 0.25)])
    data = replace(data_of(snapshot), transitions=both, strata=strata)
    state = AdaptationLayer().begin(data, [], np.random.default_rng(0))
    np.testing.assert_allclose(state.memory["b"].exp().detach(), both, rtol=1e-5)
    assert state.memory["stratum"].tolist() == strata.tolist()


def test_a_matrix_whose_rows_do_not_sum_to_one_is_refused():
    snapshot, _ = permuted(n=100)
    with pytest.raises(ValueError, match="noise matrices have a row that sums to 2, not to 1"):
        AdaptationLayer(epochs=1).fit(data_of(snapshot, np.full((3, 4), 0.5)), generator(0))
