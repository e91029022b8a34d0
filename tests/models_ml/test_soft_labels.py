import numpy as np
import pytest
import torch

from models_ml.training.soft_labels import SoftLabels, soft_cross_entropy


def test_it_is_the_cross_entropy_of_torch_and_its_gradient():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (20, 4)).astype(np.float32), rng.dirichlet(np.ones(4), 20).astype(np.float32)
    weight = rng.random(20).astype(np.float32)
    z = torch.tensor(logits, requires_grad=True)
    losses = torch.nn.functional.cross_entropy(z, torch.tensor(labels), reduction="none")
    theirs = (torch.tensor(weight) * losses).sum()
    theirs.backward()
    loss, gradient = soft_cross_entropy(labels, weight)(logits)
    assert loss == pytest.approx(theirs.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, z.grad, atol=1e-6)


def test_it_is_finite_where_a_label_has_no_probability_left():
    loss, gradient = soft_cross_entropy(np.float32([[0, 1]]), np.float32([1]))(np.float32([[1e5, 0]]))
    assert loss == pytest.approx(1e5)
    np.testing.assert_allclose(gradient, [[1, -1]])


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0], [np.inf, 0.0]])
def test_labels_that_are_no_distributions_are_refused(row):
    with pytest.raises(ValueError, match="soft labels must be distributions"):
        SoftLabels(np.array([0]), np.float32([row]), np.float32([1]))
