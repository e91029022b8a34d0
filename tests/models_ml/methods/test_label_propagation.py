from dataclasses import replace

import numpy as np
import pytest

from models_ml import methods
from models_ml.seeds import generator
from tests.models_ml.methods.held_out import accuracy, make_data, make_groups


def soft_labels(data, **parameters):
    return methods.build("label-propagation", parameters).soft_labels(data, generator(0))


@pytest.fixture(scope="module")
def data():
    return make_data(n=60, d=5, n_gold=6, noise=0.3, failed=0.1)[0]


class TestSoftLabels:
    def test_gold_keeps_its_label_and_weight(self, data):
        soft = soft_labels(data, gold_weight=7.0)
        of_gold = np.isin(soft.rows, np.flatnonzero(data.gold >= 0))
        assert (soft.labels[of_gold] == np.eye(3)[data.gold[soft.rows[of_gold]]]).all()
        assert set(soft.weight[of_gold]) == {7.0} and set(soft.weight[~of_gold]) == {1.0}

    def test_from_gold_alone_silver_says_nothing(self, data):
        other = replace(data, silver=(data.silver + 1) % 4)
        a, b = (soft_labels(some, gold_weight="inf") for some in (data, other))
        assert a.labels.tobytes() == b.labels.tobytes()

    def test_silver_spreads_by_the_weight_of_gold(self, data):
        """An item takes as much of a silver label as of a gold label λ times weaker."""
        other = replace(data, silver=(data.silver + 1) % 4)
        strong, weak = (
            np.abs(soft_labels(data, gold_weight=w).labels - soft_labels(other, gold_weight=w).labels).max()
            for w in (1.0, 1e6)
        )
        assert strong > 0.1 and weak < 0.01

    def test_a_failure_spreads_nothing(self, data):
        failed = replace(data, silver=np.full(60, 3))
        unasked = replace(data, silver=np.full(60, -1))
        assert soft_labels(failed).labels.tobytes() == soft_labels(unasked).labels.tobytes()

    def test_an_item_that_nothing_reaches_does_not_train(self, data):
        x = data.inputs.copy()
        x[50] = 0
        silver = np.where(np.arange(60) == 50, 3, data.silver)
        assert 50 not in soft_labels(replace(data, inputs=x, silver=silver)).rows


def test_it_beats_taking_silver_at_its_word_where_items_lie_in_groups_and_most_silver_failed():
    problems = [make_groups(seed) for seed in range(3)]
    plain, of_gold = accuracy("cross-entropy", problems), accuracy("gold-only", problems)
    assert plain > 0.7
    assert accuracy("label-propagation", problems) > max(plain, of_gold) + 0.05
