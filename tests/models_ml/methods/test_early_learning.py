import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_ml import methods
from models_ml.methods.early_learning import elr_losses, remember
from models_ml.networks.linear import LinearNetwork
from models_ml.training.loop import Batch
from tests.models_ml.methods.held_out import accuracy, make_data


class TestLoss:
    def test_by_hand(self):
        """-ln .8 + 3·ln(1 - <(.8, .2), (.5, .5)>) = .2231 - 2.0794."""
        z, y, t = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
        assert elr_losses(z, y, t, torch.tensor([3.0])).item() == pytest.approx(0.2231 - 2.0794, abs=1e-4)

    @given(st.integers(0, 99))
    def test_its_gradient_is_that_of_the_paper(self, seed):
        """Lemma 2 of Liu et al. 2020: p - y + strength·g, g_c = p_c/(1 - <p, t>)·Σ_k (t_k - t_c)·p_k."""
        rng = np.random.default_rng(seed)
        z = torch.tensor(rng.normal(0, 2, (1, 4)), requires_grad=True)
        y, t = torch.eye(4, dtype=torch.float64)[[1]], torch.tensor(rng.dirichlet(np.ones(4), 1))
        elr_losses(z, y, t, torch.tensor([2.0])).sum().backward()
        p = z.detach().softmax(dim=1)
        match = (p * t).sum()
        expected = p - y + 2.0 * p / (1 - match) * (match - t)
        np.testing.assert_allclose(z.grad, expected, atol=1e-9)

    def test_it_ends_where_memory_and_prediction_are_one(self):
        z = torch.tensor([[1e5, 0.0]], requires_grad=True)
        loss = elr_losses(z, torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([3.0]))
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(z.grad).all()


def test_the_memory_of_the_items_seen_moves():
    memory = torch.zeros(3, 2)
    for p, expected in ([[0.8, 0.2]], [0.24, 0.06]), ([[0.6, 0.4]], [0.348, 0.162]):
        moved = remember(memory, torch.tensor([1]), torch.tensor(p), 0.7)
        np.testing.assert_allclose(moved[0], expected, atol=1e-6)
    np.testing.assert_allclose(memory, [[0, 0], [0.348, 0.162], [0, 0]], atol=1e-6)


class TestStep:
    def start(self, **parameters):
        """A method, its state, two networks with other biases, and a batch of one gold and one silver item."""
        method = methods.build("early-learning", parameters)
        networks = [LinearNetwork(2, 2, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
        with torch.no_grad():
            for network, bias in zip(networks, ([3.0, 0.0], [0.0, 3.0]), strict=True):
                network.head.weight.zero_()
                network.head.bias.copy_(torch.tensor(bias))
        data = make_data(n=2, k=2, d=2, n_gold=1)[0]
        batch = Batch(
            x=torch.from_numpy(data.inputs),
            likelihood=torch.tensor([[1.0, 0], [1.0, 0]]),
            weight=torch.ones(2),
            rows=torch.arange(2),
            is_gold=torch.tensor([True, False]),
            epoch=0,
            reference_batch=lambda: None,
        )
        state = method.begin(data, networks, np.random.default_rng(0))
        return method, state, networks, batch

    def test_elr_by_hand(self):
        """p = (.9526, .0474); the memory is .3·p, and holds back silver alone."""
        method, state, networks, batch = self.start(variant="elr")
        (loss,) = method.step(state, networks, batch, np.random.default_rng(0))
        p = np.array([1, np.exp(-3)]) / (1 + np.exp(-3))
        assert loss.item() == pytest.approx(-np.log(p[0]) + 3 * np.log(1 - 0.3 * (p @ p)) / 2, abs=1e-5)
        assert len(state.optimisers) == 1

    def test_in_elr_plus_each_network_is_remembered_for_by_the_other(self):
        method, state, networks, batch = self.start()
        method.step(state, networks, batch, np.random.default_rng(0))
        first, second = state.memory["memories"]
        assert (first.argmax(dim=1) == 1).all() and (second.argmax(dim=1) == 0).all()

    def test_unmixed_elr_plus_by_hand(self):
        """The first network predicts (.9526, .0474) and remembers .3·(.0474, .9526), what the second says."""
        method, state, networks, batch = self.start(mixing=0.0)
        losses = method.step(state, networks, batch, np.random.default_rng(0))
        p = np.array([1, np.exp(-3)]) / (1 + np.exp(-3))
        held_back = 3 * np.log(1 - 0.3 * (p @ p[::-1])) / 2
        expected = [-np.log(p[0]) + held_back, -np.log(p[1]) + held_back]
        assert [loss.item() for loss in losses] == pytest.approx(expected, abs=1e-5)

    def test_averaged_weights_follow_the_trained_ones_and_predict(self):
        method, state, networks, _ = self.start()
        with torch.no_grad():
            for network in networks:
                network.head.bias.fill_(10.0)
        classifier = method.finish(state, networks)  # a tenth stays in the first step
        np.testing.assert_allclose(classifier.bias, 0.9 * 10 + 0.1 * np.array([1.5, 1.5]), rtol=1e-5)


@pytest.mark.parametrize("variant", ["elr", "elr-plus"])
def test_it_beats_taking_silver_at_its_word_where_wrong_labels_can_be_learned_by_heart(variant):
    problems = [make_data(seed=seed) for seed in range(3)]
    plain = accuracy("cross-entropy", problems, l2=0.01)
    unheld = accuracy("early-learning", problems, l2=0.01, variant=variant, strength=0.0)
    assert min(plain, unheld) > 0.4
    assert accuracy("early-learning", problems, l2=0.01, variant=variant) > max(plain, unheld) + 0.08
