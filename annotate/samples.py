"""Decides which items belong to the audit and reference samples: those beyond a cut-off, which never moves back.

The audit sample is every item whose permanent random number (prn) is at most the audit cut-off, the reference sample
every item whose prn is at least the reference cut-off.
"""

import numpy as np
from django.db.models import Exists, Max, Min, OuterRef, QuerySet

from annotate import labels
from annotate.models import Draw, Gold, Item, LabelSchema, Project, QueueEntry, Round, bulk
from annotate.models.project import Arm
from models_ml.label_map import NO_LABEL, LabelMap


def absorb_late(*, project: Project) -> int:
    """Give each item of the pool that lies beyond a cut-off, and has no draw of that sample yet, such a draw.

    Items get there by an import, by a correction or by being brought back. Returns how many draws were made.
    """
    project = Project.objects.get(pk=project.pk)  # the caller's row may be older than the last round
    joined = 0
    if project.audit_cutoff is not None:
        joined += _join(project, Arm.AUDIT, prn__lte=project.audit_cutoff)
    if project.reference_cutoff is not None:
        joined += _join(project, Arm.RANDOM, prn__gte=project.reference_cutoff)
    return joined


def _join(project: Project, arm: str, **beyond: float) -> int:
    late = (
        Item.objects.filter(project=project, **beyond)
        .in_pool()
        .exclude(pk__in=Draw.objects.filter(project=project, arm=arm).values("item"))
    )
    draws = [
        Draw(project=project, item_id=item, arm=arm, reason="imported behind the mark")
        for item in late.values_list("id", flat=True)
    ]
    Draw.objects.bulk_create(draws, batch_size=bulk.ROWS_PER_INSERT)
    return len(draws)


def advance_cutoffs(current: Round) -> None:
    """Move the project's cut-offs to the last item that `current`, a round being closed, drew for each sample.

    A cut-off that lies further already stays. The round's row records both.
    """
    project = Project.objects.select_for_update().get(pk=current.project_id)
    drawn = Draw.objects.filter(round=current)
    top = drawn.filter(arm=Arm.AUDIT).aggregate(u=Max("item__prn"))["u"]
    bottom = drawn.filter(arm=Arm.RANDOM).aggregate(u=Min("item__prn"))["u"]
    if top is not None and (project.audit_cutoff is None or top > project.audit_cutoff):
        project.audit_cutoff = top
    if bottom is not None and (project.reference_cutoff is None or bottom < project.reference_cutoff):
        project.reference_cutoff = bottom
    project.save(update_fields=["audit_cutoff", "reference_cutoff"])
    current.audit_cutoff, current.reference_cutoff = project.audit_cutoff, project.reference_cutoff


def complete_samples(schema: LabelSchema, *, is_new: bool = False) -> None:
    """Set how far each sample is complete under `schema`: up to the first item whose gold a change made void.

    An item whose gold is void holds its sample up until it was asked again in a round that is closed; unanswered then,
    it is unresolved and counted as such. Call when the labels changed (`is_new`) and when a round closes. From then on
    a cut-off only grows its sample: void gold of an item that is brought back counts as unresolved.
    """
    void = _void(schema)
    audit, reference = (_numbers(schema, arm, void) for arm in (Arm.AUDIT, Arm.RANDOM))
    low = float(np.nextafter(min(audit), -1.0)) if audit else None
    high = float(np.nextafter(max(reference), 2.0)) if reference else None
    if is_new or (schema.audit_cutoff is not None and (low is None or low > schema.audit_cutoff)):
        schema.audit_cutoff = low
    if is_new or (schema.reference_cutoff is not None and (high is None or high < schema.reference_cutoff)):
        schema.reference_cutoff = high
    schema.save(update_fields=["audit_cutoff", "reference_cutoff"])


def to_ask_again(schema: LabelSchema) -> set[int]:
    """Ids of the audit and reference items whose gold is void under `schema` and that no closed round asked again."""
    return _in_samples(schema, _void(schema))


def void_gold(schema: LabelSchema, step: LabelMap | None = None) -> set[int]:
    """Ids of items whose blind gold a change of labels made void.

    `step`: a change of the labels of `schema` that is only thought of.
    """
    history = labels.history(schema)
    if history.is_first and step is None:
        return set()
    reads = {label: _reads(history, label, step) for label in history.label_ids}
    rows = Gold.objects.current().filter(project=schema.project_id, is_blind=True).values_list("item_id", "label_id")
    valid: set[int] = set()
    void: set[int] = set()
    for item, label in rows.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ):
        (valid if reads[label] else void).add(item)
    return void - valid


def n_void_after(schema: LabelSchema, step: LabelMap) -> int:
    """How many audit and reference items would have void gold, were the labels of `schema` changed by `step` now."""
    return len(_in_samples(schema, _void(schema, step)))


def _in_samples(schema: LabelSchema, ids: set[int]) -> set[int]:
    if not ids:
        return set()
    held = (_in_sample(schema, arm).values_list("pk", flat=True).iterator() for arm in (Arm.AUDIT, Arm.RANDOM))
    return {item for items in held for item in items} & ids


def _numbers(schema: LabelSchema, arm: str, ids: set[int]) -> list[float]:
    """The permanent random numbers of those of the items `ids` that the sample of `arm` holds."""
    if not ids:
        return []
    return [u for item, u in _in_sample(schema, arm).values_list("pk", "prn").iterator() if item in ids]


def _void(schema: LabelSchema, step: LabelMap | None = None) -> set[int]:
    """Ids of items whose blind gold a change of labels made void, and that no closed round asked again since.

    `step`: a change of the labels of `schema` that is only thought of; no round has asked again after it.
    """
    void = void_gold(schema, step)
    if step is not None or not void:
        return void
    asked = QueueEntry.objects.filter(round__project=schema.project_id, round__state=Round.State.CLOSED)
    again = asked.filter(round__opened_at__gt=schema.created_at)
    return void - set(again.values_list("item_id", flat=True))


def _reads(history: labels.LabelHistory, label: int, step: LabelMap | None) -> bool:
    index = history.gold_index(label)
    return index != NO_LABEL and (step is None or bool(step.keeps_gold[index]))


def _in_sample(schema: LabelSchema, arm: str) -> QuerySet[Item]:
    """Items of the pool that the sample of `arm` holds: drawn in a round that is closed, or without one."""
    draws = Draw.objects.filter(item=OuterRef("pk"), arm=arm).exclude(round__state=Round.State.OPEN)
    return Item.objects.filter(Exists(draws), project=schema.project_id).in_pool()
