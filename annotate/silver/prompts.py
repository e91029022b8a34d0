"""Decides which prompt version machine answers belong to, which items have none yet, and which silver is in force."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
from django.db import transaction
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from annotate import projects
from annotate.modalities import modality
from annotate.models import (
    Connection,
    GuidelineVersion,
    Import,
    Item,
    LabelSchema,
    Prediction,
    Project,
    PromptVersion,
    bulk,
)
from annotate.providers.openai import Endpoint
from annotate.silver import connections
from models_ml.llm import chat
from models_ml.llm.chat import Message
from models_ml.types import Contents, Failure, Judgement, LabelSpec

_CHUNK = 512  # items per query; an annotator in this process commits after each, so a crash loses at most so many


@transaction.atomic
def version(*, project: Project, annotator: str, model: str, parameters: dict[str, Any]) -> PromptVersion:
    """The prompt version of this annotator, model, parameters and the current labels and guidelines; made if new."""
    if same := existing(project=project, annotator=annotator, model=model, parameters=parameters):
        return same
    last = project.prompts.aggregate(last=Max("version"))["last"] or 0
    return PromptVersion.objects.create(
        project=project,
        version=last + 1,
        annotator=annotator,
        model=model,
        schema=projects.current_schema(project),
        guidelines=projects.current_guidelines(project),
        parameters=parameters,
        sha256=_sha256(project, annotator, model, parameters),
    )


def existing(*, project: Project, annotator: str, model: str, parameters: dict[str, Any]) -> PromptVersion | None:
    """The prompt version that `version` would return, or None if it would have to be made."""
    return project.prompts.filter(sha256=_sha256(project, annotator, model, parameters)).first()


def of_connection(project: Project, connection: Connection, endpoint: Endpoint) -> dict[str, Any]:
    """The arguments of `version` for answers over this connection. Key and prices are no part of them."""
    parameters = {
        "server": urlsplit(endpoint.base_url).netloc,
        "prompt": chat.VERSION,
        "temperature": endpoint.temperature,
        "max_output_tokens": endpoint.max_output_tokens,
        "n_alternatives": endpoint.n_alternatives,
        "fields": list(modality(project.modality).FIELDS),
    }
    return {"project": project, "annotator": connections.ANNOTATOR, "model": connection.model, "parameters": parameters}


@dataclass(frozen=True)
class Coverage:
    """How many items of the pool have an answer under one prompt version."""

    prompt: PromptVersion
    n: int
    is_whole: bool  # the caller knows that no item of the project is outside the pool

    def n_failed(self) -> int:
        """How many of these answers are failures; one query."""
        return _n_failed([self.prompt], self.is_whole).get(self.prompt.pk, 0)


def in_force(project: Project, *, is_whole: bool = False) -> Coverage | None:
    """The silver in force: the prompt version that answers most items of the pool, the newest of equals.

    So a new version takes over when it covers as many items as the old one, never half-way. One of which more than half
    of the answers failed takes over from none that is better, and one of nothing but failures from none with a label.

    One query, two where there are several versions. It counts all answers and subtracts those to items outside the
    pool: at 100,000 items joining the items takes longer. `is_whole`: the caller knows that no item is outside the
    pool, so nothing is subtracted.
    """
    answers = Prediction.objects.current().filter(prompt=OuterRef("pk"))
    outside = answers.filter(item__in=Item.objects.filter(project=project).outside_pool())
    n = _count(answers) if is_whole else _count(answers) - _count(outside)
    # Python picks the best: SQLite would count again for each clause that names the count.
    covered = [Coverage(prompt, prompt.n, is_whole) for prompt in project.prompts.annotate(n=n) if prompt.n]
    n_failed = _n_failed([one.prompt for one in covered], is_whole) if len(covered) > 1 else {}
    return max(covered, key=lambda one: _rank(one, n_failed.get(one.prompt.pk, 0)), default=None)


def _rank(one: Coverage, n_failed: int) -> tuple[bool, bool, int, int]:
    """Mostly labels before mostly failures, some labels before none, more answers before fewer, newer before older."""
    return 2 * n_failed <= one.n, n_failed < one.n, one.n, one.prompt.version


def _n_failed(versions: Sequence[PromptVersion], is_whole: bool) -> dict[int, int]:
    """How many answers to items of the pool are failures, by prompt version."""
    failures = Prediction.objects.failed().filter(prompt__in=versions)
    in_pool = Q(item__source__state=Import.State.COMPLETE, item__withdrawn_at__isnull=True)
    counted = (failures if is_whole else failures.filter(in_pool)).order_by().values_list("prompt")
    return dict(counted.annotate(n=Count("pk")))


def current_prompt(project: Project) -> PromptVersion | None:
    """The prompt version of the silver in force."""
    covered = in_force(project)
    return covered.prompt if covered else None


def opening(schema: LabelSchema, guidelines: GuidelineVersion | None) -> tuple[Message, ...]:
    """The messages that a chat model gets before each item: task, guidelines, options."""
    return chat.opening(label_specs(schema), guidelines.markdown if guidelines else "")


def label_specs(schema: LabelSchema) -> list[LabelSpec]:
    """The schema's labels as annotators take them, by index."""
    labels = schema.labels.order_by("index")
    return [LabelSpec(label.name, label.definition, tuple(label.examples)) for label in labels]


