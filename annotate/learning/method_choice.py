"""Lists the methods that a project can train with, and checks a chosen method and its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from annotate import labels
from annotate.errors import Conflict, InvalidInput
from annotate.models import Gold, Prediction, Project, User
from annotate.silver import prompts
from models_ml import methods
from models_ml.label_map import NO_LABEL
from models_ml.methods import Description, Need, unmet
from models_ml.training.crossfit import TrainingConfig

DEFAULT = "corrected"


@dataclass(frozen=True)
class Offer:
    """A method that people may choose, and those of its needs that the project cannot serve yet."""

    method: Description
    missing: tuple[Need, ...]


def offers(project: Project) -> list[Offer]:
    """All methods, the default first; four queries."""
    counts = _label_counts(project)
    described = sorted(methods.describe(), key=lambda method: method.name != DEFAULT)
    return [Offer(method, tuple(unmet(frozenset(method.needs), **counts))) for method in described]


def check(project: Project, by: User, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a training run: `chosen`, with the keys "method" and "parameters", once it was checked.

    InvalidInput for an unknown method or parameter or a wrong value; Conflict if the project lacks labels for it.
    """
    config_of(project, chosen["method"], chosen["parameters"])
    needs = methods.find(chosen["method"]).needs
    if missing := unmet(needs, **_label_counts(project)):
        raise Conflict(" ".join(dict.fromkeys(_(need.sentence) for need in missing)))
    return dict(chosen)


def config_of(project: Project, method: str, parameters: Mapping[str, Any]) -> TrainingConfig:
    """The config of a training by that method, with the project's folds and seed; InvalidInput names a wrong choice."""
    try:
        return TrainingConfig.of(method, parameters, n_folds=project.n_folds, seed=project.seed)
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def _label_counts(project: Project) -> dict[str, int]:
    """How many labels may train, as they read now: gold, silver in force, silver with a probability for every class."""
    history = labels.current(project)
    gold = Gold.objects.filter(project=project).trainable().exclude(label__in=history.void_ids)
    prompt = prompts.current_prompt(project)
    if prompt is None:
        return {"n_gold": gold.count(), "n_silver": 0, "n_soft_silver": 0}
    change = history.map_from(prompt.schema_id)
    leads_on, is_soft = change.target != NO_LABEL, change.keeps_probability & (change.target != NO_LABEL)
    ok = Prediction.objects.current().filter(
        prompt=prompt, status=Prediction.Status.OK, item__withdrawn_at__isnull=True
    )
    valid = ok.exclude(label_index__in=np.flatnonzero(~leads_on).tolist())
    opaque = Q(label_index__in=np.flatnonzero(~is_soft).tolist())
    # `Count` of a column leaves out its NULLs.
    n_silver = {"n_silver": Count("pk"), "n_soft_silver": Count("probabilities", filter=~opaque)}
    return {"n_gold": gold.count(), **valid.aggregate(**n_silver)}
