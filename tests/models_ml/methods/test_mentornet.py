from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models_ml.methods.mentornet import MentorNet
from models_ml.networks.linear import LinearNetwork
from models_ml.networks.mentor import Traces, fit_mentor
from models_ml.noise.transition import pooled_error
from models_ml.seeds import generator
from models_ml.training.loop import State
from models_ml.training.loss_traces import silver_losses
from tests.models_ml.methods.flips import MOSTLY_WRONG, RANDOM, Flipped, takes_failures_for_labels


def make_batch(is_gold=(False,) * 4, epoch=10):
    n = len(is_gold)
    return SimpleNamespace(
        is_gold=torch.tensor(is_gold), epoch=epoch, rows=torch.arange(n), likelihood=torch.eye(2)[torch.arange(n) % 2]
    )


def weights(method, losses, batch, state=None):
    return method._weights(state or new_state(), torch.tensor(losses), batch)


def networks_for(data):
    return [LinearNetwork(data.inputs.shape[1], data.n_classes, torch.Generator())]


def new_state():
    """No mentor; half of the labels are right."""
    return State([], {"mentor": None, "share_right": 0.5})


class TestPredefined:
    METHOD = MentorNet(curriculum="predefined")

    def test_the_easier_half_counts_where_half_are_right(self):
        assert weights(self.METHOD, [0.1, 3.0, 0.2, 4.0], make_batch()).tolist() == [1, 0, 1, 0]  # the median is 1.6

    def test_the_threshold_is_averaged_over_batches(self):
        """Medians 1 and 3: the threshold is ½·1 + ½·3 = 2, then ½·2 + ½·5 = 3.5."""
        state = new_state()
        for losses, threshold in (([1.0] * 4, 1.0), ([3.0] * 4, 2.0), ([5.0] * 4, 3.5)):
            weights(self.METHOD, losses, make_batch(), state)
            assert float(state.memory["threshold"]) == threshold

    def test_gold_counts_whatever_its_loss_and_moves_no_threshold(self):
        state = new_state()
        batch = make_batch((True, False, False, False))
        assert weights(self.METHOD, [9.0, 1.0, 2.0, 3.0], batch, state).tolist() == [1, 1, 1, 0]
        assert float(state.memory["threshold"]) == 2.0

    def test_all_count_at_first(self):
        assert weights(self.METHOD, [0.1, 3.0, 0.2, 4.0], make_batch(epoch=3)).tolist() == [1, 1, 1, 1]

    def test_a_batch_of_gold_alone(self):
        assert weights(self.METHOD, [0.1, 3.0], make_batch((True, True))).tolist() == [1, 1]

    def test_it_beats_cross_entropy_where_labels_are_wrong_at_random(self):
        """60 features for 300 items: cross entropy learns wrong labels by heart; four of ten are wrong."""
        case = Flipped(RANDOM, n=300, d=60, spread=0.5, seed=1)
        plain = case.accuracy("cross-entropy")
        assert plain < 0.92
        assert case.accuracy("mentornet", curriculum="predefined") > plain + 0.04

    def test_the_share_that_counts_is_as_many_as_are_right(self):
        data = Flipped(RANDOM, n=200).data
        method = MentorNet(curriculum="predefined")
        given = replace(method, noise_rate="given", given_noise_rate=0.1)
        shares = [m.begin(data, networks_for(data), generator(0)).memory["share_right"] for m in (method, given)]
        assert shares == [1 - pooled_error(data.gold, data.silver), 0.9]


