from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.losses import generalized_losses
from models_ml.methods.mae import MAE
from tests.models_ml.planted import accuracy, make_data, on_far_outliers


def batch_of(likelihood, is_gold):
    return SimpleNamespace(likelihood=torch.tensor(likelihood), is_gold=torch.tensor(is_gold))


def test_a_machine_label_costs_what_is_missing_to_one_and_gold_its_cross_entropy():
    logits = torch.tensor([[0.2, 0.8], [0.2, 0.8]]).log()
    losses = MAE().item_losses(logits, batch_of([[1.0, 0.0], [1.0, 0.0]], [False, True]))
    assert losses.tolist() == pytest.approx([0.8, 1.609438])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(2, 6))
def test_it_is_half_the_absolute_error_and_sums_to_a_constant_over_labels(seed, k):
    """The sum makes symmetric noise harmless (Ghosh et al. 2017): it adds the same to every classifier's loss."""
    logits = torch.randn(1, k, generator=torch.Generator().manual_seed(seed)) * 3
    labels = torch.eye(k)
    losses = generalized_losses(logits.expand(k, k), labels, 1.0)
    apart = torch.nn.functional.l1_loss(logits.softmax(1).expand(k, k), labels, reduction="none").sum(1)
    np.testing.assert_allclose(losses, apart / 2, atol=1e-5)
    assert float(losses.sum()) == pytest.approx(k - 1, abs=1e-4)


def test_far_wrong_labels_do_not_turn_it():
    assert on_far_outliers("cross-entropy") < 0.65
    assert on_far_outliers("mae") > 0.92


def many_classes(k, n=1200, d=24):
    """k classes whose labels are all right, and new items."""
    rng = np.random.default_rng(0)
    centers, truth = rng.standard_normal((k, d)), rng.integers(0, k, 2 * n)
    x = 0.9 * rng.standard_normal((2 * n, d)) + 1.2 * centers[truth]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return make_data(x[:n], truth[:n], k), x[n:], truth[n:]


def at(name, where, epochs, **parameters):
    return accuracy(name, *where, epochs=epochs, learning_rate=0.03, **{"l2": 0.01, **parameters})


def test_it_is_slow_where_classes_are_many_and_catches_up():
    many = many_classes(60)
    assert at("gce", many, 10, q=0.01) > 0.92  # all but cross-entropy
    assert at("mae", many, 10) < 0.82
    assert at("mae", many, 40) > 0.92


def test_it_is_not_slow_where_classes_are_few():
    few = many_classes(4)
    assert at("mae", few, 3) > 0.97


@pytest.mark.slow
def test_where_classes_are_many_it_needs_a_weaker_l2_however_long_it_trains():
    many = many_classes(60)
    assert at("gce", many, 10, q=0.01, l2=0.1) > 0.92
    assert at("mae", many, 120, l2=0.1) < 0.85
