from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models_ml.losses import marginal_losses
from models_ml.methods.meta_label_correction import meta_pull, soft_losses
from models_ml.networks.corrector import TRUST, make_corrector
from models_ml.networks.linear import LinearNetwork
from tests.models_ml.methods.flips import MOSTLY_WRONG, Flipped, takes_failures_for_labels


def make_problem(k=3, d=5, n=20, n_reference=7, seed=0):
    """A network and a corrector that know something, a batch of silver, and a batch of reference gold."""
    g = torch.Generator().manual_seed(seed)
    network, corrector = LinearNetwork(d, k, g), make_corrector(d, k, g)
    torch.nn.init.normal_(network.head.weight, generator=g)
    torch.nn.init.normal_(corrector.parameters["out"], generator=g)
    features, label = torch.randn(n, d, generator=g), torch.randint(0, k, (n,), generator=g)
    truth = torch.randint(0, k, (n_reference,), generator=g)
    reference = SimpleNamespace(x=torch.randn(n_reference, d, generator=g), likelihood=torch.eye(k)[truth])
    return network, corrector, features, label, reference


def through_a_virtual_step(network, corrector, features, label, reference, step):
    """The gradient by the corrector of the reference loss after a step on corrected labels, differentiated twice."""
    now, parameters = dict(network.head.named_parameters()), list(corrector.parameters.values())
    loss = soft_losses(network(features), corrector(features, label)).mean()
    gradients = torch.autograd.grad(loss, list(now.values()), create_graph=True)
    moved = {name: p - step * g for (name, p), g in zip(now.items(), gradients, strict=True)}
    logits = torch.func.functional_call(network.head, moved, (reference.x,))
    return torch.autograd.grad(marginal_losses(logits, reference.likelihood).mean(), parameters)


class TestMetaGradient:
    @pytest.mark.parametrize("k", [2, 6])
    @pytest.mark.parametrize("step", [0.01, 1.0, 20.0])
    def test_the_closed_form_is_the_gradient_through_a_virtual_step(self, k, step):
        network, corrector, features, label, reference = make_problem(k=k)
        expected = through_a_virtual_step(network, corrector, features, label, reference, step)
        corrected = corrector(features, label)
        pull = meta_pull(network, features, corrected.detach(), reference, step)
        found = torch.autograd.grad((corrected * pull).sum(), list(corrector.parameters.values()))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)

    def test_one_item_by_hand(self):
        """All zero and η → 0: p = ½; gold (1; class 0) has residual (-½, ½). Silver at h = 1: η·(-½, ½)·(1 + 1)."""
        network = LinearNetwork(1, 2, torch.Generator())
        torch.nn.init.zeros_(network.head.weight)
        reference = SimpleNamespace(x=torch.ones(1, 1), likelihood=torch.eye(2)[[0]])
        pull = meta_pull(network, torch.ones(1, 1), torch.tensor([[0.5, 0.5]]), reference, 0.1)
        np.testing.assert_allclose(pull, [[-0.1, 0.1]], atol=1e-7)  # labels ½ : ½ move nothing, so θ' = θ


class TestCorrector:
    @pytest.mark.parametrize("k", [2, 3, 50])
    def test_it_begins_as_trust_in_the_machine(self, k):
        corrected = make_corrector(4, k, torch.Generator().manual_seed(0))(torch.randn(9, 4), torch.arange(9) % k)
        assert corrected.shape == (9, k)
        np.testing.assert_allclose(corrected.sum(dim=1).detach(), 1, rtol=1e-5)
        np.testing.assert_allclose(corrected[torch.arange(9), torch.arange(9) % k].detach(), TRUST, rtol=1e-5)

    def test_a_soft_label_costs_its_cross_entropy(self):
        """p = (¼, ¾), y = (.4, .6): -.4·log ¼ - .6·log ¾ = .7271."""
        found = soft_losses(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[0.4, 0.6]]))
        assert float(found) == pytest.approx(0.72713, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_beats_cross_entropy_where_a_class_is_mostly_wrong(seed):
    case = Flipped(MOSTLY_WRONG, seed=seed)
    plain = case.accuracy("cross-entropy")
    assert plain < 0.85
    assert case.accuracy("meta-label-correction") > plain + 0.1


def test_it_does_not_wander_off_where_nothing_can_be_corrected_by_label():
    """Steps that moved layers farther than the table once left it at .36 here."""
    case = Flipped(np.full((4, 4), 1 / 6) + np.eye(4) / 3, seed=1)
    assert case.accuracy("meta-label-correction") > case.accuracy("cross-entropy") - 0.05


def test_failures_are_no_labels():
    assert not takes_failures_for_labels("meta-label-correction", epochs=4)
