"""Observable groups of items that may be labeled differently well by the machine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from benchmarks.noisy_pools import Rows, lengths_of
from models_ml.arrays import Positions
from models_ml.noise.corruption import length_bin

NONE, AUTO, LENGTH, CONFIDENCE = "none", "auto", "length", "confidence"
_CONFIDENCES = ("llm_confidence", "confidence")
MOST = 20  # strata; rarer values share the last one


def strata_of(name: str, rows: Rows) -> Positions:
    """int64[n], from 0: bins of lengths, of the machine's confidence, or the values of a field of the files."""
    if name == LENGTH:
        return length_bin(lengths_of(rows))
    if name == CONFIDENCE:
        return _terciles(np.array([_confidence(row) for row in rows], np.float64))
    values = [str(row.get(name)) for row in rows]
    if not any(name in row for row in rows):
        raise ValueError(f"No row has the field {name}, which strata were to be made of.")
    frequent = [value for value, _ in Counter(values).most_common(MOST - 1)]
    places = {value: place for place, value in enumerate(frequent)}
    return np.array([places.get(value, len(frequent)) for value in values], np.int64)


def observable(rows: Rows) -> list[Positions]:
    """All strata that can be made of any files."""
    has_confidence = any(name in row for row in rows for name in _CONFIDENCES)
    return [strata_of(name, rows) for name in ([LENGTH, CONFIDENCE] if has_confidence else [LENGTH])]


def _confidence(row: Any) -> float:
    value = next((row[name] for name in _CONFIDENCES if row.get(name) is not None), None)
    return float(value) if isinstance(value, int | float) else float("nan")


def _terciles(confidence: Any) -> Positions:
    """0 to 2 from unsure to sure, 3 where it is not known."""
    known = np.isfinite(confidence)
    if not known.any():
        raise ValueError("No row has a confidence of the machine (llm_confidence), which strata were to be made of.")
    bins = np.digitize(confidence, np.quantile(confidence[known], [1 / 3, 2 / 3]))
    return np.where(known, bins, 3).astype(np.int64)
