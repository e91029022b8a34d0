"""Adam whose rows can wait ends where torch's Adam ends."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from models_ml.training.lazy_adam import LazyRows, _Drift

RATE = 5e-4  # as the network of words is trained


def train(steps, *, lazy, rate=RATE, falls=False, n_rows=400, dtype=torch.float32, n_reads=1):
    """A table and a head, trained on rows of which few are frequent; lazy: rows wait."""
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(3)
    table = torch.nn.Parameter(torch.empty(n_rows, 8, dtype=dtype).uniform_(-0.02, 0.02, generator=generator))
    head = torch.nn.Parameter(torch.empty(3, 8, dtype=dtype).normal_(0, 0.3, generator=generator))
    adam = torch.optim.Adam([{"params": [table]}, {"params": [head], "weight_decay": 0.1}], lr=rate)
    waiting = LazyRows(table, adam) if lazy else None
    frequent = 1 / np.arange(1, n_rows + 1)
    for step in range(steps):
        if falls:
            for group in adam.param_groups:
                group["lr"] = rate * (1 - step / steps)
        loss = 0.0
        for _ in range(n_reads):
            x = torch.from_numpy(rng.choice(n_rows, (20, 5), p=frequent / frequent.sum()))
            rows, places = torch.unique(x, return_inverse=True)
            read = waiting.of(rows) if waiting else table[rows]
            y = torch.from_numpy(rng.integers(0, 3, 20))
            loss = loss + cross_entropy(read[places].mean(dim=1) @ head.T, y)
        adam.zero_grad()
        loss.backward()
        adam.step()
    if waiting:
        waiting.catch_up()
    return np.concatenate([table.detach().numpy().ravel(), head.detach().numpy().ravel()])


@pytest.mark.parametrize("options", [{}, {"falls": True}, {"n_reads": 2}, {"dtype": torch.float64}])
def test_it_ends_where_torch_ends(options):
    lazy, dense = (train(200, lazy=lazy, **options) for lazy in (True, False))
    np.testing.assert_allclose(lazy, dense, atol=1e-6)
    assert np.abs(dense - train(1, lazy=False, **options)).max() > 1e-2  # 200 steps are a long way


@pytest.mark.parametrize("steps", [1, 2, 49, 50, 51, 120])
def test_it_ends_there_after_any_number_of_steps(steps):
    lazy, dense = (train(steps, lazy=lazy, rate=0.01) for lazy in (True, False))
    np.testing.assert_allclose(lazy, dense, atol=1e-5)


def table_of(values, **options):
    table = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
    adam = torch.optim.Adam([table], **options)
    return table, adam, LazyRows(table, adam)


def test_a_row_that_waits_goes_on_as_momentum_says():
    """By hand: one gradient of 1, then three steps without. m is .1, .09, .081, .0729 and v .001, .000999, …"""
    _, adam, waiting = table_of([[0.0], [0.0]], lr=1.0, eps=0.5)
    moved = 0.0
    for step in range(4):
        waiting.of(torch.tensor([0 if step == 0 else 1])).sum().backward()
        adam.step()
        m, v = 0.1 * 0.9**step / (1 - 0.9 ** (step + 1)), 0.001 * 0.999**step / (1 - 0.999 ** (step + 1))
        moved -= m / (v**0.5 + 0.5)
    with torch.no_grad():
        assert waiting.of(torch.tensor([0])).item() == pytest.approx(moved, abs=1e-12)


def test_two_terms_are_the_whole_sum():
    drift, t, s = _Drift(0.9, 0.999), 400, 250
    for step in range(1, t + 1):
        drift.add(step, lr=1e-3 * step)
    steps = np.arange(s + 1, t + 1)
    w = 1e-3 * steps * 0.9 ** (steps - s) / (1 - 0.9**steps)
    a = 0.999 ** ((steps - s) / 2) / np.sqrt(1 - 0.999**steps)
    w1, a1, w2, a2 = (node[0] for node in drift.nodes(np.array([s])))
    for root in (0.0, 1e-9, 1e-8, 1e-6, 1.0):
        expected = (w / (a * root + 1e-8)).sum()
        assert w1 / (a1 * root + 1e-8) + w2 / (a2 * root + 1e-8) == pytest.approx(expected, rel=1e-6)


def test_what_nobody_makes_a_loss_of_is_left_alone():
    table, adam, waiting = table_of([[1.0, 1.0]] * 3, lr=0.1)
    waiting.of(torch.tensor([0]))
    adam.step()
    assert table.detach().tolist() == [[1.0, 1.0]] * 3


def test_weight_decay_of_a_table_is_refused():
    with pytest.raises(ValueError, match="weight decay moves every row"):
        table_of([[1.0]], lr=0.1, weight_decay=0.1)
