"""Asks an annotator model for silver: one prediction per item and prompt version, resumed where it stopped."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet

from annotate import access, embeddings, projects, runs
from annotate.errors import InvalidInput
from annotate.modalities import modality
from annotate.models import Item, Prediction, Project, PromptVersion, User
from annotate.models.event import record
from models_ml import registry
from models_ml.encoders.items import joined
from models_ml.types import Annotator, Failure, Judgement, LabelSpec

_CHUNK = 512


def prelabel(
    *,
    project: Project,
    by: User,
    annotator: Annotator | None = None,
    show: runs.Show | None = None,
    show_encoding: runs.Show | None = None,
) -> PromptVersion:
    """Predictions for every item of the pool that has none under the current prompt version."""
    access.require(by, project, to="manage")
    with runs.start(kind="prelabel", project=project, by=by, show=show) as attempt:
        known = None
        if annotator is None:
            known = embeddings.KnownVectors(embeddings.encoder_named(project.encoder))
            annotator = _in_process(project.annotator, known)
        prompt = prompt_version(
            project=project, annotator=annotator.name, model=annotator.model, parameters=_parameters(project)
        )
        # The annotator reads one text per item: a pair's stored vector is of two, and no use to it.
        is_one_text = len(modality(project.modality).FIELDS) == 1
        vectors = embeddings.vectors_of(project, show_encoding) if known and is_one_text else None
        labels = _label_specs(prompt)
        guidelines = prompt.guidelines.markdown if prompt.guidelines else ""
        total = _pending(project, prompt).count()
        done = 0
        for items in _chunks(project, prompt):
            parts = [modality(item.modality).prompt_parts(item.content.payload) for item in items]
            if known and vectors is not None:
                known.remember([joined(p) for p in parts], vectors[[item.ordinal for item in items]])
            answers = annotator.annotate(parts, labels=labels, guidelines=guidelines, examples=())
            done += len(items)
            with transaction.atomic():
                attempt.write(done, total)
                store(prompt=prompt, items=items, answers=answers)
        record("prelabel.completed", project=project, by=by, prompt=prompt.version, n_items=done)
    return prompt


@transaction.atomic
def prompt_version(*, project: Project, annotator: str, model: str, parameters: dict[str, Any]) -> PromptVersion:
    """The version that stands for exactly this: model, labels, guidelines and parameters; made when new."""
    schema, guidelines = projects.current_schema(project), projects.current_guidelines(project)
    content = {
        "annotator": annotator,
        "model": model,
        "schema": schema.version,
        "guidelines": guidelines.version if guidelines else None,
        "parameters": parameters,
    }
    sha256 = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    if same := project.prompts.filter(sha256=sha256).first():
        return same
    last = project.prompts.aggregate(last=Max("version"))["last"] or 0
    return PromptVersion.objects.create(
        project=project,
        version=last + 1,
        annotator=annotator,
        model=model,
        schema=schema,
        guidelines=guidelines,
        parameters=parameters,
        sha256=sha256,
    )


def store(*, prompt: PromptVersion, items: Sequence[Item], answers: Sequence[Judgement | Failure]) -> None:
    """One row per answer; a failure is stored as what it is."""
    Prediction.objects.bulk_create(
        (_row(prompt, item, answer) for item, answer in zip(items, answers, strict=True)), batch_size=500
    )


def _row(prompt: PromptVersion, item: Item, answer: Judgement | Failure) -> Prediction:
    row = Prediction(
        prompt=prompt,
        item=item,
        n_input_tokens=answer.n_input_tokens,
        n_output_tokens=answer.n_output_tokens,
        cost_micros=answer.cost_micros,
        latency_seconds=answer.latency_seconds,
    )
    if isinstance(answer, Failure):
        row.status, row.message = answer.kind.value, answer.message[:300]
        return row
    row.status, row.label_index, row.label_mass = Prediction.Status.OK, answer.label, answer.label_mass
    if answer.probabilities is not None:
        row.probabilities = np.ascontiguousarray(answer.probabilities, dtype="<f4").tobytes()
    return row


def _parameters(project: Project) -> dict[str, Any]:
    """How items are put to the annotator, where there is more than one way: texts in this order, joined."""
    fields = modality(project.modality).FIELDS
    return {"fields": list(fields), "joined_by": "line break"} if len(fields) > 1 else {}


def _in_process(name: str, encoder: embeddings.KnownVectors) -> Annotator:
    if name not in registry.ANNOTATORS:
        raise InvalidInput(f"There is no annotator {name!r}; there are: {', '.join(sorted(registry.ANNOTATORS))}.")
    return registry.annotator(name, encoder=encoder)


def _label_specs(prompt: PromptVersion) -> list[LabelSpec]:
    return [
        LabelSpec(label.name, label.definition, tuple(label.examples))
        for label in prompt.schema.labels.order_by("index")
    ]


def _pending(project: Project, prompt: PromptVersion) -> QuerySet[Item]:
    answered = Prediction.objects.filter(prompt=prompt, item=OuterRef("pk"))
    return Item.objects.filter(project=project).in_pool().exclude(Exists(answered))


def _chunks(project: Project, prompt: PromptVersion) -> Iterator[list[Item]]:
    """Pending items in the order of their ordinals; each chunk starts after the last, so none comes twice."""
    after = -1
    while True:
        pending = _pending(project, prompt).filter(ordinal__gt=after).select_related("content").order_by("ordinal")
        items = list(pending[:_CHUNK])
        if not items:
            return
        yield items
        after = items[-1].ordinal
