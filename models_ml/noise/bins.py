"""From numbers that can be observed of an item (its length, a confidence) to strata."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models_ml.arrays import Floats, Positions


def binned(values: Floats, edges: Sequence[float]) -> Positions:
    """Bin of each value, int64[N]: 0 below the first edge, one more from every edge on; NaN has the last bin alone.

    `edges` rise and are fixed beforehand: quantiles of the values at hand would carry something of every item into
    the strata of all others. ValueError where they do not rise.
    """
    if any(low >= high for low, high in zip(edges[:-1], edges[1:], strict=True)):
        raise ValueError(f"The edges of bins must rise: {list(edges)}.")
    found = np.digitize(values, np.asarray(edges, np.float64))
    return np.asarray(np.where(np.isnan(values), len(edges) + 1, found), np.int64)
