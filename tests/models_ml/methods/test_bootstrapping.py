from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models_ml import methods
from models_ml.losses import marginal_losses
from tests.models_ml.planted import on_far_outliers

P = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
LABEL = torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def losses_of(logits, label, **parameters):
    batch = SimpleNamespace(likelihood=label, is_gold=torch.zeros(len(label), dtype=torch.bool))
    return methods.build("bootstrapping", parameters).item_losses(logits, batch)


def test_hard_by_hand():
    """β = .8: the label costs -log .2, the model's own class -log .8; where both agree it is cross-entropy."""
    losses = losses_of(P.log(), LABEL, kind="hard", beta=0.8)
    assert losses.tolist() == pytest.approx([0.8 * 1.609438 + 0.2 * 0.223144, 0.510826], rel=1e-5)


def test_soft_is_cross_entropy_and_entropy():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    label = torch.eye(4)[torch.tensor([0, 1, 2, 3, 0])]
    found = losses_of(logits, label, kind="soft", beta=0.95)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    expected = 0.95 * torch.nn.functional.cross_entropy(logits, label, reduction="none") + 0.05 * entropy
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-5)
    gradients = [torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0] for losses in (found, expected)]
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_with_a_beta_of_one_it_is_cross_entropy(kind):
    losses = losses_of(P.log(), LABEL, kind=kind, beta=1.0)
    np.testing.assert_allclose(losses, marginal_losses(P.log(), LABEL), rtol=1e-6)


def test_far_wrong_labels_turn_it_less_where_its_own_word_counts_more_than_the_label():
    plain = on_far_outliers("cross-entropy", 0.07, gold_weight=5.0)
    assert plain < 0.87
    assert on_far_outliers("bootstrapping", 0.07, gold_weight=5.0, beta=0.3) > plain + 0.04


def test_as_published_it_is_no_better_than_cross_entropy_there():
    """A label that pulls at four fifths pulls nearly as far: this is why it is a control."""
    assert on_far_outliers("bootstrapping") < on_far_outliers("cross-entropy") + 0.05
