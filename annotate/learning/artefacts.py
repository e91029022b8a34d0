"""Reads the files of a training, after comparing their checksums: the trained version, and the snapshot it saw."""

from pathlib import Path
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from annotate import files, vectors
from annotate.errors import FileDamaged
from annotate.models import ModelVersion
from models_ml import checkpoints
from models_ml.arrays import Array, Positions
from models_ml.training import crossfit, rebuild


def load_version(model: ModelVersion) -> crossfit.TrainedVersion:
    """The trained version in the model's artefact file; FileDamaged if the file is not the one that was stored."""
    path = files.checked_path(model.artefact_file, model.artefact_sha256)
    return crossfit.TrainedVersion.from_arrays(*checkpoints.load_checkpoint(path))


def load_snapshot(model: ModelVersion) -> tuple[crossfit.Snapshot, Positions]:
    """The snapshot that the model was trained on, and the ordinals of its items.

    The vectors are those that the project has stored; FileDamaged unless they are the ones that the training saw.
    """
    path = files.checked_path(model.snapshot_file, model.snapshot_sha256)
    arrays, facts = checkpoints.load_checkpoint(path)
    ordinal = arrays.pop("ordinal")
    x = np.ascontiguousarray(vectors.vectors_of(model.project)[ordinal])
    if vectors_digest(x) != facts["vectors_sha256"]:
        raise FileDamaged(
            _(
                "The stored vectors of %(project)s are not those that model v%(version)s saw. Delete %(name)s; "
                "it is made again from the items."
            )
            % {"project": model.project, "version": model.version, "name": Path(vectors.name_of(model.project)).name}
        )
    columns: dict[str, Any] = {**arrays, "reference": arrays["reference"].astype(bool)}
    return crossfit.Snapshot(x=x, n_classes=facts["n_classes"], **columns), ordinal


def rebuild_and_compare(model: ModelVersion) -> str | None:
    """Train again from the stored snapshot and config; returns in words what differs against the method's promise.

    None if the new version is as close to the stored one as the method promises: same bits, or nearly the same
    predictions (`models_ml.training.rebuild`).
    """
    snapshot, _ = load_snapshot(model)
    again = crossfit.train(snapshot, crossfit.TrainingConfig.from_dict(model.config))
    return rebuild.broken_promise(load_version(model), again, snapshot)


def vectors_digest(x: Array) -> str:
    """SHA-256 of the vectors as little-endian float32, in hexadecimal; a snapshot records it instead of the vectors."""
    return files.hashed_bytes(np.ascontiguousarray(x, dtype="<f4").tobytes())
