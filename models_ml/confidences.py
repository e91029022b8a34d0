"""How sure a machine says it is: numbers as files write them (0.87, "0,87", 87, 87%), on one scale per column."""

import math
import re
from collections.abc import Iterable
from enum import StrEnum

_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(%?)")
_RATING = 10  # numbers up to here may be marks from 1 to 5 or 10, which say no probability
_SLACK = 1e-6  # a softmax in float32 may end just above 1


class Scale(StrEnum):
    """What the numbers of a column are of."""

    FRACTION = "fraction"  # of 1
    PERCENT = "percent"  # of 100


def scale_of(values: Iterable[object]) -> Scale:
    """Percent if of the numbers without a percent sign most are above 1, and one above 10; else fractions."""
    found = [parsed for value in values if (parsed := _parsed(value))]
    numbers = [number for number, is_percent in found if not is_percent]
    is_percent = 2 * sum(number > 1 for number in numbers) > len(numbers) and max(numbers) > _RATING
    return Scale.PERCENT if is_percent else Scale.FRACTION


def read(value: object, scale: Scale) -> float | None:
    """The probability that `value` says, 0 to 1; None if it is no number, or does not fit the scale.

    What has a percent sign is percent on either scale.
    """
    found = _parsed(value)
    if found is None:
        return None
    number, is_percent = found
    p = number / 100 if is_percent or scale is Scale.PERCENT else number
    return min(p, 1.0) if 0 <= p <= 1 + _SLACK else None


def _parsed(value: object) -> tuple[float, bool] | None:
    """The number in a value, and whether it has a percent sign."""
    if isinstance(value, str):
        found = _NUMBER.fullmatch(value.strip())
        number, sign = (found[1].replace(",", "."), found[2]) if found else ("nan", "")
        value = float(number)
    else:
        sign = ""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e6 or not math.isfinite(value):
        return None
    return float(value), bool(sign)
