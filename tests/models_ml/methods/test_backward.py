from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.losses import Targets, make_targets, marginal_likelihood
from models_ml.methods.backward import Backward, inverse, signed_cross_entropy
from models_ml.seeds import generator
from tests.models_ml.planted import SEEDS, accuracy, make_data

# Class 0 is called 1 more often than not.
TRANSITION = np.array([[0.4, 0.6, 0.0], [0.05, 0.95, 0.0]])


class TestInverse:
    def test_by_hand(self):
        found = inverse(np.array([[[0.8, 0.2, 0.0], [0.4, 0.6, 0.0]]]), 100.0)
        np.testing.assert_allclose(found, [[[1.5, -0.5], [-1.0, 2.0]]], atol=1e-12)

    def test_failures_of_all_classes_alike_change_nothing(self):
        found = inverse(np.array([[[0.4, 0.1, 0.5], [0.2, 0.3, 0.5]]]), 100.0)
        np.testing.assert_allclose(found, [[[1.5, -0.5], [-1.0, 2.0]]], atol=1e-12)

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 1000), k=st.integers(2, 6))
    def test_on_average_over_labels_and_failures_the_loss_is_that_of_the_truth(self, seed, k):
        rng = np.random.default_rng(seed)
        transition = 0.6 * np.eye(k, k + 1) + 0.4 * rng.dirichlet(np.ones(k + 1), k)
        loss = rng.exponential(1, k)
        corrected = inverse(transition[None], 1e6)[0] @ loss
        answered = transition[:, :-1].sum() / k
        np.testing.assert_allclose(transition[:, :-1] @ corrected, answered * loss, atol=1e-9)

    def test_it_is_that_of_numpy(self):
        transition = 0.5 * np.eye(5, 6) + 0.5 * np.pad(
            np.random.default_rng(0).dirichlet(np.ones(5), 5), ((0, 0), (0, 1))
        )
        np.testing.assert_allclose(inverse(transition[None], 1e6)[0], np.linalg.inv(transition[:, :-1]), atol=1e-9)

    @settings(max_examples=40, deadline=None)
    @given(apart=st.floats(0, 1e-3))
    def test_what_can_hardly_be_told_apart_is_not_blown_up(self, apart):
        nearly = np.array([[[0.5 + apart, 0.5 - apart, 0.0], [0.5, 0.5, 0.0]]])
        found = inverse(nearly, 10.0)[0]
        assert np.abs(found).max() < 1
        np.testing.assert_allclose(found, 0.5, atol=0.2)

    def test_labels_that_never_came_say_nothing(self):
        np.testing.assert_array_equal(inverse(np.array([[[0.0, 0.0, 1.0]] * 2]), 10.0), np.zeros((1, 2, 2)))

    @pytest.mark.parametrize("row", [[0.7, 0.2, 0.0], [1.2, -0.2, 0.0], [np.nan, 0.5, 0.5]])
    def test_rows_that_are_no_distributions_are_refused(self, row):
        with pytest.raises(ValueError, match="rows of a noise matrix must be distributions"):
            inverse(np.array([[row, [0.1, 0.9, 0.0]]]), 10.0)


class TestObjective:
    def test_loss_and_gradient_are_those_of_autograd(self):
        rng = np.random.default_rng(0)
        label, weight = rng.normal(0.25, 1, (9, 4)).astype(np.float32), rng.random(9).astype(np.float32)
        logits = rng.normal(0, 2, (9, 4)).astype(np.float32)
        loss, gradient = signed_cross_entropy(Targets(np.arange(9), label, weight))(logits)
        z = torch.from_numpy(logits).requires_grad_()
        expected = (-(torch.from_numpy(weight[:, None] * label) * z.log_softmax(1))).sum()
        (of_torch,) = torch.autograd.grad(expected, z)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
        np.testing.assert_allclose(gradient, of_torch, atol=1e-5)

    def test_on_labels_taken_at_their_word_it_is_cross_entropy(self):
        targets = make_targets(np.array([0, -1, -1]), np.array([-1, 1, 2]), 3, 5.0)
        logits = np.random.default_rng(0).normal(0, 1, (3, 3)).astype(np.float32)
        ours, plain = signed_cross_entropy(targets)(logits), marginal_likelihood(targets)(logits)
        assert ours[0] == pytest.approx(plain[0], rel=1e-5)
        np.testing.assert_allclose(ours[1], plain[1], atol=1e-6)

    def test_it_may_be_negative(self):
        targets = Targets(np.arange(1), np.array([[1.5, -0.5]], np.float32), np.ones(1, np.float32))
        assert signed_cross_entropy(targets)(np.array([[4.0, 0.0]], np.float32))[0] < 0


def called_the_other(seed, n=1500):
    """Two classes of which the machine calls the first mostly by the other's name; and new items."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 2 * n)
    x = rng.normal(0, 0.6, (2 * n, 2)).astype(np.float32)
    x[:, 0] += np.where(truth == 1, 1.0, -1.0)
    silver = (rng.random(2 * n) < TRANSITION[truth, 1]).astype(int)
    return make_data(x[:n], silver[:n], 2, transition=TRANSITION), x[n:], truth[n:]


class TestFit:
    def test_it_undoes_what_misleads_cross_entropy(self):
        """The condition of this Ĉ is 4: the default of 2 leaves some of its error."""
        plain, clipped, exact = (
            np.mean([accuracy(name, *called_the_other(seed), **limit) for seed in SEEDS])
            for name, limit in (("cross-entropy", {}), ("backward", {}), ("backward", {"max_condition": 10.0}))
        )
        assert plain < 0.75 < clipped and exact > 0.9

    def test_each_item_is_read_by_the_matrix_of_its_stratum(self):
        data, _, _ = called_the_other(0, n=6)
        plain = np.eye(2, 3)
        data = replace(data, transitions=np.stack([plain, TRANSITION]), strata=np.array([0, 1] * 3))
        label = Backward(max_condition=100.0).targets(data).likelihood
        np.testing.assert_allclose(label[0::2], np.eye(2)[data.silver[0::2]])
        np.testing.assert_allclose(label[1::2], np.linalg.inv(TRANSITION[:, :2])[data.silver[1::2]], rtol=1e-5)

    def test_failures_are_left_out(self):
        data, _, _ = called_the_other(0, n=6)
        failed = replace(data, silver=np.array([2, 1, 2, 0, -1, 1]))
        assert Backward().targets(failed).rows.tolist() == [1, 3, 5]

    def test_useless_labels_leave_the_decision_to_gold(self):
        data, x, truth = called_the_other(0)
        gold = np.where(np.arange(1500) < 40, (data.inputs[:, 0] > 0).astype(int), -1)
        useless = replace(data, gold=gold, transitions=np.full((1, 2, 3), 1 / 3))
        logits = Backward(l2=1.0).fit(useless, generator(0)).logits(x)
        assert (logits.argmax(1) == truth).mean() > 0.9
