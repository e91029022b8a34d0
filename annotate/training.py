"""Makes a model version from a snapshot of gold and silver, and decides whether it becomes the champion."""

from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Max
from numpy.typing import NDArray

from annotate import access, chaos, embeddings, files, pool, projects, runs
from annotate.errors import Conflict, FileDamaged, InvalidInput
from annotate.models import ModelVersion, Project, User
from annotate.models.event import record
from annotate.models.project import Arm
from models_ml import checkpoints, metrics
from models_ml.methods import Need
from models_ml.training import crossfit, rebuild

METHODS = {"corrected": "corrected", "cross-entropy": "cross_entropy", "gold-only": "gold_only"}


def train(
    *,
    project: Project,
    by: User,
    method: str = "corrected",
    show: runs.Show | None = None,
    show_encoding: runs.Show | None = None,
) -> ModelVersion:
    """Train on everything that may train now; Conflict where there is nothing to learn from."""
    access.require(by, project, to="manage")
    if method not in METHODS:
        raise InvalidInput(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    with runs.start(kind="train", project=project, by=by, show=show) as attempt:
        vectors = embeddings.vectors_of(project, show_encoding)
        _check_vectors(project)
        snapshot, facts = take_snapshot(project, vectors)
        _check_learnable(project, snapshot)
        config = crossfit.TrainingConfig(method=METHODS[method], n_folds=project.n_folds, seed=project.seed)
        trained = crossfit.train(snapshot, config, progress=attempt.beat)
        chaos.point("train.fitted")
        stored = _store_files(project, snapshot, trained, facts)
        with transaction.atomic():
            attempt.write(1, 1)
            model = _create(project, stored, trained, config, facts)
            _crown(project, model, snapshot, trained)
            record(
                "model.trained",
                project=project,
                by=by,
                model=model.version,
                champion=model.is_champion,
                n_gold=int((snapshot.gold >= 0).sum()),
            )
        chaos.point("train.stored")
    return model


def take_snapshot(project: Project, vectors: NDArray[np.float32]) -> tuple[crossfit.Snapshot, dict[str, Any]]:
    """What this training sees, and the facts to record: never a gold label that an audit draw obtained."""
    schema = projects.current_schema(project)
    prompt = pool.current_prompt(project)
    items = pool.load(project)
    n_classes = schema.labels.count()
    silver = pool.load_silver(items, prompt, n_classes)
    gold = pool.load_gold(items, project)
    reference = pool.drawn(items, project, Arm.RANDOM) & (gold.blind != pool.NO_LABEL)
    snapshot = crossfit.Snapshot(
        x=np.ascontiguousarray(vectors[items.ordinal]),
        fold=items.fold,
        silver=silver.label,
        gold=gold.trainable,
        reference=reference & (gold.trainable != pool.NO_LABEL),
        n_classes=n_classes,
        silver_probability=silver.probabilities,
    )
    return snapshot, {"schema": schema, "prompt": prompt, "ordinal": items.ordinal}


def load_version(model: ModelVersion) -> crossfit.TrainedVersion:
    """The trained version of a row, after its checksum was compared."""
    path = files.checked_path(model.artefact_file, model.artefact_sha256)
    return crossfit.TrainedVersion.from_arrays(*checkpoints.load_checkpoint(path))


def load_snapshot(model: ModelVersion) -> tuple[crossfit.Snapshot, NDArray[np.int64]]:
    """What the model was trained on, and the ordinals of its items. The vectors are the stored ones, checked."""
    path = files.checked_path(model.snapshot_file, model.snapshot_sha256)
    arrays, facts = checkpoints.load_checkpoint(path)
    ordinal = arrays.pop("ordinal")
    x = np.ascontiguousarray(embeddings.vectors_of(model.project)[ordinal])
    if _digest(x) != facts["vectors_sha256"]:
        raise FileDamaged(
            f"The stored vectors of {model.project} are not those that model v{model.version} saw. "
            f"Delete {embeddings.path_of(model.project).name}; it is made again from the items."
        )
    arrays["reference"] = arrays["reference"].astype(bool)
    return crossfit.Snapshot(x=x, n_classes=facts["n_classes"], **arrays), ordinal


def broken_promise(model: ModelVersion) -> str | None:
    """What a training from the recorded snapshot and config does not repeat of the stored version; else None."""
    snapshot, _ = load_snapshot(model)
    again = crossfit.train(snapshot, crossfit.TrainingConfig.from_dict(model.config))
    return rebuild.broken_promise(load_version(model), again, snapshot)


def _check_vectors(project: Project) -> None:
    """Refuse to train on vectors that changed under the last model: a damaged file must not spread."""
    last = project.model_versions.order_by("-version").first()
    if last is not None and last.encoder == embeddings.encoder_of(project).name:
        load_snapshot(last)


def _check_learnable(project: Project, snapshot: crossfit.Snapshot) -> None:
    if not len(snapshot.x):
        raise Conflict(f"{project} has no items to train on; import some first.")
    if not ((snapshot.gold >= 0) | (snapshot.silver >= 0)).any():
        raise Conflict(f"{project} has neither silver nor gold; pre-label it or answer a round first.")


def _store_files(
    project: Project, snapshot: crossfit.Snapshot, trained: crossfit.TrainedVersion, facts: dict[str, Any]
) -> dict[str, str]:
    arrays = {
        "ordinal": facts["ordinal"],
        "fold": snapshot.fold,
        "silver": snapshot.silver,
        "gold": snapshot.gold,
        "reference": snapshot.reference.astype(np.uint8),
    }
    if snapshot.silver_probability is not None and Need.SOFT_SILVER in trained.method.needs:
        arrays["silver_probability"] = snapshot.silver_probability
    settings = {"n_classes": snapshot.n_classes, "vectors_sha256": _digest(snapshot.x)}
    contents = {
        "snapshot": checkpoints.to_bytes(arrays, settings),
        "artefact": checkpoints.to_bytes(*trained.to_arrays()),
    }
    stored = {}
    for kind, content in contents.items():
        digest = files.hashed_bytes(content)
        stored[f"{kind}_file"] = f"projects/{project.public_id}/models/{kind}-{digest[:24]}.safetensors"
        stored[f"{kind}_sha256"] = files.save(stored[f"{kind}_file"], [content])
    return stored


def _create(
    project: Project,
    stored: dict[str, str],
    trained: crossfit.TrainedVersion,
    config: crossfit.TrainingConfig,
    facts: dict[str, Any],
) -> ModelVersion:
    last = project.model_versions.aggregate(last=Max("version"))["last"] or 0
    return ModelVersion.objects.create(
        project=project,
        version=last + 1,
        schema=facts["schema"],
        prompt=facts["prompt"],
        encoder=embeddings.encoder_of(project).name,
        config=config.to_dict(),
        seed=config.seed,
        metrics=trained.metrics,
        **stored,
    )


def _crown(
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
    same_method = incumbent.config["method"] == model.config["method"]
    return not same_question or (same_method and model.metrics["n_gold"] > incumbent.metrics["n_gold"])


def _is_lower(mine: float | None, theirs: float | None) -> bool:
    return mine is not None and theirs is not None and mine < theirs


def _reference_loss(version: crossfit.TrainedVersion, snapshot: crossfit.Snapshot) -> float | None:
    """Calibrated out-of-fold log-loss on the reference sample; None where it has no gold yet."""
    rows = snapshot.has_reference_gold
    if not rows.any():
        return None
    predicted = version.predict_out_of_fold(snapshot.x[rows], snapshot.fold[rows])
    return float(metrics.log_loss(predicted, snapshot.gold[rows]))


def _digest(x: NDArray[np.float32]) -> str:
    return files.hashed_bytes(np.ascontiguousarray(x, dtype="<f4").tobytes())
