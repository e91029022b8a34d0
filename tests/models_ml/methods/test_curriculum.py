import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.losses import curriculum, soft_hinge_losses
from models_ml.methods.curriculum import Curriculum, threshold
from models_ml.seeds import generator
from tests.models_ml.planted import far_outliers, on_far_outliers
from tests.models_ml.problems import make_snapshot

SEEDS = st.integers(0, 10_000)


def made_losses(seed, n=12, k=3):
    """Soft hinge losses of n random items, and how many of their labels are not predicted."""
    g = torch.Generator().manual_seed(seed)
    logits, label = 2 * torch.randn(n, k, generator=g), torch.randint(k, (n,), generator=g)
    return soft_hinge_losses(logits, torch.eye(k)[label]), int((logits.argmax(1) != label).sum())


class TestSoftHinge:
    def test_by_hand(self):
        """Right by more than 1; right by .5; wrong, with a softmax of 1/(1 + e) at the label."""
        logits = torch.tensor([[2.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
        losses = soft_hinge_losses(logits, torch.tensor([[1.0, 0.0]]).expand(3, 2))
        assert losses.tolist() == pytest.approx([0.0, 0.5, 1 + 1.313262])

    def test_where_right_it_is_the_hinge_of_torch(self):
        logits = torch.tensor([[2.0, 1.7], [0.5, 0.0], [0.1, 0.1]])
        of_torch = torch.nn.functional.multi_margin_loss(logits, torch.zeros(3, dtype=torch.long), reduction="none")
        losses = soft_hinge_losses(logits, torch.tensor([[1.0, 0.0]]).expand(3, 2))
        np.testing.assert_allclose(losses, 2 * of_torch, rtol=1e-6)  # torch divides by the number of classes

    @settings(max_examples=30, deadline=None)
    @given(seed=SEEDS)
    def test_it_is_above_one_just_where_the_label_is_not_predicted(self, seed):
        losses, errors = made_losses(seed)
        assert int((losses > 1).sum()) == errors

    def test_gradients_stay_finite(self):
        z = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]) * 1e6).requires_grad_()
        (gradient,) = torch.autograd.grad(soft_hinge_losses(z, torch.tensor([[1.0, 0.0]]).expand(2, 2)).sum(), z)
        assert torch.isfinite(gradient).all()


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(0, 12))
def test_it_lies_between_the_01_loss_and_the_sum_of_losses(seed, n):
    losses, errors = made_losses(seed, n)
    c = threshold(losses, 0.0)
    assert c == n + errors
    v = curriculum(losses, c)
    bound = max(float(losses[v].sum()), c - int(v.sum()))
    assert errors <= bound <= max(float(losses.sum()), errors) + 1e-4


class TestFit:
    def test_gold_is_never_left_out(self):
        """Gold that contradicts the machine on the same items wins, however hard it is."""
        snapshot, truth = make_snapshot(noise=0.0)
        data = snapshot.training_data(snapshot.fold >= 0, np.full((3, 4), 0.25))
        data.gold[:] = np.where(data.gold >= 0, (data.gold + 1) % 3, -1)
        classifier = Curriculum(gold_weight=100.0, l2=1.0).fit(data, generator(0))
        assert (classifier.logits(snapshot.x).argmax(1) == (truth + 1) % 3).mean() > 0.8

    def test_in_the_burn_in_every_label_trains(self):
        data, _, _, _ = far_outliers(0)
        weights = [Curriculum(epochs=3, burn_in=b, l2=1.0).fit(data, generator(0)).weight.tobytes() for b in (3, 9, 1)]
        assert weights[0] == weights[1] != weights[2]


def test_far_wrong_labels_do_not_turn_it():
    assert on_far_outliers("cross-entropy") < 0.65
    assert on_far_outliers("curriculum") > 0.92
