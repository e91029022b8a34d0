"""The mentor: a small network that says from its loss how likely a machine label is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

# Training is told in hundredths, so that a mentor means the same in trainings of another length.
N_STAGES = 100
# Sizes as published: two numbers say which label, five which stage, and 20 hidden units read them.
LABEL_SIZE, STAGE_SIZE, N_HIDDEN = 2, 5, 20
# The published length of a step. On eight made-up sets of 60 traced items 30 steps served as well as 150, and 8 points
# better where that many learned the items by heart.
N_STEPS, RATE = 30, 0.1
# A few dozen items lie behind thousands of traces; without it the mentor learns single stages by heart.
DECAY = 1e-3


@dataclass(frozen=True)
class Traces:
    """What losses looked like while labels were learned: loss float[m], threshold float[m], label int64[m] in 0..K-1,
    stage int64[m] in 0..99, right float[m]: 1 where the label is the truth.
    """

    loss: Tensor
    threshold: Tensor
    label: Tensor
    stage: Tensor
    right: Tensor


@dataclass(frozen=True)
class Mentor:
    """sigmoid(o · tanh(W [ℓ, ℓ - threshold, label, stage] + b) + c), losses as shares of log K."""

    parameters: Mapping[str, Tensor]
    n_classes: int

    def logits(self, loss: Tensor, threshold: Tensor, label: Tensor, stage: Tensor) -> Tensor:
        """float[m]; above 0: rather right than wrong. Arguments as in Traces."""
        import torch

        p, scale = self.parameters, math.log(max(self.n_classes, 2))
        numbers = torch.stack([loss, loss - threshold], dim=1) / scale
        inputs = torch.cat([numbers, p["label"][label], p["stage"][stage]], dim=1)
        return (inputs @ p["hidden"] + p["hidden_bias"]).tanh() @ p["out"] + p["out_bias"]


def fit_mentor(traces: Traces, n_classes: int, generator: Generator) -> Mentor:
    """The mentor that tells right labels from wrong ones in these traces, by cross entropy."""
    import torch

    shapes = {
        "label": (n_classes, LABEL_SIZE),
        "stage": (N_STAGES, STAGE_SIZE),
        "hidden": (2 + LABEL_SIZE + STAGE_SIZE, N_HIDDEN),
        "hidden_bias": (N_HIDDEN,),
        "out": (N_HIDDEN,),
        "out_bias": (),
    }
    parameters = {
        name: (torch.randn(shape, generator=generator) * 0.3).requires_grad_() for name, shape in shapes.items()
    }
    mentor = Mentor(parameters, n_classes)
    optimiser = torch.optim.Adam(parameters.values(), lr=RATE, weight_decay=DECAY)
    for _ in range(N_STEPS):
        optimiser.zero_grad()
        z = mentor.logits(traces.loss, traces.threshold, traces.label, traces.stage)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, traces.right)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return Mentor({name: value.detach() for name, value in parameters.items()}, n_classes)
