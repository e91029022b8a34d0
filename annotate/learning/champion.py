"""Which model version is the champion: the one whose predictions are delivered and score the next round."""

from annotate.learning.artefacts import load_version
from annotate.models import ModelVersion, Project
from models_ml import metrics
from models_ml.training import crossfit
from models_ml.training.crossfit import TrainingConfig


def promote(
    project: Project, model: ModelVersion, snapshot: crossfit.Snapshot, trained: crossfit.TrainedVersion
) -> None:
    """Decide whether the new version becomes champion, and record both log-losses on the reference sample.

    A version by the same method that saw more gold does. Any other must have the lower out-of-fold log-loss on
    the reference sample as it is now; ties keep the incumbent (docs/decisions/006).
    """
    incumbent = project.model_versions.filter(is_champion=True).first()
    if incumbent is None:
        model.metrics = {**model.metrics, "won_by": "first"}
    else:
        mine, theirs = (_reference_loss(version, snapshot) for version in (trained, load_version(incumbent)))
        model.metrics = {**model.metrics, "log_loss_here": mine, "incumbent_log_loss_here": theirs}
        if _learned_more(model, incumbent):
            model.metrics["won_by"] = "more_gold"
        elif _is_lower(mine, theirs):
            model.metrics["won_by"] = "lower_log_loss"
        else:
            model.save(update_fields=["metrics"])
            return
        incumbent.is_champion = False
        incumbent.save(update_fields=["is_champion"])
    model.is_champion = True
    model.save(update_fields=["metrics", "is_champion"])


def _learned_more(model: ModelVersion, incumbent: ModelVersion) -> bool:
    same_question = incumbent.schema_id == model.schema_id and incumbent.prompt_id == model.prompt_id
    mine, theirs = (TrainingConfig.from_dict(version.config) for version in (model, incumbent))
    return not same_question or (mine == theirs and model.metrics["n_gold"] > incumbent.metrics["n_gold"])


def _is_lower(mine: float | None, theirs: float | None) -> bool:
    return mine is not None and theirs is not None and mine < theirs


def _reference_loss(version: crossfit.TrainedVersion, snapshot: crossfit.Snapshot) -> float | None:
    """Calibrated out-of-fold log-loss on the reference sample; None where it has no gold yet."""
    rows = snapshot.has_reference_gold
    if not rows.any():
        return None
    predicted = version.predict_out_of_fold(snapshot.x[rows], snapshot.fold[rows])
    return float(metrics.log_loss(predicted, snapshot.gold[rows]))
