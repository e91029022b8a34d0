"""Refuses what no estimate can be made of, with a sentence that names it."""

from __future__ import annotations

import numpy as np

from models_ml.arrays import AnyArray, Bools, Floats

# Softmax in float32 over a thousand classes is off by 1e-5 at most.
TOLERANCE = 1e-4
# A matrix per stratum is kept for every fold; beyond this many they are a mistake, such as an item's own number.
MAX_STRATA = 100


def check_labels(what: str, labels: AnyArray, highest: int) -> None:
    """ValueError unless `labels` are whole numbers from -1 (none) to `highest`; `what` names them, in the plural."""
    if labels.dtype.kind not in "iu":
        raise ValueError(f"The {what} must be whole numbers, -1 where there is none; they are {labels.dtype}.")
    if labels.size and not (labels.min() >= -1 and labels.max() <= highest):
        wrong = int(labels[(labels < -1) | (labels > highest)].flat[0])
        raise ValueError(f"Among the {what} is {wrong}, but they go from -1 (none) to {highest}.")


def check_pairs(gold: AnyArray, silver: AnyArray, n_classes: int) -> None:
    """ValueError unless gold int[N] and silver int[N] are labels of these classes; silver may be K, no valid answer."""
    if len(gold) != len(silver):
        raise ValueError(f"There are {len(gold)} gold and {len(silver)} silver labels; both need one per item.")
    check_labels("gold labels", gold, n_classes - 1)
    check_labels("silver labels", silver, n_classes)


def check_distributions(what: str, p: Floats) -> None:
    """ValueError unless p float[..., columns] has rows of probabilities that sum to one."""
    if not np.isfinite(p).all():
        raise ValueError(f"The {what} hold NaN or infinity.")
    if p.size and p.min() < 0:
        raise ValueError(f"The {what} hold {p.min():g}; a probability is at least 0.")
    sums = p.sum(axis=-1, dtype=np.float64)
    if p.size and np.abs(sums - 1).max() > TOLERANCE:
        wrong = sums.flat[np.abs(sums - 1).argmax()]
        raise ValueError(f"The {what} have a row that sums to {wrong:g}, not to 1.")


def check_weights(weight: Floats, used: Bools) -> None:
    """ValueError unless weight float[n] are finite and above 0 where `used` bool[n] holds."""
    if len(weight) != len(used):
        raise ValueError(f"There are {len(weight)} weights for {len(used)} items.")
    if not (np.isfinite(weight[used]).all() and (weight[used] > 0).all()):
        raise ValueError("A weight says how many items one stands for: it must be a number above 0.")


def check_strata(name: str, stratum: AnyArray, n: int) -> None:
    """ValueError unless stratum int[n] numbers at most MAX_STRATA strata from 0."""
    if len(stratum) != n:
        raise ValueError(f"The strata {name!r} have {len(stratum)} entries for {n} items.")
    if stratum.dtype.kind not in "iu":
        raise ValueError(f"The strata {name!r} must be numbered by whole numbers from 0; they are {stratum.dtype}.")
    if n and not (stratum.min() >= 0 and stratum.max() < MAX_STRATA):
        raise ValueError(
            f"The strata {name!r} go from {stratum.min()} to {stratum.max()}; number them from 0, at most {MAX_STRATA}."
        )
