import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.losses import TINY, generalized_losses, make_targets, marginal_likelihood, marginal_losses

K = 4
METHODS = ("corrected", "cross_entropy", "gold_only")


def targets_of(method, gold, silver, n_classes, gold_weight, transition):
    """Targets as the methods of this name ask for them."""
    weight = np.inf if method == "gold_only" else gold_weight
    return make_targets(gold, silver, n_classes, weight, transition[None] if method == "corrected" else None)


def written_out(method, logits, gold, silver, gold_weight, transition):
    """The published sums in torch: λ·Σ_gold CE + Σ_silver -log[(Ĉᵀ softmax f)_ỹ], or CE, or no silver."""
    ce = torch.nn.functional.cross_entropy
    total = (1.0 if method == "gold_only" else gold_weight) * ce(logits[gold >= 0], gold[gold >= 0], reduction="sum")
    if method == "cross_entropy":
        use = (gold < 0) & (silver >= 0) & (silver < logits.shape[1])
        total = total + ce(logits[use], silver[use], reduction="sum")
    if method == "corrected":
        use = (gold < 0) & (silver >= 0)
        observed = torch.softmax(logits[use], dim=1) @ transition
        total = total - observed.gather(1, silver[use][:, None]).clamp_min(TINY).log().sum()
    return total


def make_problem(seed=0, n=40):
    rng = np.random.default_rng(seed)
    gold, silver = rng.integers(-1, K, n), rng.integers(-1, K + 1, n)
    logits = rng.normal(0, 2, (n, K)).astype(np.float32)
    return gold, silver, logits, rng.dirichlet(np.ones(K + 1), K)


def on_targets(method, gold, silver, logits, gold_weight, transition):
    """The numpy objective's loss and its gradient, spread back to all items."""
    targets = targets_of(method, gold, silver, K, gold_weight, transition)
    loss, gradient = marginal_likelihood(targets)(logits[targets.rows])
    full = np.zeros_like(logits)
    full[targets.rows] = gradient
    return loss, full


class TestFormulas:
    GOLD = np.array([1, -1, -1, -1])
    SILVER = np.array([0, 1, 2, -1])
    TRANSITION = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    P = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1], [0.5, 0.5]])

    def loss(self, method, gold_weight=5.0):
        targets = targets_of(method, self.GOLD, self.SILVER, 2, gold_weight, self.TRANSITION)
        return marginal_likelihood(targets)(np.log(self.P[targets.rows]).astype(np.float32))[0]

    def test_corrected_counts_gold_silver_and_failures(self):
        silver = np.log(0.5 * 0.2 + 0.5 * 0.6) + np.log(0.9 * 0.1 + 0.1 * 0.1)
        assert self.loss("corrected") == pytest.approx(-5 * np.log(0.8) - silver, rel=1e-5)

    def test_cross_entropy_leaves_failures_out(self):
        assert self.loss("cross_entropy") == pytest.approx(-5 * np.log(0.8) - np.log(0.5), rel=1e-5)

    def test_gold_only_is_gold_alone(self):
        assert self.loss("gold_only") == pytest.approx(-np.log(0.8), rel=1e-5)

    def test_an_infinite_weight_is_gold_only(self):
        assert self.loss("corrected", np.inf) == self.loss("gold_only")


