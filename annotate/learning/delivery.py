"""Freezes delivered versions: each item's machine label, with champion, prompt version, label combination and A."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max
from numpy.typing import NDArray

from annotate import files, labels, projects
from annotate import vectors as item_vectors
from annotate.labels import LabelHistory
from annotate.learning import artefacts, pool
from annotate.models import DeliveredVersion, Item, ModelVersion, Prediction, Project, Round, User
from annotate.models.event import record
from annotate.models.project import Arm
from annotate.runs import lifecycle
from annotate.seals import chain, sealing
from annotate.silver import prompts
from models_ml import checkpoints
from models_ml.arrays import Array, Bools, Floats, Ints, Matrix
from models_ml.label_combination import fit_label_combination


@dataclass(frozen=True)
class Frozen:
    """A delivered version with the arrays of its file, one position per item; the array `ordinal` is sorted."""

    row: DeliveredVersion
    arrays: dict[str, NDArray[Any]]

    def at(self, name: str, ordinal: Ints) -> NDArray[Any]:
        """The values of the named array for these ordinals, each of which must be in the frozen version."""
        return self.arrays[name][np.searchsorted(self.arrays["ordinal"], ordinal)]

    def posterior_at(self, ordinal: Ints) -> Array | None:
        """(n, K) the posterior behind the machine labels; None for a version without champion and without silver."""
        if self.row.model is None and self.row.prompt is None:
            return None
        return self.at("posterior", ordinal)


def current(*, project: Project, by: User, show: lifecycle.Show | None = None) -> Frozen:
    """The delivered version of the project as it is now: a frozen one with the same fingerprint, else frozen here."""
    fingerprint = _fingerprint(project)
    row = project.delivered_versions.filter(fingerprint=fingerprint).first()
    return load(row) if row else _freeze(project, fingerprint, by, show)


def existing(project: Project) -> DeliveredVersion | None:
    """The delivered version that was frozen of the project as it is now; None if the project has changed since."""
    return project.delivered_versions.filter(fingerprint=_fingerprint(project)).first()


def knows_nothing(project: Project) -> bool:
    """Whether the project has no valid silver and no model that delivers, so that every machine label is unknown."""
    history = labels.current(project)
    prompt = prompts.current_prompt(project)
    valid = Prediction.objects.current().filter(prompt=prompt, status=Prediction.Status.OK)
    has_silver = prompt is not None and valid.exists()
    return not has_silver and delivering_model(project, history) is None


def delivering_model(project: Project, history: LabelHistory) -> ModelVersion | None:
    """The champion, unless labels were changed since it was trained in a way that leaves models behind."""
    champion = project.model_versions.filter(is_champion=True).first()
    return champion if champion and history.map_from(champion.schema_id).keeps_models else None


def load(row: DeliveredVersion) -> Frozen:
    """A delivered version with its arrays; FileDamaged if the file is not the one that was stored."""
    arrays, _ = checkpoints.load_checkpoint(files.checked_path(row.file, row.file_sha256))
    return Frozen(row, arrays)


def _fingerprint(project: Project) -> str:
    """SHA-256 of all facts about the project that could change a delivered row, an estimate or A."""
    prompt = prompts.current_prompt(project)
    guidelines = projects.current_guidelines(project)
    facts = {
        "model": project.model_versions.filter(is_champion=True).values_list("version", flat=True).first(),
        "prompt": prompt.version if prompt else None,
        "predictions": prompt.predictions.aggregate(last=Max("id"), n=Count("id")) if prompt else None,
        "gold": project.gold.current().aggregate(last=Max("id"), n=Count("id")),
        "annotations": project.annotations.aggregate(last=Max("id"), n=Count("id")),
        "items": Item.objects.filter(project=project).in_pool().aggregate(last=Max("ordinal"), n=Count("id")),
        # Withdrawing an item and importing it again may change only its external id, which no other fact shows.
        "moved": Project.objects.filter(pk=project.pk).values(last=F("pool_revision")).get(),
        "withdrawn": Item.objects.filter(project=project).aggregate(last=Max("withdrawn_at")),
        "round": project.rounds.filter(state=Round.State.CLOSED).aggregate(last=Max("index"))["last"],
        "draws": project.draws.exclude(round__state=Round.State.OPEN).count(),
        "schema": projects.current_schema(project).version,
        "guidelines": guidelines.version if guidelines else None,
    }
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _freeze(project: Project, fingerprint: str, by: User, show: lifecycle.Show | None) -> Frozen:
    sealing.seal_recent(project)  # so that the head proves the rows on which this version rests
    head = chain.head_of(project)
    history = labels.current(project)
    prompt = prompts.current_prompt(project)
    model = delivering_model(project, history)
    items = pool.load(project)
    silver = pool.load_silver(items, prompt, history)
    p_oof = _out_of_fold(model, items, history, show)
    combination = fit_label_combination(
        silver=silver.label,
        silver_probability=silver.probabilities,
        p_oof=p_oof,
        gold=pool.load_gold(items, history).blind_trainable,  # never what an audit draw obtained (S-2)
        reference=pool.sample(items, history, Arm.RANDOM),
        fold=items.fold,
        n_classes=silver.n_classes,
    )
    in_a = pool.is_selected(items, project)
    arrays = _arrays(items, silver, p_oof, combination.posterior(silver.label, silver.probabilities, p_oof), in_a)
    content = checkpoints.to_bytes(arrays, {"chooser": combination.rule})
    name = f"projects/{project.public_id}/delivered/{files.hashed_bytes(content)[:24]}.safetensors"
    sha256 = files.save(name, [content])
    try:
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # another process may freeze, too
            row = DeliveredVersion.objects.create(
                project=project,
                version=(project.delivered_versions.aggregate(last=Max("version"))["last"] or 0) + 1,
                schema=history.schema,
                model=model,
                prompt=prompt,
                rule=combination.rule,
                delivery={**combination.to_dict(), **_how_far(history)},
                last_ordinal=int(items.ordinal[-1]) if len(items) else -1,
                n_pool=len(items),
                n_in_a=int(in_a.sum()),
                file=name,
                file_sha256=sha256,
                fingerprint=fingerprint,
                sealed_head=head.hash if head else "",
                sealed_sequence=head.sequence if head else None,
            )
            record("delivered.frozen", project=project, by=by, version=row.version, chooser=combination.rule)
    except IntegrityError:  # another process froze the same state of the project at the same moment
        row = project.delivered_versions.get(fingerprint=fingerprint)
        return load(row)
    return Frozen(row, arrays)


def _how_far(history: LabelHistory) -> dict[str, float]:
    """How far the reference sample was complete when Ĉ was fitted; nothing where all of it was."""
    cutoff = history.schema.reference_cutoff
    return {} if cutoff is None else {"reference_cutoff": cutoff}


def _out_of_fold(
    model: ModelVersion | None, items: pool.Pool, history: LabelHistory, show: lifecycle.Show | None
) -> Floats | None:
    """(N, K) out-of-fold predictions by the model, for items imported after its training too; None without one."""
    if model is None:
        return None
    vectors = item_vectors.vectors_of(model.project, show)
    version = artefacts.load_version(model)
    predicted = version.predict_out_of_fold(np.ascontiguousarray(vectors[items.ordinal]), items.fold)
    return history.map_from(model.schema_id).predictions(predicted)


def _arrays(
    items: pool.Pool,
    silver: pool.SilverLabels,
    p_oof: Floats | None,
    posterior: Matrix,
    in_a: Bools,
) -> dict[str, NDArray[Any]]:
    """The arrays of the frozen file; label -1 and probability NaN where neither LLM nor model has given a label."""
    is_valid = (silver.label >= 0) & (silver.label < silver.n_classes)
    known = is_valid if p_oof is None else np.ones(len(items), dtype=bool)
    label = np.where(known, posterior.argmax(axis=1) if len(items) else 0, pool.NO_LABEL)
    probability = np.where(known, posterior.max(axis=1, initial=0), np.nan)
    model_label = np.full(len(items), pool.NO_LABEL)
    model_probability = np.full(len(items), np.nan)
    if p_oof is not None and len(items):
        model_label, model_probability = p_oof.argmax(axis=1), p_oof.max(axis=1)
    return {
        "ordinal": items.ordinal,
        "label": label.astype(np.int16),
        "probability": probability.astype(np.float32),
        "posterior": posterior.astype(np.float32),
        "model_label": model_label.astype(np.int16),
        "model_probability": model_probability.astype(np.float32),
        "in_a": in_a.astype(np.uint8),
    }
