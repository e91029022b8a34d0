"""Trains a model version on a snapshot of gold and silver, stores it, and lets the champion rule judge it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotate import access, failpoints, files, labels
from annotate import vectors as item_vectors
from annotate.errors import Conflict, InvalidInput
from annotate.learning import method_choice, pool
from annotate.learning.artefacts import load_snapshot, vectors_digest
from annotate.learning.champion import promote
from annotate.models import ModelVersion, Project, Run, User
from annotate.models.event import record
from annotate.models.project import Arm
from annotate.runs import lifecycle
from annotate.silver import prompts
from models_ml import checkpoints
from models_ml.arrays import Array
from models_ml.methods import Diverged, Need
from models_ml.training import crossfit


def train(
    *,
    project: Project,
    by: User,
    method: str = method_choice.DEFAULT,
    parameters: Mapping[str, Any] | None = None,
    show: lifecycle.Show | None = None,
    show_encoding: lifecycle.Show | None = None,
) -> ModelVersion:
    """Train a new model version on all silver and all gold that may train; Conflict if there is none.

    InvalidInput where a parameter is too large to compute with.
    `method`, `parameters`: as `models_ml.methods.describe` lists them; the search chooses the parameters left out.
    `show`, `show_encoding`: called with the progress of the training, and of encoding items without a vector.
    """
    access.require(by, project, to="manage")
    config = method_choice.config_of(project, method, parameters or {})
    with lifecycle.start(kind="train", project=project, by=by, show=show) as attempt:
        vectors = item_vectors.vectors_of(project, show_encoding)
        _check_vectors(project)
        snapshot, facts = take_snapshot(project, vectors)
        _check_learnable(project, snapshot)
        try:
            trained = crossfit.train(snapshot, config, progress=attempt.beat)
        except Diverged as error:
            raise InvalidInput(str(error)) from error
        failpoints.hit("train.fitted")
        stored = _store_files(project, snapshot, trained, facts)
        with transaction.atomic():
            attempt.write(1, 1)
            model = _create(attempt.run, stored, trained, config, facts)
            promote(project, model, snapshot, trained)
            record(
                "model.trained",
                project=project,
                by=by,
                model=model.version,
                champion=model.is_champion,
                n_gold=int((snapshot.gold >= 0).sum()),
            )
        failpoints.hit("train.stored")
    return model


def take_snapshot(project: Project, vectors: Array) -> tuple[crossfit.Snapshot, dict[str, Any]]:
    """What a training sees of the pool, never audit gold; and the schema, prompt version and ordinals to record."""
    history = labels.current(project)
    prompt = prompts.current_prompt(project)
    items = pool.load(project)
    silver = pool.load_silver(items, prompt, history)
    gold = pool.load_gold(items, history)
    snapshot = crossfit.Snapshot(
        x=np.ascontiguousarray(vectors[items.ordinal]),
        fold=items.fold,
        silver=silver.label,
        gold=gold.trainable,
        reference=pool.sample(items, history, Arm.RANDOM) & (gold.blind_trainable != pool.NO_LABEL),
        n_classes=history.n_classes,
        silver_probability=silver.probabilities,
    )
    return snapshot, {"schema": history.schema, "prompt": prompt, "ordinal": items.ordinal}


def _check_vectors(project: Project) -> None:
    """FileDamaged if the stored vectors are not those that the last model saw, so that no model learns from damage."""
    last = project.model_versions.order_by("-version").first()
    if last is not None and last.encoder == item_vectors.encoder_of(project).name:
        load_snapshot(last)


def _check_learnable(project: Project, snapshot: crossfit.Snapshot) -> None:
    """Conflict if the snapshot has no items, or neither silver nor gold."""
    if not len(snapshot.x):
        raise Conflict(_("%(project)s has no items to train on; import some first.") % {"project": project})
    is_silver = (snapshot.silver >= 0) & (snapshot.silver < snapshot.n_classes)  # a failure is no label
    if not ((snapshot.gold >= 0) | is_silver).any():
        raise Conflict(
            _("%(project)s has neither silver nor gold; pre-label it or answer a round first.") % {"project": project}
        )


def _store_files(
    project: Project, snapshot: crossfit.Snapshot, trained: crossfit.TrainedVersion, facts: dict[str, Any]
) -> dict[str, str]:
    """Save snapshot and artefact; returns their names and checksums by the fields of ModelVersion."""
    arrays = {
        "ordinal": facts["ordinal"],
        "fold": snapshot.fold,
        "silver": snapshot.silver,
        "gold": snapshot.gold,
        "reference": snapshot.reference.astype(np.uint8),
    }
    if snapshot.silver_probability is not None and Need.SOFT_SILVER in trained.method.needs:
        arrays["silver_probability"] = snapshot.silver_probability
    settings = {"n_classes": snapshot.n_classes, "vectors_sha256": vectors_digest(snapshot.x)}
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
    run: Run,
    stored: dict[str, str],
    trained: crossfit.TrainedVersion,
    config: crossfit.TrainingConfig,
    facts: dict[str, Any],
) -> ModelVersion:
    """The row of the new model version, made in the transaction that also judges it."""
    project = run.project
    last = project.model_versions.aggregate(last=Max("version"))["last"] or 0
    return ModelVersion.objects.create(
        project=project,
        version=last + 1,
        run=run,
        schema=facts["schema"],
        prompt=facts["prompt"],
        encoder=item_vectors.encoder_of(project).name,
        config=config.to_dict(),
        seed=config.seed,
        metrics=trained.metrics,
        **stored,
    )
