"""Compares a project's model versions: what each learned from, how good it is, and why it became the champion."""

from dataclasses import dataclass
from typing import Any

from annotate.models import ModelVersion, Project
from models_ml.intervals import wilson

MOST = 200  # model versions shown: the newest


@dataclass(frozen=True)
class Trained:
    """One model version with its accuracy on the reference sample, out of fold.

    `is_compared`: on the reference sample as it was when the newest version was trained, the same `n_reference` items
    for all that are compared; else on that of its own training.

    The reference sample also chose the version's settings, so this figure only compares versions with each other; the
    reported accuracy of a model comes from the audit sample. `low`, `high`: Wilson's 95 % interval. All three are
    None without reference gold.
    """

    model: ModelVersion
    n_gold: int
    n_silver: int
    n_reference: int
    value: float | None
    low: float | None
    high: float | None
    log_loss: float | None  # on the reference sample of the time of training
    incumbent_log_loss: float | None  # of the champion at that time, on the same items
    has_rival: bool
    promoted_because: str | None  # why it was promoted (see champion.promote); None: the champion before was kept
    method: str
    is_compared: bool


def versions(project: Project) -> list[Trained]:
    """The newest MOST versions of the project, oldest first, as a learning curve is read; one query."""
    newest = list(project.model_versions.select_related("prompt").order_by("-version")[:MOST])
    here: dict[str, Any] = newest[0].metrics.get("reference_here", {}) if newest else {}
    return [_trained(model, here) for model in reversed(newest)]


def _trained(model: ModelVersion, here: dict[str, Any]) -> Trained:
    """`here`: accuracies by version on the same `n` items, from when the newest version was trained."""
    facts: dict[str, Any] = model.metrics
    value, n = facts.get("reference_accuracy"), facts["n_reference"]
    is_compared = str(model.version) in here.get("accuracy", {})
    if is_compared:
        value, n = here["accuracy"][str(model.version)], here["n"]
    low, high = (None, None) if value is None or not n else wilson(round(value * n), n)
    return Trained(
        model=model,
        n_gold=facts["n_gold"],
        n_silver=facts["n_silver"],
        n_reference=n,
        value=value if n else None,
        low=low,
        high=high,
        log_loss=facts.get("log_loss_here", facts.get("reference_log_loss")),
        incumbent_log_loss=facts.get("incumbent_log_loss_here"),
        has_rival="incumbent_log_loss_here" in facts,
        promoted_because=facts.get("won_by"),
        method=str(model.config.get("method", "")),
        is_compared=is_compared,
    )
