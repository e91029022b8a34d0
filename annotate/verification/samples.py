"""Checks of items and samples: random numbers follow from the key, and samples reach to their cut-offs (S-3)."""

from collections.abc import Iterator

import numpy as np
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from annotate import labels, samples
from annotate.modalities import modality
from annotate.models import Draw, Event, Gold, Item, Project, Round, bulk
from annotate.models.project import Arm
from models_ml import randomness


def numbers_follow_from_key(project: Project) -> Iterator[str]:
    """S-3: the key fits its commitment; items have the hash, random number and fold that key and content give."""
    key = bytes(project.key)
    if randomness.commitment(key) != project.key_commitment:
        yield "the key is not the one that was committed to"
    items = Item.objects.filter(project=project).select_related("content").order_by("ordinal")
    for item in items.iterator(chunk_size=bulk.ROWS_PER_PAGE):
        digest = modality(item.modality).content_hash(item.content.payload)
        if digest != item.content_hash:
            yield f"item {item.public_id}: its content does not have its hash"
        if item.prn != randomness.unit_interval(key, digest):
            yield f"item {item.public_id}: u does not follow from the key"
        if item.fold != randomness.fold(key, digest, project.n_folds):
            yield f"item {item.public_id}: its fold does not follow from the key"


def samples_are_complete(project: Project) -> Iterator[str]:
    """S-3: a sample holds each item of the pool beyond its cut-off and no item short of it; the cut-offs never cross.

    Draws of the open round are left out: the cut-offs move when it closes.
    """
    low, high = project.audit_cutoff, project.reference_cutoff
    if low is not None and high is not None and low >= high:
        yield f"the marks have crossed ({low} and {high})"
    for arm, beyond in ((Arm.AUDIT, Q(prn__lte=low)), (Arm.RANDOM, Q(prn__gte=high))):
        cutoff = low if arm == Arm.AUDIT else high
        drawn = Draw.objects.filter(project=project, arm=arm).exclude(round__state=Round.State.OPEN)
        inside = Item.objects.filter(project=project).filter(beyond) if cutoff is not None else Item.objects.none()
        missing = inside.in_pool().exclude(pk__in=drawn.values("item")).first()
        if missing:
            yield f"item {missing.public_id} lies behind the {arm} mark and is not in the sample"
        outside = drawn.exclude(item__in=inside).select_related("item").first()
        if outside:
            yield f"item {outside.item.public_id} is in the {arm} sample and lies beyond its mark"
    yield from _cutoffs_only_move_to_the_middle(project)
    yield from _complete_parts_hold_no_void_gold(project)
    yield from _each_part_ends_at_void_gold(project)


def _complete_parts_hold_no_void_gold(project: Project) -> Iterator[str]:
    """Gold of the complete part of a sample is valid under the labels in force, or was asked again since.

    An item that was brought back may come with void gold, and counts as unresolved until it is asked again.
    """
    schema = labels.current(project).schema
    void = samples.to_ask_again(schema)
    if not void:
        return
    for arm, held in (
        (Arm.AUDIT, Q() if schema.audit_cutoff is None else Q(item__prn__lte=schema.audit_cutoff)),
        (Arm.RANDOM, Q() if schema.reference_cutoff is None else Q(item__prn__gte=schema.reference_cutoff)),
    ):
        drawn = Draw.objects.filter(held, project=project, arm=arm).exclude(round__state=Round.State.OPEN)
        for draw in drawn.select_related("item"):
            if draw.item_id in void and not was_withdrawn(draw.item):
                yield f"the gold of item {draw.item.public_id} is void, and the {arm} sample counts as complete there"


def was_withdrawn(item: Item) -> bool:
    """Whether the item is or was withdrawn, or may be one of so many that the event does not name them all."""
    if item.withdrawn_at is not None:
        return True
    events = Event.objects.filter(project=item.project_id, kind="items.withdrawn")
    if events.annotate(text=Cast("data", TextField())).filter(text__contains=item.public_id).exists():
        return True
    return any(data.get("n_items", 0) > len(data.get("items", ())) for data in events.values_list("data", flat=True))


def _each_part_ends_at_void_gold(project: Project) -> Iterator[str]:
    """A cut-off of the labels stands just short of an item of its sample that had gold which is void now."""
    history = labels.current(project)
    schema = history.schema
    for arm, cutoff, towards in (
        (Arm.AUDIT, schema.audit_cutoff, 2.0),
        (Arm.RANDOM, schema.reference_cutoff, -1.0),
    ):
        if cutoff is None:
            continue
        following = Item.objects.filter(project=project, prn=float(np.nextafter(cutoff, towards)), draws__arm=arm)
        if not Gold.objects.filter(item__in=following, label__in=history.void_ids).exists():
            yield f"the {arm} sample counts as complete up to {cutoff}, where no gold is void"


def _cutoffs_only_move_to_the_middle(project: Project) -> Iterator[str]:
    """From one closed round to the next the audit cut-off never falls and the reference cut-off never rises."""
    audit, reference = -1.0, 2.0
    for closed in project.rounds.filter(state=Round.State.CLOSED).order_by("index"):
        if closed.audit_cutoff is not None and closed.audit_cutoff < audit:
            yield f"the audit mark moved back in round {closed.index}"
        if closed.reference_cutoff is not None and closed.reference_cutoff > reference:
            yield f"the reference mark moved back in round {closed.index}"
        audit = closed.audit_cutoff if closed.audit_cutoff is not None else audit
        reference = closed.reference_cutoff if closed.reference_cutoff is not None else reference
