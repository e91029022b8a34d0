import numpy as np
import pytest

from models_ml.noise.anchors import anchor_transition
from models_ml.noise.dual_t import dual_t_transition

P = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
SILVER = np.array([0, 1, 1, -1])


def test_it_is_anchors_times_counts():
    """y' = 0, 1, 0: of the two said to be 0 silver has 0 and 1; y' = 2 never: its row stays."""
    spades = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    clubs = anchor_transition(P, 2)
    np.testing.assert_allclose(dual_t_transition(P, SILVER, 2), clubs @ spades)


def problem(seed=0, n=4000, sharpness=4.0):
    """Two classes, some items of them certain, and a model of silver that is too sure or too unsure of itself."""
    rng = np.random.default_rng(seed)
    truth = np.array([[0.75, 0.2, 0.05], [0.1, 0.8, 0.1]])
    of_first = np.clip(rng.normal(rng.integers(0, 2, n), 0.2), 0, 1)
    gold = (rng.random(n) > of_first).astype(int)
    posterior = np.stack([of_first, 1 - of_first], axis=1) @ truth
    silver = (rng.random(n)[:, None] > truth[gold].cumsum(axis=1)).sum(axis=1).clip(max=2)
    said = posterior**sharpness / (posterior**sharpness).sum(axis=1, keepdims=True)
    return truth, said, silver


@pytest.mark.parametrize(("sharpness", "at_most", "at_least"), [(4.0, 0.5, 0.0), (0.4, 2.0, 1.0)])
def test_it_puts_a_model_right_that_is_too_sure_not_one_that_is_too_unsure(sharpness, at_most, at_least):
    """Beside anchors alone, the control."""
    truth, p, silver = problem(sharpness=sharpness)
    error = np.abs(dual_t_transition(p, silver, 2) - truth).sum()
    control = np.abs(anchor_transition(p, 2) - truth).sum()
    assert at_least * control < error < at_most * control


def test_rows_sum_to_one():
    truth, p, silver = problem(n=50)
    matrix = dual_t_transition(p, silver, 2)
    assert matrix.shape == (2, 3)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_labels_out_of_range_are_refused():
    with pytest.raises(ValueError, match="silver labels is 3"):
        dual_t_transition(P, np.array([0, 1, 3, 0]), 2)
