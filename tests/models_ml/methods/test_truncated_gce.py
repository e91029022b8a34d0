from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml import methods
from models_ml.methods.truncated_gce import TruncatedGCE, pruned
from models_ml.seeds import generator
from tests.models_ml.planted import far_outliers, on_far_outliers
from tests.models_ml.problems import make_snapshot


def fitted_with_memory(data, **parameters):
    """The classifier, and what it kept in the end."""
    seen = {}

    class Looks(TruncatedGCE):
        def finish(self, state, networks):
            seen.update(state.memory)
            return super().finish(state, networks)

    classifier = Looks(**parameters).fit(data, generator(0))
    return classifier, seen["kept"].numpy()


class TestPruned:
    P = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.6])

    def test_what_is_no_likelier_than_k_goes(self):
        assert pruned(self.P, 0.5, 1.0).tolist() == [False, True, True, True, False]

    def test_no_more_than_the_share_goes_the_least_likely_first(self):
        assert pruned(self.P, 0.5, 0.4).tolist() == [False, True, False, True, False]

    def test_what_is_likelier_than_k_stays_however_large_the_share(self):
        assert pruned(self.P, 0.2, 1.0).tolist() == [False, True, False, False, False]

    def test_of_nothing_nothing_goes(self):
        assert pruned(torch.zeros(0), 0.5, 0.5).tolist() == []

    @settings(max_examples=40, deadline=None)
    @given(
        p=st.lists(st.floats(0, 1, width=32), max_size=12), k=st.floats(0, 1, width=32), most=st.floats(0, 1, width=32)
    )
    def test_whatever_goes_is_unlikely_and_nothing_less_likely_stays(self, p, k, most):
        p = torch.tensor(p, dtype=torch.float32)
        gone = pruned(p, k, most)
        assert int(gone.sum()) <= most * len(p)
        assert (p[gone] <= k).all()
        if gone.any() and not gone.all():
            assert p[gone].max() <= p[~gone].min()


class TestFit:
    def test_most_of_what_it_leaves_out_is_wrong(self):
        data, wrong, _, _ = far_outliers(0)
        _, kept = fitted_with_memory(data, gold_weight=1.0, l2=1.0)
        gone = kept == 0
        assert gone.sum() > 20
        assert wrong[gone].mean() > 0.6 > 5 * wrong.mean()
        assert not gone[data.gold >= 0].any()

    def test_before_labels_are_left_out_it_is_gce(self):
        snapshot, _ = make_snapshot()
        data = snapshot.training_data(snapshot.fold >= 0, np.full((3, 4), 0.25))
        parameters = {"gold_weight": 1.0, "l2": 1.0, "epochs": 5}
        never = methods.build("truncated-gce", {**parameters, "prune_from": 5}).fit(data, generator(0))
        gce = methods.build("gce", parameters).fit(data, generator(0))
        at_once = methods.build("truncated-gce", {**parameters, "prune_from": 1}).fit(data, generator(0))
        assert never.weight.tobytes() == gce.weight.tobytes() != at_once.weight.tobytes()

    def test_with_many_classes_it_does_not_leave_out_all(self):
        snapshot, _ = make_snapshot(k=50)
        data = snapshot.training_data(snapshot.fold >= 0, np.full((50, 51), 1 / 51))
        _, kept = fitted_with_memory(data, l2=10.0, epochs=8)
        assert 0.5 < kept.mean() < 1

    def test_failures_are_nobodys_label(self):
        snapshot, _ = make_snapshot()
        failed = np.where(snapshot.gold < 0, 3, snapshot.silver)
        data = replace(snapshot, silver=failed).training_data(snapshot.fold >= 0, np.full((3, 4), 0.25))
        classifier, kept = fitted_with_memory(data, epochs=8)
        assert kept.all() and np.isfinite(classifier.weight).all()


def test_far_wrong_labels_do_not_turn_it():
    assert on_far_outliers("cross-entropy") < 0.65
    assert on_far_outliers("truncated-gce") > 0.92


def test_its_parameters_are_checked():
    with pytest.raises(ValueError, match="k must be between 0 and 1"):
        methods.build("truncated-gce", {"k": 2})
