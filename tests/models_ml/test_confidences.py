"""Numbers as files write them, on one scale per column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.confidences import Scale, read, scale_of

FRACTION, PERCENT = Scale.FRACTION, Scale.PERCENT


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.2, 0.9, 1], FRACTION),
        ([87, 92, 0.5], PERCENT),
        (["0,75", "0.9"], FRACTION),
        (["87%", "92%"], FRACTION),  # the sign says it itself
        (["87%", 92, 95], PERCENT),
        ([0.8, 0.9, 92], FRACTION),  # the odd one does not fit
        ([], FRACTION),
        ([1.2], FRACTION),
        ([3, 4, 5], FRACTION),  # marks
        ([None, "", "much", True, [1]], FRACTION),
    ],
)
def test_the_scale_is_what_most_numbers_fit(values, scale):
    assert scale_of(values) is scale


@pytest.mark.parametrize(
    ("value", "scale", "p"),
    [
        (0.87, FRACTION, 0.87), ("0,75", FRACTION, 0.75), (" .5 ", FRACTION, 0.5), ("87%", FRACTION, 0.87),
        ("87\u00a0%", PERCENT, 0.87), (92, PERCENT, 0.92), ("92", PERCENT, 0.92), (0.5, PERCENT, 0.005),
        (1, FRACTION, 1),
        (1.0000001, FRACTION, 1), ("5e-1", FRACTION, 0.5), (92, FRACTION, None), (101, PERCENT, None),
        (-0.1, FRACTION, None),
        ("1,000.5", FRACTION, None), ("0.5.5", FRACTION, None), ("٠.٥", FRACTION, None), ("nan", FRACTION, None),
        (float("inf"), PERCENT, None), (True, FRACTION, None), (None, FRACTION, None), ([0.5], FRACTION, None),
        (10**400, PERCENT, None), ("1e999", PERCENT, None), ("120%", FRACTION, None),
    ],
)  # fmt: skip
def test_a_number_is_a_probability_or_unknown(value, scale, p):
    assert read(value, scale) == (None if p is None else pytest.approx(p))


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.sampled_from(Scale))
def test_it_is_never_out_of_range(value, scale):
    p = read(value, scale)
    assert p is None or 0 <= p <= 1
