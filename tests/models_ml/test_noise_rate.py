from dataclasses import replace

import numpy as np
import pytest

from models_ml.noise.rate import pooled_noise_rate
from tests.models_ml.planted import make_data


def rate_of(gold, silver, reference=None):
    data = make_data(np.zeros((len(gold), 2)), np.array(silver), 2, np.array(gold))
    return pooled_noise_rate(data if reference is None else replace(data, reference=np.array(reference)))


def test_by_hand():
    """One of four is wrong; five answers of the prior hold one error."""
    assert rate_of([0, 0, 1, 1, -1], [0, 1, 1, 1, 0]) == pytest.approx((1 + 1) / (4 + 5))


def test_a_failure_is_no_wrong_label():
    assert rate_of([0, 0, 1, 1], [0, 2, 2, -1]) == pytest.approx(1 / (1 + 5))


def test_gold_outside_the_reference_sample_says_nothing():
    assert rate_of([0, 0, 1, 1], [1, 1, 0, 0], [False] * 4) == pytest.approx(0.2)
