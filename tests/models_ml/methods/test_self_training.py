from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml import methods
from models_ml.methods.self_training import balanced, class_shares
from models_ml.networks.linear import LinearClassifier
from models_ml.seeds import generator
from tests.models_ml.methods.held_out import accuracy, make_data


def one_hot(labels):
    return np.eye(3, dtype=np.float32)[labels]


class TestBalance:
    def test_shares_are_those_of_the_reference_sample(self):
        data = make_data(n_gold=0)[0]
        gold = np.full(300, -1)
        gold[:6] = [0, 0, 0, 1, 1, 2]
        reference = np.arange(300) < 4  # classes 0, 0, 0, 1
        np.testing.assert_allclose(class_shares(replace(data, gold=gold, reference=reference)), np.array([4, 2, 1]) / 7)

    def test_by_hand(self):
        """Six candidates and four labels: class 0 may have five in all, and has three."""
        label, confidence = np.array([0, 0, 0, 0, 1, 1]), np.float32([0.9, 0.95, 0.8, 0.99, 0.81, 0.82])
        taken = balanced(label, confidence, np.array([3, 1]), np.array([0.5, 0.5]))
        assert sorted(taken.tolist()) == [1, 3, 4, 5]

    @given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1, width=32)), max_size=30), st.integers(0, 20))
    def test_no_class_exceeds_its_share_by_what_is_taken(self, candidates, there):
        label = np.array([k for k, _ in candidates], np.int64)
        confidence = np.array([c for _, c in candidates], np.float32)
        shares, counts = np.array([0.5, 0.3, 0.2]), np.array([there, 2, 0])
        taken = balanced(label, confidence, counts, shares)
        assert len(set(taken.tolist())) == len(taken)
        total = counts + np.bincount(label[taken], minlength=3)
        assert (total <= np.maximum(counts, np.ceil(shares * (len(label) + counts.sum())))).all()
        for k in range(3):
            left = np.setdiff1d(np.flatnonzero(label == k), taken)
            if len(left) and (label[taken] == k).any():
                assert confidence[left].max() <= confidence[taken[label[taken] == k]].min()


class TestOwnLabels:
    """A classifier that is sure of class 0 for every item."""

    sure = LinearClassifier(np.zeros((3, 2), np.float32), np.float32([20, 0, 0]))

    def targets(self, gold, silver, **parameters):
        n = len(gold)
        data = replace(
            make_data(n=n, d=2, n_gold=n)[0],
            gold=np.array(gold),
            silver=np.array(silver),
            reference=np.array(gold) >= 0,
            transitions=np.full((1, 3, 4), 0.25),
        )
        return methods.build("self-training", parameters).own_labels(data, self.sure)

    def test_it_labels_what_failed_and_what_it_does_not_believe(self):
        """Class 0 has three fifths of the reference sample (with one pseudo-item per class), so three of four labels.

        Two are there; of the others, the first of two that are equally sure is labeled.
        """
        targets = self.targets([0, 0, -1, -1], [1, 0, 3, 2])
        assert targets.rows.tolist() == [0, 1, 2, 3]
        assert (targets.likelihood[:3] == one_hot([0, 0, 0])).all()
        np.testing.assert_allclose(targets.likelihood[3], 0.25)

    def test_gold_stays_and_believed_silver_is_read_as_before(self):
        targets = self.targets([1, 2, -1], [0, 0, 0])
        assert (targets.likelihood[:2] == one_hot([1, 2])).all()
        np.testing.assert_allclose(targets.likelihood[2], 0.25)

    def test_a_failure_says_nothing_of_the_class(self):
        data = make_data(n=20, d=2, n_gold=5, failed=0.5)[0]
        targets = methods.build("self-training").targets(data)
        assert (data.silver[targets.rows[data.gold[targets.rows] < 0]] < 3).all()

    def test_it_labels_nothing_that_it_is_not_sure_of(self):
        unsure = LinearClassifier(np.zeros((3, 2), np.float32), np.float32([0.1, 0, 0]))
        data = make_data(n=20, d=2, n_gold=5)[0]
        method = methods.build("self-training", {"threshold": 0.99})
        assert (method.own_labels(data, unsure).likelihood == method.targets(data).likelihood).all()

    def test_beside_gold_alone_items_weigh_what_they_weigh_beside_gold_and_silver(self):
        targets = self.targets([1, 2, -1], [0, 0, 0], gold_weight="inf")
        assert targets.rows.tolist() == [0, 1, 2]
        np.testing.assert_allclose(targets.weight, [1, 1, 1 / 20])


def test_it_beats_taking_silver_at_its_word_and_its_own_start_where_most_answers_failed():
    problems = [make_data(n=600, d=50, distance=0.4, noise=0, failed=0.97, n_gold=12, seed=seed) for seed in range(3)]
    plain = accuracy("cross-entropy", problems, l2=0.3)
    start = accuracy("self-training", problems, l2=0.3, rounds=0)
    assert min(plain, start) > 0.7
    assert accuracy("self-training", problems, l2=0.3) > max(plain, start) + 0.03


@pytest.mark.parametrize("rounds", [0, 1])
def test_without_rounds_it_is_the_corrected_classifier(rounds):
    data, x, _ = make_data(n=100, d=10)
    ours = methods.build("self-training", {"rounds": rounds}).fit(data, generator(0)).logits(x)
    theirs = methods.build("corrected").fit(data, generator(0)).logits(x)
    assert (ours.tobytes() == theirs.tobytes()) == (rounds == 0)
