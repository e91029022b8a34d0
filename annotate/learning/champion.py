"""Decides which model version is the champion: the one that labels are delivered with and the next round scored."""

from typing import Any

from annotate import labels
from annotate.learning.artefacts import load_version
from annotate.models import ModelVersion, Project
from models_ml import metrics
from models_ml.arrays import Ints
from models_ml.label_map import LabelMap
from models_ml.training import crossfit
from models_ml.training.crossfit import TrainingConfig

N_COMPARED = 50  # versions that are compared on the same items when one is trained


def promote(
    project: Project, model: ModelVersion, snapshot: crossfit.Snapshot, trained: crossfit.TrainedVersion
) -> None:
    """Make the new version champion if it should replace the incumbent, and save it.

    Its metrics record the reason, if it is promoted, and both versions' log-losses on the reference sample: none of
    an incumbent that a change of labels left behind.
    """
    history = labels.history(model.schema)
    incumbent = project.model_versions.filter(is_champion=True).first()
    if incumbent is None:
        reason: str | None = "first"
    else:
        change = history.map_from(incumbent.schema_id)
        mine = _reference_loss(trained, snapshot, history.map_from(model.schema_id))
        theirs = _reference_loss(load_version(incumbent), snapshot, change) if change.keeps_models else None
        model.metrics = {**model.metrics, "log_loss_here": mine, "incumbent_log_loss_here": theirs}
        reason = _reason(model, incumbent, mine, theirs, is_comparable=change.keeps_models)
    model.metrics = {**model.metrics, "reference_here": _compared(project, model, trained, snapshot, history)}
    if reason is not None:
        project.model_versions.filter(is_champion=True).update(is_champion=False)
        model.metrics = {**model.metrics, "won_by": reason}
        model.is_champion = True
    model.save(update_fields=["metrics", "is_champion"])


def _reason(
    model: ModelVersion, incumbent: ModelVersion, mine: float | None, theirs: float | None, *, is_comparable: bool
) -> str | None:
    """Why the new version becomes champion; None if the incumbent stays.

    "other_labels": the silver in force changed since the incumbent, or the labels did in more than names, order and
    merges, so that it is not `is_comparable`. "more_gold": same method and settings, more
    gold. "lower_log_loss": lower out-of-fold log-loss on today's reference sample; a tie keeps the incumbent
    (docs/decisions/006).
    """
    if not is_comparable or incumbent.prompt_id != model.prompt_id:
        return "other_labels"
    new, old = (TrainingConfig.from_dict(version.config) for version in (model, incumbent))
    if new == old and model.metrics["n_gold"] > incumbent.metrics["n_gold"]:
        return "more_gold"
    return "lower_log_loss" if mine is not None and theirs is not None and mine < theirs else None


def _compared(
    project: Project,
    model: ModelVersion,
    trained: crossfit.TrainedVersion,
    snapshot: crossfit.Snapshot,
    history: labels.LabelHistory,
) -> dict[str, Any]:
    """Out-of-fold accuracies of this version and those before on the same items: the reference sample of today.

    `n` items, and `accuracy` by version number, of the newest N_COMPARED; versions with another encoder, and those that
    a change of labels left behind, are not comparable and are left out.
    """
    rows = snapshot.has_reference_gold
    if not rows.any():
        return {"n": 0, "accuracy": {}}
    before = project.model_versions.filter(encoder=model.encoder).exclude(pk=model.pk).order_by("-version")
    found = {model.version: trained}
    for earlier in before[: N_COMPARED - 1]:
        if history.map_from(earlier.schema_id).keeps_models:
            found[earlier.version] = load_version(earlier)
    schemas = dict(project.model_versions.filter(version__in=found).values_list("version", "schema_id"))
    gold, accuracy = snapshot.gold[rows], {}
    for number, version in found.items():
        said = _predicted(version, snapshot, history.map_from(schemas[number]))
        accuracy[str(number)] = float((said == gold).mean())
    return {"n": int(rows.sum()), "accuracy": accuracy}


def _predicted(version: crossfit.TrainedVersion, snapshot: crossfit.Snapshot, change: LabelMap) -> Ints:
    """(n,) the labels that the version predicts out of fold for the reference items with gold."""
    rows = snapshot.has_reference_gold
    predicted = version.predict_out_of_fold(snapshot.x[rows], snapshot.fold[rows])
    labels_there: Ints = change.predictions(predicted).argmax(axis=1)
    return labels_there


def _reference_loss(version: crossfit.TrainedVersion, snapshot: crossfit.Snapshot, change: LabelMap) -> float | None:
    """Out-of-fold log-loss in nats, after the temperature, on the reference sample; None where it has no gold yet.

    `change`: how the version's labels read under those of the snapshot.
    """
    rows = snapshot.has_reference_gold
    if not rows.any():
        return None
    predicted = version.predict_out_of_fold(snapshot.x[rows], snapshot.fold[rows])
    return float(metrics.log_loss(change.predictions(predicted), snapshot.gold[rows]))
