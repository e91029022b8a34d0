"""Which methods a project may train with now, and whether a method and its parameters were chosen validly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotate.errors import Conflict, InvalidInput
from annotate.models import Gold, Prediction, Project, User
from annotate.silver import prompts
from models_ml import methods
from models_ml.methods import Description, Need, unmet
from models_ml.training.crossfit import TrainingConfig

DEFAULT = "corrected"


@dataclass(frozen=True)
class Offer:
    """A method that people may choose, and what of it the project lacks."""

    method: Description
    missing: tuple[Need, ...]


def offers(project: Project) -> list[Offer]:
    """All methods, the default first; four queries."""
    held = _labels_held(project)
    described = sorted(methods.describe(), key=lambda method: method.name != DEFAULT)
    return [Offer(method, tuple(unmet(frozenset(method.needs), **held))) for method in described]


def check(project: Project, by: User, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a run as chosen; InvalidInput for a wrong one, Conflict where the project lacks labels."""
    config_of(project, chosen["method"], chosen["parameters"])
    needs = methods.find(chosen["method"]).needs
    if missing := unmet(needs, **_labels_held(project)):
        raise Conflict(" ".join(need.sentence for need in missing))
    return dict(chosen)


def config_of(project: Project, method: str, parameters: Mapping[str, Any]) -> TrainingConfig:
    """How a version of this project is trained by that method; InvalidInput names what cannot be."""
    try:
        return TrainingConfig.of(method, parameters, n_folds=project.n_folds, seed=project.seed)
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def _labels_held(project: Project) -> dict[str, int]:
    """How many labels may train: gold, valid silver in force, and silver with a probability for every class."""
    prompt = prompts.current_prompt(project)
    valid = Prediction.objects.filter(prompt=prompt, status=Prediction.Status.OK, item__withdrawn_at__isnull=True)
    return {
        "n_gold": Gold.objects.filter(project=project).trainable().count(),
        "n_silver": valid.count() if prompt else 0,
        "n_soft_silver": valid.filter(probabilities__isnull=False).count() if prompt else 0,
    }
