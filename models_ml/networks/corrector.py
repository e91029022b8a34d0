"""A label corrector: from an item's features and its machine label to a distribution over what is true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

# The paper has 128 numbers for a label and wide layers, with a thousand trusted items; here they are some hundred.
LABEL_SIZE, N_HIDDEN = 8, 32
# What it gives to the machine label before it has learned: as right as machines seen so far are (60-95 %).
TRUST = 0.8


@dataclass(frozen=True)
class Corrector:
    """softmax(table[ỹ] + U tanh(W [h, label ỹ]/√size + b)/n): the table corrects by label alone, the rest by item.

    Divided by how many are summed, so that steps of one length move all parts alike: without, the layers ran away.
    """

    parameters: Mapping[str, Tensor]

    def __call__(self, features: Tensor, label: Tensor) -> Tensor:
        """float[b, K], rows sum to 1; features float[b, h], label int64[b] in 0..K-1."""
        import torch

        p = self.parameters
        inputs = torch.cat([features, p["label"][label]], dim=1)
        hidden = (inputs @ p["hidden"] / math.sqrt(inputs.shape[1]) + p["hidden_bias"]).tanh()
        return (p["table"][label] + hidden @ p["out"] / N_HIDDEN).softmax(dim=1)


def make_corrector(n_features: int, n_classes: int, generator: Generator) -> Corrector:
    """One that gives TRUST to each machine label and the rest to all other classes alike, to be trained."""
    import torch

    parameters = {
        "table": torch.eye(n_classes) * math.log(TRUST * max(n_classes - 1, 1) / (1 - TRUST)),
        "label": torch.randn(n_classes, LABEL_SIZE, generator=generator),
        "hidden": torch.randn(n_features + LABEL_SIZE, N_HIDDEN, generator=generator),
        "hidden_bias": torch.zeros(N_HIDDEN),
        "out": torch.zeros(N_HIDDEN, n_classes),
    }
    return Corrector({name: value.requires_grad_() for name, value in parameters.items()})
