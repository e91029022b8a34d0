from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from models_ml import methods
from models_ml.methods.distillation import average_precision, risk_share
from models_ml.seeds import generator
from tests.models_ml.methods.held_out import accuracy, make_data, make_tree


def method(**parameters):
    return methods.build("distillation", parameters)


def flipped(rate, n_gold=100):
    """Two classes; the machine names the other one at this rate."""
    return [make_data(k=2, d=10, distance=0.6, n=400, noise=rate, n_gold=n_gold, seed=seed) for seed in range(2)]


class TestShare:
    def test_risks_by_hand(self):
        """R_s = (.02 + .08 + 5·½)/7 = 2.6/7; silver has (1 + 1)/(2 + 5) errors, R_ỹ = 4/7."""
        share = risk_share(np.array([0, 1]), np.array([0, 0]), np.float32([[0.9, 0.1], [0.2, 0.8]]))
        assert share == pytest.approx(2.6 / 6.6)

    def test_nothing_measured(self):
        """R_s = 1 - 1/4, R_ỹ = 2·.2."""
        none = np.zeros(0, np.int64)
        assert risk_share(none, none, np.zeros((0, 4), np.float32)) == pytest.approx(0.75 / 1.15)

    @given(st.integers(0, 20), st.floats(0, 1))
    def test_it_lies_between_0_and_1_and_falls_with_errors_of_silver(self, errors, certain):
        gold = np.zeros(20, np.int64)
        beliefs = np.tile(np.float32([certain, 1 - certain]), (20, 1))
        share = risk_share(gold, (np.arange(20) < errors).astype(np.int64), beliefs)
        assert 0 < share < 1
        if errors < 20:
            assert share > risk_share(gold, (np.arange(20) <= errors).astype(np.int64), beliefs)

    def test_the_published_way_trusts_bad_silver_more(self):
        (data, _, _), *_ = flipped(0.8)
        by_risk, by_precision, published = (
            method(trust=trust).silver_share(data, generator(0)) for trust in ("risk", "precision", "published")
        )
        assert by_risk < by_precision < 0.5 < published
        assert published == pytest.approx(1 - by_precision)

    def test_gold_outside_the_reference_sample_measures_nothing(self):
        (data, _, _), *_ = flipped(0.2)
        outside = replace(data, reference=np.zeros(400, bool))
        assert method().silver_share(outside, generator(0)) == pytest.approx(0.5 / (0.5 + 0.4))


class TestAveragePrecision:
    def test_by_hand(self):
        """Falling: a hit (1 of 1), a miss and a hit with the same score (2 of 3)."""
        scores, hits = np.array([0.9, 0.5, 0.5]), np.array([True, False, True])
        assert average_precision(scores, hits) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)

    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
    def test_it_is_that_of_scikit_learn(self, items):
        scores, hits = np.array([s for s, _ in items], float), np.array([h for _, h in items])
        if hits.any():
            assert average_precision(scores, hits) == pytest.approx(average_precision_score(hits, scores))


class TestSoftLabels:
    def labels(self, data, **parameters):
        """Labels of all items, those of silver ones as (machine's, mixed)."""
        soft = method(**parameters).soft_labels(data, generator(0))
        return soft, data.gold[soft.rows] >= 0

    def test_gold_keeps_its_label_and_silver_is_mixed(self):
        (data, _, _), *_ = flipped(0.2)
        soft, is_gold = self.labels(data)
        assert (soft.labels[is_gold] == np.eye(2)[data.gold[soft.rows[is_gold]]]).all()
        share = method().silver_share(data, generator(0))
        silver = data.silver[soft.rows[~is_gold]]
        of_machine = soft.labels[~is_gold][np.arange(len(silver)), silver]
        assert (of_machine >= share - 1e-6).all() and (of_machine < 1).all()

    def test_failures_stay_out(self):
        data = make_data(n=60, d=5, failed=0.5)[0]
        soft, is_gold = self.labels(data)
        assert (data.silver[soft.rows[~is_gold]] < 3).all()

    def test_a_label_graph_passes_beliefs_on(self):
        """Where each class passes everything to the other one, .3 of s changes places: ŝ_k = .7·s_k + .3·(1 - s_k)."""
        (data, _, _), *_ = flipped(0.2)
        data = replace(data, reference=np.zeros(400, bool))  # so that the share stays what it is
        share = 0.5 / 0.9
        plain, is_gold = self.labels(data, graph_share=0.3)
        swapped, _ = self.labels(replace(data, label_graph=np.array([[0.0, 1.0], [1.0, 0.0]])), graph_share=0.3)
        silver = np.eye(2)[data.silver[plain.rows[~is_gold]]]
        s, passed_on = ((soft.labels[~is_gold] - share * silver) / (1 - share) for soft in (plain, swapped))
        np.testing.assert_allclose(passed_on, 0.7 * s + 0.3 * (1 - s), atol=1e-5)

    def test_a_temperature_makes_beliefs_less_decided(self):
        (data, _, _), *_ = flipped(0.2)
        data = replace(data, reference=np.zeros(400, bool))
        hot, cold = (self.labels(data, temperature=t)[0].labels.max(axis=1).mean() for t in (5.0, 0.5))
        assert hot < cold


def test_it_beats_taking_silver_at_its_word_and_the_published_weights_where_most_silver_is_wrong():
    problems = flipped(0.8)
    plain = accuracy("cross-entropy", problems, gold_weight=1.0)
    ours = accuracy("distillation", problems, gold_weight=1.0)
    published = accuracy("distillation", problems, gold_weight=1.0, trust="published")
    assert plain < 0.5 and ours > 0.75
    assert ours > published + 0.04


def test_the_label_graph_helps_where_gold_tells_groups_of_classes_apart_better_than_classes():
    problems = [make_tree(seed) for seed in range(2)]
    alone, passed_on = (accuracy("distillation", problems, graph_share=share) for share in (0.0, 1.0))
    assert passed_on > alone + 0.1