class TestMentor:
    def test_it_learns_which_losses_are_those_of_wrong_labels(self):
        loss = torch.linspace(0, 2, 200)
        traces = Traces(loss, torch.ones(200), torch.arange(200) % 3, torch.arange(200) % 100, (loss < 1).float())
        mentor = fit_mentor(traces, 3, torch.Generator().manual_seed(0))
        said = mentor.logits(traces.loss, traces.threshold, traces.label, traces.stage) > 0
        assert (said == (loss < 1)).float().mean() > 0.95

    def test_it_learns_labels_too(self):
        """Of label 0 high losses are right, of label 1 low ones."""
        loss, label = torch.linspace(0, 2, 200), torch.arange(200) % 2
        right = torch.where(label == 0, loss > 1, loss < 1)
        traces = Traces(loss, torch.ones(200), label, torch.zeros(200, dtype=torch.int64), right.float())
        mentor = fit_mentor(traces, 2, torch.Generator().manual_seed(0))
        said = mentor.logits(traces.loss, traces.threshold, traces.label, traces.stage) > 0
        assert (said == right).float().mean() > 0.95

    @pytest.mark.parametrize("epochs", [1, 7, 20, 100, 1000])
    def test_stages_are_hundredths_of_any_training(self, epochs):
        stages = [MentorNet(epochs=epochs).stage(epoch) for epoch in range(epochs)]
        assert stages == sorted(stages) and stages[0] == 0 and stages[-1] == 100 * (epochs - 1) // epochs <= 99


class TestTraces:
    def test_losses_of_all_valid_silver_before_each_epoch(self):
        data = Flipped(RANDOM, n=100).data
        silver = data.silver.copy()
        silver[:5], silver[5:9] = 3, -1
        losses = silver_losses(replace(data, silver=silver), MentorNet(epochs=4), generator(0))
        assert losses.shape == (4, 100)
        assert losses[:, :9].isnan().all() and losses[:, 9:].isfinite().all()
        np.testing.assert_allclose(losses[0, 9:], np.log(3), atol=0.1)  # nothing is known at first
        assert float(losses[3].nanmean()) < float(losses[0].nanmean())

    def test_gold_is_hidden_from_them(self):
        data = Flipped(RANDOM, n=100).data
        other = replace(data, gold=np.where(data.gold >= 0, (data.gold + 1) % 3, -1))
        a, b = (silver_losses(d, MentorNet(epochs=3), generator(0)) for d in (data, other))
        assert a.equal(b)


class TestLearned:
    def test_it_beats_cross_entropy_where_a_class_is_mostly_wrong(self):
        case = Flipped(MOSTLY_WRONG)
        assert case.accuracy("cross-entropy") < 0.85
        assert case.accuracy("mentornet") > case.accuracy("cross-entropy") + 0.1

    def test_below_ten_reference_items_the_curriculum_is_the_predefined_one(self):
        data = Flipped(RANDOM, n=100).data
        data = replace(data, reference=data.reference & (np.arange(100) < 9))
        learned, predefined = MentorNet(epochs=6), MentorNet(epochs=6, curriculum="predefined")
        a, b = (method.fit(data, generator(0)).logits(data.inputs).tobytes() for method in (learned, predefined))
        assert a == b

    @pytest.mark.parametrize(("shift", "low", "high"), [(0, 0.8, 1.0), (1, 0.0, 0.2)])
    def test_a_machine_that_was_always_right_is_believed_and_one_that_never_was_is_not(self, shift, low, high):
        data = Flipped(RANDOM, n=100).data
        silver = np.where(data.gold >= 0, (data.gold + shift) % 3, data.silver)
        mentor = MentorNet(epochs=6)._mentor(replace(data, silver=silver), 0.5, generator(0))
        losses, labels = torch.linspace(0, 2, 30), torch.arange(30) % 3
        v = mentor.logits(losses, torch.ones(30), labels, torch.arange(30) % 6 * 16).sigmoid()
        assert low <= float(v.min()) and float(v.max()) <= high

    def test_gold_outside_the_reference_sample_teaches_no_mentor(self):
        data = Flipped(RANDOM, n=100).data
        no_reference = replace(data, reference=np.zeros(100, np.bool_))
        assert MentorNet()._mentor(no_reference, 0.5, generator(0)) is None
        assert MentorNet(epochs=3)._mentor(data, 0.5, generator(0)) is not None


@pytest.mark.parametrize("curriculum", ["learned", "predefined"])
def test_failures_are_no_labels(curriculum):
    assert not takes_failures_for_labels("mentornet", curriculum=curriculum, epochs=6)