def parts_of(item: Item) -> Contents:
    """The texts that an annotator reads of an item; a query if the item's content is not loaded."""
    return modality(item.modality).contents(item.content.payload)


def pending(project: Project, prompt: PromptVersion | None) -> QuerySet[Item]:
    """Items of the pool without an answer under this prompt version; all of the pool for None (not made yet)."""
    found = Item.objects.filter(project=project).in_pool()
    if prompt is None:
        return found
    return found.exclude(Exists(Prediction.objects.filter(prompt=prompt, item=OuterRef("pk"))))


def failed(project: Project, prompt: PromptVersion | None, until: int | None = None) -> QuerySet[Item]:
    """Items of the pool whose answer under this prompt version is a failure; with `until`, one stored up to that key.

    A run that asks them again leaves out, by `until`, what failed again under its own hands.
    """
    rows = Prediction.objects.failed().filter(prompt=prompt, item=OuterRef("pk"))
    if until is not None:
        rows = rows.filter(pk__lte=until)
    return Item.objects.filter(project=project).in_pool().filter(Exists(rows))


def chunks(asked: QuerySet[Item]) -> Iterator[list[Item]]:
    """Lists of the items in the order of ordinals. Each begins after the one before it, so no item comes twice."""
    after = -1
    while True:
        found = asked.filter(ordinal__gt=after).select_related("content").order_by("ordinal")
        items = list(found[:_CHUNK])
        if not items:
            return
        yield items
        after = items[-1].ordinal


def store(*, prompt: PromptVersion, items: Sequence[Item], answers: Sequence[Judgement | Failure]) -> None:
    """Store a Prediction for each item: its answer's label and distribution, or the kind of its failure.

    Where an item failed before under this prompt version, its answer becomes the next attempt, which counts.
    """
    before = dict(prompt.predictions.failed().filter(item__in=items).values_list("item", "attempt"))
    if before:
        prompt.predictions.current().filter(item__in=before).update(is_current=False)
    Prediction.objects.bulk_create(
        (_row(prompt, item, answer, before.get(item.pk, 0) + 1) for item, answer in zip(items, answers, strict=True)),
        batch_size=bulk.ROWS_PER_INSERT,
    )


def _row(prompt: PromptVersion, item: Item, answer: Judgement | Failure, attempt: int) -> Prediction:
    row = Prediction(
        prompt=prompt,
        item=item,
        attempt=attempt,
        n_input_tokens=answer.n_input_tokens,
        n_output_tokens=answer.n_output_tokens,
        cost_micros=answer.cost_micros,
        latency_seconds=answer.latency_seconds,
    )
    if isinstance(answer, Failure):
        row.status, row.message, row.reply = answer.kind.value, answer.message[:300], answer.reply
        return row
    row.status, row.label_index, row.label_mass = Prediction.Status.OK, answer.label, answer.label_mass
    if answer.probabilities is not None:
        row.probabilities = np.ascontiguousarray(answer.probabilities, dtype="<f4").tobytes()
    return row


def _sha256(project: Project, annotator: str, model: str, parameters: dict[str, Any]) -> str:
    schema, guidelines = projects.current_schema(project), projects.current_guidelines(project)
    content = {
        "annotator": annotator,
        "model": model,
        "schema": schema.version,
        "guidelines": guidelines.version if guidelines else None,
        "parameters": parameters,
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _count(answers: QuerySet[Prediction]) -> Coalesce:
    counted = answers.order_by().values("prompt").annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n")), Value(0))
