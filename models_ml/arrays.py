"""The array types that signatures speak of; shapes stand in the docstrings. Each name means one kind of number."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]  # labels, folds: -1 where there is none
Positions = NDArray[np.int64]  # rows of other arrays
Floats = NDArray[np.floating[Any]]  # of any precision: taken, and widened inside
Bools = NDArray[np.bool_]
Array = NDArray[np.float32]  # what a classifier takes and gives: inputs, logits, predictions
Vectors = Array  # (n, d) of an encoder, or (K,) for one distribution
Matrix = NDArray[np.float64]  # what is estimated and stored: noise matrices, posteriors
AnyArray = NDArray[Any]  # named arrays of a file
