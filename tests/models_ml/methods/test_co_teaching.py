import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_ml import methods
from models_ml.methods.co_teaching import easiest, kept_share
from models_ml.training.loop import Batch, State
from tests.models_ml.methods.held_out import accuracy, make_data


class TestKeptShare:
    def test_by_hand(self):
        assert [kept_share(t, 0.4, 10, 1) for t in (0, 5, 10, 20)] == pytest.approx([1, 0.8, 0.6, 0.6])
        assert kept_share(2, 0.4, 10, 2) == pytest.approx(1 - 0.4 * 0.4)

    @given(st.floats(0, 1), st.floats(1, 50), st.floats(0.1, 3))
    def test_it_falls_to_what_is_not_wrong_whatever_the_exponent(self, rate, ramp, exponent):
        shares = [kept_share(t, rate, ramp, exponent) for t in range(50)]
        assert shares[0] == 1 and (np.diff(shares) <= 0).all()
        assert kept_share(10**20, rate, ramp, exponent) == pytest.approx(1 - rate)


def test_the_easiest_are_all_gold_and_the_silver_with_small_losses():
    losses, is_gold = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.7]), torch.tensor([True, False, False, False, False])
    assert sorted(easiest(losses, is_gold, 0.5).tolist()) == [0, 1, 3]
    assert easiest(losses, is_gold, 0.0).tolist() == [0]


class TestStep:
    def losses(self, share):
        """Two items of class 0; network A is even on the first and three to one on the second, B the other way."""
        items = Batch(
            x=torch.tensor([0, 1]),
            likelihood=torch.tensor([[1.0, 0], [1.0, 0]]),
            weight=torch.ones(2),
            rows=torch.arange(2),
            is_gold=torch.tensor([False, False]),
            epoch=1,
            reference_batch=lambda: None,
        )
        even, sure = [0.0, 0.0], [np.log(3), 0.0]
        networks = [torch.tensor(logits).__getitem__ for logits in ([even, sure], [sure, even])]
        method = methods.build("co-teaching", {"ramp": 1.0})
        state = State([], {"rate": 1 - share, "items": items, "order": np.array([1, 0])})
        return [value.item() for value in method.step(state, networks, items, np.random.default_rng(0))]

    def test_each_learns_what_its_peer_finds_easy_and_the_mean_is_divided_once(self):
        assert self.losses(0.5) == pytest.approx([np.log(2), np.log(2)])

    def test_everything_kept_is_the_plain_mean(self):
        assert self.losses(1.0) == pytest.approx([(np.log(2) + np.log(4 / 3)) / 2] * 2)

    def test_nothing_kept_is_no_loss(self):
        assert self.losses(0.0) == [0, 0]


def test_the_second_network_sees_all_items_in_an_order_of_its_own():
    data = make_data(n=40)[0]
    method = methods.build("co-teaching", {"batch_size": 10, "epochs": 1})
    seen = []

    class Watched(type(method)):
        def _taught(self, network, peer, batch, share):
            seen.append(batch.rows.tolist())
            return super()._taught(network, peer, batch, share)

    Watched(batch_size=10, epochs=1).fit(data, np.random.default_rng(0))
    first, second = sum(seen[::2], []), sum(seen[1::2], [])
    assert sorted(first) == sorted(second) == list(range(40)) and first != second


def test_it_beats_taking_silver_at_its_word_where_wrong_labels_can_be_learned_by_heart():
    problems = [make_data(seed=seed) for seed in range(3)]
    plain = accuracy("cross-entropy", problems, l2=0.01)
    everything = accuracy("co-teaching", problems, l2=0.01, noise_rate="given", given_noise_rate=0.0)
    assert min(plain, everything) > 0.4
    assert accuracy("co-teaching", problems, l2=0.01) > max(plain, everything) + 0.1
