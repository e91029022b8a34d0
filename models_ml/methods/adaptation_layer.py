"""A noise matrix that begins as the confusion matrix and is learned on with the classifier, also by what an item is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from models_ml.losses import TINY, marginal_losses
from models_ml.methods.contract import Need, TrainingData, parameter
from models_ml.networks.network import Network
from models_ml.noise.checks import check_distributions
from models_ml.training.loop import Batch, Minibatch, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AdaptationLayer(Minibatch):
    """λ·Σ_gold CE + Σ_silver -log Σ_i p_i θ_iỹ, θ float[K, K+1] learned (column K: no valid answer).

    simple: θ_ij = softmax_j(b_ij); complex: θ_ij(h) = softmax_j(u_ijᵀh + b_ij) of an item's features h. b begins at
    log Ĉ of the item's stratum, u at 0, so that both begin as forward correction by the reference sample; from the
    identity they may end below plain cross-entropy.
    """

    name: ClassVar[str] = "adaptation_layer"
    title: ClassVar[str] = "Adaptation layer"
    sentence: ClassVar[str] = (
        "Learns from gold and machine labels, and goes on learning the noise matrix with which it begins."
    )
    source: ClassVar[str] = "Goldberger & Ben-Reuven 2017, Training deep neural-networks using a noise adaptation layer"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.NOISE_MATRIX})

    layer: str = parameter(
        "simple",
        "Whether the machine errs alike on all items of a class (simple) or by what an item is (complex, slower).",
        choices=("simple", "complex"),
    )
    # A tenth of the classifier's, for Ĉ is nearly right. On made-up permuted labels .01 and .03 gave the same (.998 on
    # average, .996 where Ĉ stayed as it was).
    layer_rate: float = parameter(0.01, "How long the steps of the noise matrix are.", low=0.0, high=10.0)

    def begin(self, data: TrainingData, networks: Sequence[Network], rng: np.random.Generator) -> State:
        import torch

        check_distributions("noise matrices", data.transitions)
        state, k = super().begin(data, networks, rng), data.n_classes
        b = torch.from_numpy(np.log(np.maximum(data.transitions, TINY)).astype(np.float32)).requires_grad_()
        stratum = np.zeros(len(data.silver)) if data.strata is None or len(data.transitions) == 1 else data.strata
        labels = {"silver": data.silver, "stratum": stratum}
        memory = {"b": b, **{name: torch.from_numpy(values.astype(np.int64)) for name, values in labels.items()}}
        groups = [{"params": [b], "weight_decay": 0.0}]
        if self.layer == "complex":
            memory["u"] = torch.zeros((data.inputs.shape[1], k * (k + 1)), requires_grad=True)
            decay = state.optimisers[0].param_groups[0]["weight_decay"]  # that of the classifier's weights
            groups.append({"params": [memory["u"]], "weight_decay": decay})
        return State([*state.optimisers, torch.optim.Adam(groups, lr=self.layer_rate)], memory)

    def step(
        self, state: State, networks: Sequence[Network], batch: Batch, rng: np.random.Generator
    ) -> Sequence[Tensor]:
        features = networks[0].features(batch.x)
        logits = networks[0].head(features)
        likelihood = batch.likelihood.where(batch.is_gold[:, None], _heard(state.memory, features, batch))
        return [(batch.weight * marginal_losses(logits, likelihood)).mean()]


def _heard(memory: dict[str, Tensor], features: Tensor, batch: Batch) -> Tensor:
    """θ_iỹ float[b, K] of each item's silver ỹ; of gold that was never asked it is not read."""
    said, stratum, b = memory["silver"][batch.rows].clamp_min(0), memory["stratum"][batch.rows], memory["b"]
    if "u" not in memory:
        return b.softmax(dim=2)[stratum, :, said]
    of_item = b[stratum] + (features @ memory["u"]).reshape(len(said), *b.shape[1:])
    return of_item.softmax(dim=2).gather(2, said[:, None, None].expand(-1, b.shape[1], 1)).squeeze(2)
