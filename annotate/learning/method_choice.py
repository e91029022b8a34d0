"""Lists the methods that a project can train with, and checks a chosen method and its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from annotate.errors import Conflict, InvalidInput
from annotate.models import Gold, Prediction, Project, User
from annotate.silver import prompts
from models_ml import methods
from models_ml.methods import Description, Need, unmet
from models_ml.training.crossfit import TrainingConfig

DEFAULT = "corrected"


@dataclass(frozen=True)
class Offer:
    """A method that people may choose, and those of its needs that the project cannot serve yet."""

    method: Description
    missing: tuple[Need, ...]


def offers(project: Project) -> list[Offer]:
    """All methods, the default first; three queries."""
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
        raise Conflict(" ".join(dict.fromkeys(need.sentence for need in missing)))
    return dict(chosen)


def config_of(project: Project, method: str, parameters: Mapping[str, Any]) -> TrainingConfig:
    """The config of a training by that method, with the project's folds and seed; InvalidInput names a wrong choice."""
    try:
        return TrainingConfig.of(method, parameters, n_folds=project.n_folds, seed=project.seed)
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def _label_counts(project: Project) -> dict[str, int]:
    """How many labels may train: gold, valid silver in force, and silver with a probability for every class."""
    prompt = prompts.current_prompt(project)
    valid = Prediction.objects.filter(prompt=prompt, status=Prediction.Status.OK, item__withdrawn_at__isnull=True)
    # `Count` of a column leaves out its NULLs.
    n_silver = {"n_silver": Count("pk"), "n_soft_silver": Count("probabilities")}
    return {"n_gold": Gold.objects.filter(project=project).trainable().count(), **valid.aggregate(**n_silver)}
