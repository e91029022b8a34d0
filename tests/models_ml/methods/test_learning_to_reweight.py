from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models_ml.losses import marginal_losses
from models_ml.methods.learning_to_reweight import LearningToReweight, share_out
from models_ml.methods.random_weights import RandomWeights
from models_ml.networks.linear import LinearNetwork
from models_ml.seeds import generator
from tests.models_ml.methods.flips import MOSTLY_WRONG, Flipped, takes_failures_for_labels

METHOD = LearningToReweight()


def make_batch(k=3, d=5, n=20, n_reference=7, seed=0):
    """A network that knows something, a batch, and a reference batch."""
    torch_generator = torch.Generator().manual_seed(seed)
    network = LinearNetwork(d, k, torch_generator)
    torch.nn.init.normal_(network.head.weight, generator=torch_generator)

    def part(size):
        x = torch.randn(size, d, generator=torch_generator)
        labels = torch.randint(0, k, (size,), generator=torch_generator)
        return {"x": x, "likelihood": torch.eye(k)[labels], "rows": torch.arange(size)}

    reference = SimpleNamespace(**part(n_reference))
    is_gold = torch.arange(n) < 4
    return network, SimpleNamespace(**part(n), is_gold=is_gold, reference_batch=lambda: reference)


def through_a_virtual_step(network, batch, step=0.1):
    """-∂/∂ε_i at ε = 0 of the reference batch's loss after a step on Σ ε_i ℓ_i, by differentiating twice."""
    reference, now = batch.reference_batch(), dict(network.head.named_parameters())
    epsilon = torch.zeros(len(batch.x), requires_grad=True)
    loss = (epsilon * marginal_losses(network(batch.x), batch.likelihood)).sum()
    gradients = torch.autograd.grad(loss, list(now.values()), create_graph=True)
    moved = {name: p - step * g for (name, p), g in zip(now.items(), gradients, strict=True)}
    logits = torch.func.functional_call(network.head, moved, (reference.x,))
    (effect,) = torch.autograd.grad(marginal_losses(logits, reference.likelihood).mean(), epsilon)
    return -effect / step


def usefulness(network, batch, method=METHOD, seed=0):
    with torch.no_grad():
        return method.usefulness(network, batch.x, network(batch.x), batch, generator(seed))


class TestUsefulness:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("k", [2, 7])
    def test_the_closed_form_is_the_gradient_through_a_virtual_step(self, k, seed):
        network, batch = make_batch(k=k, seed=seed)
        expected = through_a_virtual_step(network, batch)
        np.testing.assert_allclose(usefulness(network, batch), expected, atol=1e-5)

    def test_soft_likelihoods_too(self):
        network, batch = make_batch()
        batch.likelihood = batch.likelihood * 0.6 + 0.1
        np.testing.assert_allclose(usefulness(network, batch), through_a_virtual_step(network, batch), atol=1e-5)

    def test_two_items_by_hand(self):
        """All zero, so p = ½: the residual of class 0 is (-½, ½); with (h, 1) = (1, 1) ⟨·⟩ = (¼ + ¼)·2 = 1, or -1."""
        network = LinearNetwork(1, 2, torch.Generator())
        torch.nn.init.zeros_(network.head.weight)
        reference = SimpleNamespace(x=torch.ones(1, 1), likelihood=torch.eye(2)[[0]])
        batch = SimpleNamespace(x=torch.ones(2, 1), likelihood=torch.eye(2), reference_batch=lambda: reference)
        assert usefulness(network, batch).tolist() == [1.0, -1.0]

    def test_without_reference_gold_nothing_is_weighed(self):
        network, batch = make_batch()
        batch.reference_batch = lambda: None
        assert usefulness(network, batch) is None


class TestShareOut:
    def test_what_helps_counts_in_proportion_and_gold_is_left_alone(self):
        weights = share_out(torch.tensor([9.0, 3.0, -1.0, 1.0, 0.0]), torch.tensor([True, False, False, False, False]))
        assert weights.tolist() == [1.0, 3.0, 0.0, 1.0, 0.0]  # silver: 4 in all over 4 items

    @pytest.mark.parametrize("useful", [0.0, -1.0, -1e30])
    def test_where_nothing_helps_silver_counts_for_nothing(self, useful):
        weights = share_out(torch.full((3,), useful), torch.tensor([True, False, False]))
        assert weights.tolist() == [1.0, 0.0, 0.0]

    def test_gold_alone(self):
        assert share_out(torch.ones(2), torch.ones(2, dtype=torch.bool)).tolist() == [1.0, 1.0]


class TestRandomWeights:
    def test_they_know_nothing_of_labels_and_repeat_with_the_seed(self):
        network, batch = make_batch()
        first = usefulness(network, batch, RandomWeights())
        batch.likelihood = batch.likelihood.flip(0)
        assert usefulness(network, batch, RandomWeights()).equal(first)
        assert not usefulness(network, batch, RandomWeights(), seed=1).equal(first)

    def test_half_of_them_are_zero_and_their_mean_is_one(self):
        weights = share_out(torch.from_numpy(generator(0).standard_normal(4000)), torch.zeros(4000, dtype=torch.bool))
        assert abs(float((weights == 0).float().mean()) - 0.5) < 0.03 and float(weights.mean()) == pytest.approx(1)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_beats_cross_entropy_and_random_weights_where_a_class_is_mostly_wrong(seed):
    case = Flipped(MOSTLY_WRONG, seed=seed)
    plain, random = case.accuracy("cross-entropy"), case.accuracy("random-weights")
    assert plain < 0.85 and random < 0.85  # weights alone are not what helps
    assert case.accuracy("learning-to-reweight") > max(plain, random) + 0.1


def test_gold_outside_the_reference_sample_trains_and_weighs_nothing():
    case = Flipped(MOSTLY_WRONG, n=200)
    seen = []

    class Looks(LearningToReweight):
        def usefulness(self, network, features, logits, batch, rng):
            reference = batch.reference_batch()
            seen.extend(reference.rows.tolist())
            return super().usefulness(network, features, logits, batch, rng)

    reference = case.data.reference & (np.arange(200) < 30)
    Looks(epochs=2).fit(replace(case.data, reference=reference), generator(0))
    assert set(seen) <= set(range(30))


def test_failures_are_no_labels():
    assert not takes_failures_for_labels("learning-to-reweight", epochs=4)
    assert not takes_failures_for_labels("random-weights", epochs=4)
