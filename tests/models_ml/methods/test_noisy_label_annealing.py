import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_ml import methods
from models_ml.methods.noisy_label_annealing import annealed, contradicted
from models_ml.training.loop import Batch, State
from tests.models_ml.methods.held_out import accuracy, make_data

NEVER = 10**9  # steps, so that the threshold stays at the first


def make_batch(logits, labels, is_gold):
    """Items whose inputs are their logits."""
    n, k = np.shape(logits)
    return Batch(
        x=torch.tensor(logits, dtype=torch.float32),
        likelihood=torch.eye(k)[labels],
        weight=torch.ones(n),
        rows=torch.arange(n),
        is_gold=torch.tensor(is_gold),
        epoch=0,
        reference_batch=lambda: None,
    )


def loss(batch, step=0, n_steps=NEVER):
    state = State([], {"step": step, "n_steps": n_steps})
    (value,) = methods.build("noisy-label-annealing").step(state, [lambda x: x], batch, np.random.default_rng(0))
    return value.item()


class TestThreshold:
    def test_it_falls_in_a_straight_line_to_one_in_k(self):
        assert [annealed(t, 0.9, 4) for t in (0, 0.5, 1)] == pytest.approx([0.9, 0.575, 0.25])

    def test_by_hand(self):
        p, label = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4]]), torch.tensor([1, 0, 1])
        assert contradicted(p, label, 0.9).tolist() == [True, False, False]
        assert contradicted(p, label, 0.5).tolist() == [True, False, True]

    @given(st.integers(0, 99), st.floats(0, 1), st.floats(0, 1))
    def test_a_lower_threshold_passes_over_all_that_a_higher_one_does_and_never_what_agrees(self, seed, a, b):
        rng = np.random.default_rng(seed)
        p, label = torch.tensor(rng.dirichlet(np.ones(3), 8)), torch.tensor(rng.integers(0, 3, 8))
        few, many = contradicted(p, label, max(a, b)), contradicted(p, label, min(a, b))
        assert (few <= many).all() and not many[p.argmax(dim=1) == label].any()


class TestStep:
    far = [9.0, 0.0]  # p = .9999 for class 0

    def test_silver_that_is_contradicted_has_no_part_in_the_mean(self):
        """What is left: an even item, ln 2, not halved by the one that is passed over."""
        assert loss(make_batch([self.far, [0, 0]], [1, 1], [False, False])) == pytest.approx(np.log(2))

    def test_gold_is_never_passed_over(self):
        assert loss(make_batch([self.far], [1], [True])) == pytest.approx(9, abs=1e-3)

    def test_nothing_left_is_no_loss(self):
        assert loss(make_batch([self.far, self.far], [1, 1], [False, False])) == 0

    def test_the_last_step_passes_over_all_that_the_model_does_not_agree_with(self):
        batch = make_batch([[0.1, 0], [0, 0.1]], [1, 1], [False, False])
        agreeing = np.log1p(np.exp(-0.1))
        assert loss(batch, 9, 10) == pytest.approx(agreeing, rel=1e-4)
        assert loss(batch, 0, 10) == pytest.approx(agreeing + 0.05, rel=1e-4)

    def test_an_item_comes_back_when_it_is_no_longer_contradicted(self):
        state = State([], {"step": 0, "n_steps": NEVER})
        method = methods.build("noisy-label-annealing")
        values = [
            method.step(state, [lambda x: x], make_batch([logits], [1], [False]), np.random.default_rng(0))[0].item()
            for logits in (self.far, [0, 0])
        ]
        assert values == pytest.approx([0, np.log(2)])


def test_it_beats_taking_silver_at_its_word_where_wrong_labels_can_be_learned_by_heart():
    problems = [make_data(seed=seed) for seed in range(3)]
    plain = accuracy("cross-entropy", problems, l2=0.01)
    same_steps = accuracy("early-learning", problems, l2=0.01, variant="elr", strength=0.0)  # cross-entropy too
    assert min(plain, same_steps) > 0.4
    assert accuracy("noisy-label-annealing", problems, l2=0.01) > max(plain, same_steps) + 0.03
