from dataclasses import replace

import numpy as np
import pytest
import torch

from models_ml.methods.fasten import FasTEN, running_transition
from models_ml.seeds import generator
from tests.models_ml.methods.flips import MOSTLY_WRONG, Flipped, takes_failures_for_labels


def watch(data, **parameters):
    """Ĉ after each step, and the labels that silver has become."""
    seen = []

    class Watched(FasTEN):
        def step(self, state, networks, batch, rng):
            losses = super().step(state, networks, batch, rng)
            seen.append((state.memory["transition"], state.memory["labels"]))
            return losses

    Watched(**parameters).fit(data, generator(0))
    return seen


class TestRunningTransition:
    def test_rows_move_a_tenth_of_the_way_to_the_mean_of_their_class(self):
        """Class 0: mean of (.2, .8) and (.4, .6) is (.3, .7): .9·(1, 0) + .1·(.3, .7) = (.93, .07); no gold of 1."""
        predicted = torch.tensor([[0.2, 0.8], [0.4, 0.6]])
        found = running_transition(torch.eye(2), predicted, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        np.testing.assert_allclose(found, [[0.93, 0.07], [0, 1]], atol=1e-6)

    def test_rows_stay_distributions(self):
        rng = np.random.default_rng(0)
        now = torch.eye(4)
        for _ in range(20):
            predicted = torch.from_numpy(rng.dirichlet(np.ones(4), 9))
            now = running_transition(now.double(), predicted, torch.eye(4).double()[rng.integers(0, 4, 9)])
        np.testing.assert_allclose(now.sum(dim=1), 1, atol=1e-9)


class TestTransition:
    def test_it_comes_near_the_noise_that_there_is(self):
        case = Flipped(MOSTLY_WRONG, n=600)
        transition, _ = watch(case.data, gold_weight=1.0, l2=1.0, replace_above=1.0)[-1]
        assert transition.argmax(dim=1).tolist() == [1, 1, 2]
        assert np.abs(transition.numpy() - np.array(MOSTLY_WRONG)).max() < 0.3

    def test_without_reference_gold_silver_is_taken_at_its_word(self):
        data = Flipped(MOSTLY_WRONG, n=200).data
        seen = watch(replace(data, reference=np.zeros(200, np.bool_)), epochs=2)
        assert all(transition.equal(torch.eye(3)) for transition, _ in seen)

    def test_gold_outside_the_reference_sample_estimates_nothing(self):
        data = Flipped(MOSTLY_WRONG, n=200).data
        seen = watch(replace(data, reference=data.gold == 0), epochs=2)
        assert all(transition[1:].equal(torch.eye(3)[1:]) for transition, _ in seen)


class TestReplacing:
    def test_labels_that_are_replaced_are_mostly_right_then(self):
        case = Flipped(MOSTLY_WRONG)
        silver, labels = torch.from_numpy(case.data.silver), watch(case.data, gold_weight=1.0, l2=0.1)[-1][1]
        replaced = (silver != labels).numpy() & (case.data.gold < 0)
        assert replaced.sum() > 50
        assert (labels.numpy() == case.truth_of_data)[replaced].mean() > 0.8

    def test_a_threshold_of_one_replaces_none(self):
        data = Flipped(MOSTLY_WRONG, n=200).data
        silver = torch.from_numpy(data.silver)
        assert all(labels.equal(silver) for _, labels in watch(data, epochs=4, l2=1e-4, replace_above=1.0))


@pytest.mark.parametrize("seed", [0, 1])
def test_it_beats_cross_entropy_where_a_class_is_mostly_wrong(seed):
    case = Flipped(MOSTLY_WRONG, seed=seed)
    plain = case.accuracy("cross-entropy")
    assert plain < 0.85
    assert case.accuracy("fasten") > plain + 0.1


def test_its_second_head_is_no_part_of_what_predicts():
    data = Flipped(MOSTLY_WRONG, n=200).data
    state = FasTEN(epochs=1).fit(data, generator(0)).state()
    assert {name: array.shape for name, array in state.items()} == {"weight": (3, 8), "bias": (3,)}


def test_failures_are_no_labels():
    assert not takes_failures_for_labels("fasten", epochs=4)
