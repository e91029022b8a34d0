import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml import methods
from models_ml.losses import curriculum
from models_ml.methods.curriculum import threshold
from models_ml.methods.npcl import NPCL
from models_ml.seeds import generator
from tests.models_ml.planted import SEEDS, accuracy, called_the_next, far_outliers, on_far_outliers


def value(losses, v, c):
    return max(float(losses[v].sum()), c - int(v.sum()))


class TestSelection:
    @settings(max_examples=60, deadline=None)
    @given(losses=st.lists(st.integers(0, 40), max_size=12), c=st.integers(-8, 120))
    def test_no_other_choice_is_better(self, losses, c):
        """Quarters, so that sums are exact and ties are many."""
        losses, c = torch.tensor(losses, dtype=torch.float64) / 4, c / 4
        n = len(losses)
        every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=torch.float64).reshape(2**n, n)
        least = torch.maximum(every @ losses, c - every.sum(dim=1)).min()
        assert value(losses, curriculum(losses, c), c) == float(least)

    def test_places_are_counted_from_one(self):
        """The first is in, for 0 ≤ 2 + 1 - 1; the second is not, for 2 > 2 + 1 - 2. Counted from 0 it would be."""
        losses = torch.tensor([2.0, 0.0])
        v = curriculum(losses, 2.0)
        assert v.tolist() == [False, True]
        assert value(losses, v, 2.0) == 1 < value(losses, torch.tensor([True, True]), 2.0)

    def test_the_threshold_by_hand(self):
        """Ten labels, four not predicted, half of all wrong: .25·10 + .5·4."""
        assert threshold(torch.tensor([2.0] * 4 + [0.5] * 6), 0.5) == 4.5

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 1000), a=st.floats(0, 0.9), b=st.floats(0, 0.9))
    def test_the_more_is_wrong_the_less_is_kept(self, seed, a, b):
        losses = 3 * torch.rand(30, generator=torch.Generator().manual_seed(seed))
        few, many = (curriculum(losses, threshold(losses, rate)) for rate in (max(a, b), min(a, b)))
        assert not (few & ~many).any()


class TestNoiseRate:
    def test_auto_is_what_the_reference_sample_shows(self):
        data, _, _, _ = far_outliers(0)
        wrong = replace(data, silver=np.where(data.gold >= 0, 1 - data.gold, data.silver))
        rates = [NPCL().share_wrong(some) for some in (data, wrong)]
        n_wrong = np.count_nonzero((data.gold >= 0) & (data.gold != data.silver))
        assert rates == [(n_wrong + 1) / 25, (20 + 1) / 25]

    def test_given_is_what_is_given(self):
        data, _, _, _ = far_outliers(0)
        assert methods.build("npcl", {"noise_rate": "given", "given_noise_rate": 0.3}).share_wrong(data) == 0.3

    def test_at_zero_it_is_the_curriculum_loss(self):
        data, _, _, _ = far_outliers(0)
        same = {"epochs": 4, "l2": 1.0}
        none = methods.build("npcl", {**same, "noise_rate": "given", "given_noise_rate": 0}).fit(data, generator(0))
        assert none.weight.tobytes() == methods.build("curriculum", same).fit(data, generator(0)).weight.tobytes()

    def test_another_word_is_refused(self):
        with pytest.raises(ValueError, match="noise_rate must be one of auto, given"):
            methods.build("npcl", {"noise_rate": "0.3"})


def test_far_wrong_labels_do_not_turn_it():
    assert on_far_outliers("cross-entropy") < 0.65
    assert on_far_outliers("npcl") > 0.92


@pytest.mark.slow
def test_where_many_labels_are_wrong_the_noise_rate_helps():
    """As published: the curriculum loss alone leaves out too little."""
    plain, curriculum_loss, pruned = (
        np.mean([accuracy(name, *called_the_next(seed), gold_weight=5.0) for seed in SEEDS])
        for name in ("cross-entropy", "curriculum", "npcl")
    )
    assert plain + 0.05 < curriculum_loss < pruned - 0.02
