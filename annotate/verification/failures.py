"""Checks that failures of machines are labels nowhere (S-4)."""

from collections.abc import Iterator

import numpy as np
from django.db.models import Count, F, Max, Q, QuerySet
from django.db.models.functions import Coalesce

from annotate import files
from annotate.learning import delivery
from annotate.models import DeliveredVersion, ModelVersion, Prediction, Project
from models_ml import checkpoints


def failures_are_no_labels(project: Project) -> Iterator[str]:
    """S-4: no failed answer holds a label, taught a model, or was delivered as a class.

    Also: of several attempts at an item the last one counts, and none was made once there was a label.
    """
    yield from _attempts(project)
    for model in project.model_versions.order_by("version"):
        yield from _taught(model)
    for row in project.delivered_versions.select_related("model", "prompt").order_by("version"):
        yield from _delivered(row)


def _attempts(project: Project) -> Iterator[str]:
    rows = Prediction.objects.filter(prompt__project=project)
    is_ok = Q(status=Prediction.Status.OK)
    bad = rows.filter((is_ok & Q(label_index=None)) | (~is_ok & (~Q(label_index=None) | ~Q(probabilities=None))))
    if row := bad.select_related("item").first():
        yield f"item {row.item.public_id} has an answer of status {row.status} that does not go with its label"
    if row := rows.filter(is_ok, is_current=False).select_related("item", "prompt").first():
        yield f"item {row.item.public_id} had a label of prompt version {row.prompt.version} and was asked again"
    groups = (
        rows.order_by()
        .values("prompt__version", "item__public_id")
        .annotate(n=Count("pk"), last=Max("attempt"), counted=Coalesce(Max("attempt", filter=Q(is_current=True)), 0))
    )
    numbered = Q(last=F("n"), counted=F("n"))
    if one := next(iter(groups.exclude(numbered)[:1]), None):
        names = f"item {one['item__public_id']} under prompt version {one['prompt__version']}"
        yield f"of {one['n']} attempts at {names} the last does not count"


def _taught(model: ModelVersion) -> Iterator[str]:
    """The snapshot's failures are failures, no counted silver; and there was something else to learn from."""
    arrays, facts = checkpoints.load_checkpoint(files.checked_path(model.snapshot_file, model.snapshot_sha256))
    silver, n_classes = arrays["silver"], facts["n_classes"]
    is_label = (silver >= 0) & (silver < n_classes)
    if not (is_label | (arrays["gold"] >= 0)).any():
        yield f"{model} learned from neither silver nor gold"
    if model.prompt is None or not is_label.any():
        return
    labels = dict(_labels(model.prompt_id).values_list("item__ordinal", "label_index"))
    same_schema = model.prompt.schema_id == model.schema_id
    for ordinal, label in zip(arrays["ordinal"][is_label].tolist(), silver[is_label].tolist(), strict=True):
        if ordinal not in labels or (same_schema and labels[ordinal] != label):
            yield f"{model} learned a machine's label of item {ordinal} that no machine gave"
            return


def _delivered(row: DeliveredVersion) -> Iterator[str]:
    """Without a model, only items with a machine's label have a delivered one; others have -1."""
    if row.model is not None:
        return
    arrays = delivery.load(row).arrays
    delivered = arrays["ordinal"][arrays["label"] >= 0]
    known = np.array(list(_labels(row.prompt_id).values_list("item__ordinal", flat=True)), dtype=np.int64)
    if len(strange := np.setdiff1d(delivered, known)):
        yield f"{row} delivers a label of item {strange[0]}, to which no machine gave one"


def _labels(prompt: int | None) -> QuerySet[Prediction]:
    return Prediction.objects.filter(prompt=prompt, status=Prediction.Status.OK)
