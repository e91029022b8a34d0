"""Reads back what a training stored, checksums compared: the trained version, and the snapshot that it saw."""

from pathlib import Path

import numpy as np

from annotate import files, vectors
from annotate.errors import FileDamaged
from annotate.models import ModelVersion
from models_ml import checkpoints
from models_ml.arrays import Array, Positions
from models_ml.training import crossfit, rebuild


def load_version(model: ModelVersion) -> crossfit.TrainedVersion:
    """The trained version of a row, after its checksum was compared."""
    path = files.checked_path(model.artefact_file, model.artefact_sha256)
    return crossfit.TrainedVersion.from_arrays(*checkpoints.load_checkpoint(path))


def load_snapshot(model: ModelVersion) -> tuple[crossfit.Snapshot, Positions]:
    """What the model was trained on, and the ordinals of its items. The vectors are the stored ones, checked."""
    path = files.checked_path(model.snapshot_file, model.snapshot_sha256)
    arrays, facts = checkpoints.load_checkpoint(path)
    ordinal = arrays.pop("ordinal")
    x = np.ascontiguousarray(vectors.vectors_of(model.project)[ordinal])
    if vectors_digest(x) != facts["vectors_sha256"]:
        raise FileDamaged(
            f"The stored vectors of {model.project} are not those that model v{model.version} saw. "
            f"Delete {Path(vectors.name_of(model.project)).name}; it is made again from the items."
        )
    arrays["reference"] = arrays["reference"].astype(bool)
    return crossfit.Snapshot(x=x, n_classes=facts["n_classes"], **arrays), ordinal


def broken_promise(model: ModelVersion) -> str | None:
    """What a training from the recorded snapshot and config does not repeat of the stored version; else None."""
    snapshot, _ = load_snapshot(model)
    again = crossfit.train(snapshot, crossfit.TrainingConfig.from_dict(model.config))
    return rebuild.broken_promise(load_version(model), again, snapshot)


def vectors_digest(x: Array) -> str:
    return files.hashed_bytes(np.ascontiguousarray(x, dtype="<f4").tobytes())
