"""Decides which items belong to the audit and reference samples: those beyond a cut-off, which never moves back.

The audit sample is every item whose permanent random number (prn) is at most the audit cut-off, the reference sample
every item whose prn is at least the reference cut-off.
"""

from datetime import datetime

import numpy as np
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet

from annotate import labels
from annotate.models import Draw, Gold, Item, LabelSchema, Project, QueueEntry, Round, bulk
from annotate.models.project import Arm
from models_ml.label_map import NO_LABEL, LabelMap


def for_examples() -> Q:
    """Rows of Item that pages may show as examples, with what machines say of them: the middle third of the prn.

    Neither sample reaches it, each being a third of the pool at most. In a small pool it may by chance: there the
    sample's items are left out.
    """
    drawn = Draw.objects.filter(item=OuterRef("pk"), arm__in=(Arm.AUDIT, Arm.RANDOM))
    return Q(prn__gte=1 / 3, prn__lt=2 / 3) & ~Q(Exists(drawn))


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


def complete_samples(schema: LabelSchema, *, is_new: bool = False, closed: Round | None = None) -> None:
    """Set how far each sample is complete under `schema`: up to the first item whose gold a change made void.

    An item whose gold is void holds its sample up until it was asked again in a round that is closed; unanswered then,
    it is unresolved and counted as such. Call when the labels changed (`is_new`) and when a round closes (`closed`).
    """
    void = _void(schema)
    late = closed if closed and closed.opened_at <= schema.created_at else None
    schema.audit_cutoff = _cutoff(schema, Arm.AUDIT, void, is_new=is_new, late=late)
    schema.reference_cutoff = _cutoff(schema, Arm.RANDOM, void, is_new=is_new, late=late)
    schema.save(update_fields=["audit_cutoff", "reference_cutoff"])


def _cutoff(schema: LabelSchema, arm: str, void: set[int], *, is_new: bool, late: Round | None) -> float | None:
    """How far the sample of `arm` is complete where the items `void` hold it up; None: it is whole.

    A cut-off of a version only grows its sample: void gold of an item that is brought back counts as unresolved. A
    sample that was whole ends where `late`, a round that was open when the labels changed, brings void gold into it.
    """
    before = schema.audit_cutoff if arm == Arm.AUDIT else schema.reference_cutoff
    if before is None and not is_new:
        return _short_of(arm, _numbers(schema, arm, void, late)) if late else None
    now = _short_of(arm, _numbers(schema, arm, void))
    if is_new or before is None or now is None:
        return now
    return max(now, before) if arm == Arm.AUDIT else min(now, before)


def _short_of(arm: str, held_up: list[float]) -> float | None:
    """The cut-off just short of the first of these permanent random numbers; None where there are none."""
    if not held_up:
        return None
    return float(np.nextafter(min(held_up), -1.0) if arm == Arm.AUDIT else np.nextafter(max(held_up), 2.0))


def to_ask_again(schema: LabelSchema) -> set[int]:
    """Ids of the audit and reference items whose gold is void under `schema` and that no closed round asked again."""
    return _in_samples(schema, _void(schema))


def n_void_after(schema: LabelSchema, step: LabelMap) -> int:
    """At most how many audit and reference items would be asked again, were the labels of `schema` changed by `step`.

    Those of the open round count, too: their samples hold them once it is closed. All of its questions count alike,
    whichever arm drew them: else answering one and looking again told. Exact where no round is open.
    """
    void = _void(schema, step)
    asked = QueueEntry.objects.filter(round__project=schema.project_id, round__state=Round.State.OPEN)
    in_round = set(asked.filter(item__withdrawn_at__isnull=True).values_list("item", flat=True)) & void
    return len(_in_samples(schema, void, with_open=True) | in_round)


def _in_samples(schema: LabelSchema, ids: set[int], *, with_open: bool = False) -> set[int]:
    if not ids:
        return set()
    arms = (Arm.AUDIT, Arm.RANDOM)
    held = (_in_sample(schema, arm, with_open=with_open).values_list("pk", flat=True).iterator() for arm in arms)
    return {item for items in held for item in items} & ids


def _numbers(schema: LabelSchema, arm: str, ids: set[int], of: Round | None = None) -> list[float]:
    """The permanent random numbers of those of the items `ids` that the sample of `arm` holds.

    `of`: only those that this round drew for it.
    """
    if not ids:
        return []
    held = _in_sample(schema, arm)
    if of:
        held = held.filter(Exists(Draw.objects.filter(item=OuterRef("pk"), arm=arm, round=of)))
    return [u for item, u in held.values_list("pk", "prn").iterator() if item in ids]


def _void(schema: LabelSchema, step: LabelMap | None = None) -> set[int]:
    """Ids of items whose blind gold a change of labels made void, and that no closed round asked again since.

    `step`: a change of the labels of `schema` that is only thought of; no round has asked again after it.
    """
    since = _void_since(schema, step)
    moments = [moment for moment in since.values() if moment]
    if not moments:
        return set(since)
    asked = QueueEntry.objects.filter(round__project=schema.project_id, round__state=Round.State.CLOSED)
    later = asked.filter(round__opened_at__gt=min(moments)).values_list("item_id", "round__opened_at")
    again = {item for item, opened in later if item in since and (moment := since[item]) and opened > moment}
    return set(since) - again


def _void_since(schema: LabelSchema, step: LabelMap | None) -> dict[int, datetime | None]:
    """When the blind gold of items became void, by item; None where only `step`, a change thought of, makes it void.

    A later change that spares what is void already asks nothing again.
    """
    history = labels.history(schema)
    if history.is_first and step is None:
        return {}
    made_at = dict(LabelSchema.objects.filter(pk__in=history.maps).values_list("pk", "created_at"))
    since = {label: made_at[version] for label, version in history.void_since.items()}
    reads = {label: _reads(history, label, step) for label in history.label_ids}
    rows = Gold.objects.current().filter(project=schema.project_id, is_blind=True).values_list("item_id", "label_id")
    valid: set[int] = set()
    void: dict[int, datetime | None] = {}
    for item, label in rows.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ):
        if reads[label]:
            valid.add(item)
            continue
        moment = since.get(label)
        earlier = void.get(item, moment)
        void[item] = max(moment, earlier) if moment and earlier else None  # of two golds the one that was valid longer
    return {item: moment for item, moment in void.items() if item not in valid}


def _reads(history: labels.LabelHistory, label: int, step: LabelMap | None) -> bool:
    index = history.gold_index(label)
    return index != NO_LABEL and (step is None or bool(step.keeps_gold[index]))


def _in_sample(schema: LabelSchema, arm: str, *, with_open: bool = False) -> QuerySet[Item]:
    """Items of the pool that the sample of `arm` holds: drawn in a round that is closed, or without one.

    `with_open`: those that the open round drew, too, which the sample holds once that is closed.
    """
    draws = Draw.objects.filter(item=OuterRef("pk"), arm=arm)
    held = draws if with_open else draws.exclude(round__state=Round.State.OPEN)
    return Item.objects.filter(Exists(held), project=schema.project_id).in_pool()