class TestAgainstTorch:
    @pytest.mark.parametrize("method", METHODS)
    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 1000), gold_weight=st.sampled_from([1.0, 5.0, 60.0]))
    def test_loss_and_gradient_are_those_of_autograd(self, method, seed, gold_weight):
        gold, silver, logits, transition = make_problem(seed)
        g, s, c = torch.from_numpy(gold), torch.from_numpy(silver), torch.from_numpy(transition).float()
        z = torch.from_numpy(logits).requires_grad_()
        value = written_out(method, z, g, s, gold_weight, c)
        (expected,) = torch.autograd.grad(value, z)
        found = on_targets(method, gold, silver, logits, gold_weight, transition)
        assert found[0] == pytest.approx(float(value.detach()), rel=1e-4)
        np.testing.assert_allclose(found[1], expected.numpy(), atol=2e-4)

    def test_the_losses_per_item_are_the_same_formula(self):
        gold, silver, logits, transition = make_problem()
        targets = targets_of("corrected", gold, silver, K, 5.0, transition)
        z = torch.from_numpy(logits[targets.rows]).requires_grad_()
        value = (torch.from_numpy(targets.weight) * marginal_losses(z, torch.from_numpy(targets.likelihood))).sum()
        (gradient,) = torch.autograd.grad(value, z)
        expected = marginal_likelihood(targets)(logits[targets.rows])
        assert float(value.detach()) == pytest.approx(expected[0], rel=1e-4)
        np.testing.assert_allclose(gradient.numpy(), expected[1], atol=2e-4)

    def test_the_gradient_is_that_of_finite_differences(self):
        gold, silver, logits, transition = make_problem()
        _, gradient = on_targets("corrected", gold, silver, logits, 5.0, transition)
        step, rng = 0.05, np.random.default_rng(1)
        for i, k in zip(rng.integers(0, len(gold), 20), rng.integers(0, K, 20), strict=True):
            losses = []
            for sign in (1, -1):
                moved = logits.copy()
                moved[i, k] += sign * step
                losses.append(on_targets("corrected", gold, silver, moved, 5.0, transition)[0])
            assert gradient[i, k] == pytest.approx((losses[0] - losses[1]) / (2 * step), abs=5e-3)


class TestExtremes:
    def test_huge_logits_stay_finite(self):
        gold, silver, logits, transition = make_problem()
        loss, gradient = on_targets("corrected", gold, silver, logits * 1000, 60.0, transition)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()

    def test_an_identity_transition_is_cross_entropy(self):
        gold, silver, logits, _ = make_problem()
        silver[silver == K] = -1
        same = np.eye(K, K + 1)
        a = on_targets("corrected", gold, silver, logits, 5.0, same)
        b = on_targets("cross_entropy", gold, silver, logits, 5.0, same)
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])

    def test_per_item_losses_stay_finite(self):
        z = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]) * 1e4).requires_grad_()
        likelihood = torch.tensor([[0.0, 1.0], [1e-30, 0.0]])
        (gradient,) = torch.autograd.grad(marginal_losses(z, likelihood).sum(), z)
        assert torch.isfinite(gradient).all()


def test_each_item_is_read_by_the_matrix_of_its_stratum():
    transitions = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2))
    silver, strata = np.array([0, 1, 2]), np.array([1, 0, 1])
    targets = make_targets(np.full(3, -1), silver, 2, 5.0, transitions, strata)
    expected = [transitions[1, :, 0], transitions[0, :, 1], transitions[1, :, 2]]
    np.testing.assert_allclose(targets.likelihood, expected, rtol=1e-6)


class TestGeneralized:
    LABEL = torch.tensor([[1.0, 0.0, 0.0]])

    def test_by_hand(self):
        """(1 - .25^.5)/.5"""
        logits = torch.tensor([[0.25, 0.5, 0.25]]).log()
        assert float(generalized_losses(logits, self.LABEL, 0.5)) == pytest.approx(1.0)

    def test_a_small_q_is_cross_entropy(self):
        logits = torch.tensor([[0.3, -1.0, 2.0]])
        expected = float(marginal_losses(logits, self.LABEL))
        assert float(generalized_losses(logits, self.LABEL, 1e-5)) == pytest.approx(expected, rel=1e-4)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 1000), q=st.floats(0.05, 1.0))
    def test_its_slope_is_that_of_cross_entropy_times_p_to_the_q(self, seed, q):
        z = torch.randn(1, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        p = float(z.detach().softmax(dim=1)[0, 0])
        slopes = [
            torch.autograd.grad(losses.sum(), z)[0].numpy()
            for losses in (generalized_losses(z, self.LABEL, q), marginal_losses(z, self.LABEL))
        ]
        np.testing.assert_allclose(slopes[0], p**q * slopes[1], atol=1e-5)
