"""Freezes delivered versions: each item's machine label, and what decided it; a frozen one is used while it holds."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max
from numpy.typing import NDArray

from annotate import files, labels, projects
from annotate.labels import LabelHistory
from annotate.learning import machine_labels, pool
from annotate.models import DeliveredVersion, Item, ModelVersion, Prediction, Project, Round, User
from annotate.models.event import record
from annotate.runs import lifecycle
from annotate.seals import chain, sealing
from annotate.silver import prompts
from models_ml import checkpoints
from models_ml.arrays import Array, Ints
from models_ml.label_combination import LabelCombination


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
    arrays, facts = machine_labels.compute(machine_labels.Given(project, history, prompt, model), items, show)
    content = checkpoints.to_bytes(arrays, {"chooser": facts["chooser"]})
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
                rule=facts["chooser"],
                delivery=facts,
                last_ordinal=int(items.ordinal[-1]) if len(items) else -1,
                n_pool=len(items),
                n_in_a=int(arrays["in_a"].sum()),
                file=name,
                file_sha256=sha256,
                fingerprint=fingerprint,
                sealed_head=head.hash if head else "",
                sealed_sequence=head.sequence if head else None,
            )
            record("delivered.frozen", project=project, by=by, version=row.version, chooser=row.rule)
    except IntegrityError:  # another process froze the same state of the project at the same moment
        row = project.delivered_versions.get(fingerprint=fingerprint)
        return load(row)
    return Frozen(row, arrays)


def differs_when_made_again(row: DeliveredVersion) -> str | None:
    """What of a version differs when its rule is applied to the rows again, in words; None if nothing does.

    Only for a version that the project has not left behind (`existing`): of others the rows of their time are gone.
    The stack is fitted again; the rule is the frozen one, since a later program may fit another.
    """
    rule, has_stack = LabelCombination.from_dict(row.delivery), "stack" in row.delivery
    given = machine_labels.Given(row.project, labels.history(row.schema), row.prompt, row.model, rule, has_stack)
    arrays, _ = machine_labels.compute(given, pool.load(row.project))
    stored = load(row).arrays
    for name in sorted(arrays.keys() | stored.keys()):
        if name not in arrays or name not in stored or not _is_same(arrays[name], stored[name]):
            return f"made again, its {name} is another"
    return None


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Equal, and probabilities up to what another order of sums changes."""
    exact = one.dtype.kind != "f"
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=0 if exact else 1e-4, equal_nan=True)
