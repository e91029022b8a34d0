"""Checks of gold: which answers or decisions it rests on, and what trains on it (S-2)."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from annotate import files, labels
from annotate.labeling.gold import ADJUDICATED
from annotate.labels import LabelHistory
from annotate.learning import delivery
from annotate.models import Adjudication, Annotation, Draw, Gold, Project, QueueEntry
from annotate.models.project import Arm
from annotate.verification.outcome import Finding, NotChecked
from models_ml import checkpoints
from models_ml.arrays import Ints


def gold_has_its_answer(project: Project) -> Iterator[str]:
    """Gold of a round has the label of a counted answer to its item; adjudicated gold, of a reviewer's decision.

    Gold that a merge settled has the merged label, as which the answers read.
    """
    answers = Annotation.objects.filter(item=OuterRef("item"), label=OuterRef("label"), is_counted=True)
    gold = Gold.objects.current().filter(project=project, round__isnull=False).select_related("item")
    histories: dict[int, LabelHistory] = {}
    for one in gold.exclude(rule=ADJUDICATED).exclude(Exists(answers)).select_related("label__schema"):
        schema = one.label.schema
        if schema.pk not in histories:
            histories[schema.pk] = labels.history(schema)
        if not _is_answered(one, histories[schema.pk]):
            yield f"item {one.item.public_id} has gold that nobody answered"
    decisions = Adjudication.objects.filter(entry__item=OuterRef("item"), entry__round=OuterRef("round"))
    decided = gold.filter(rule=ADJUDICATED)
    if orphan := decided.exclude(Exists(decisions.filter(is_current=True, label=OuterRef("label")))).first():
        yield f"item {orphan.item.public_id} has gold that no reviewer decided"


def _is_answered(gold: Gold, history: LabelHistory) -> bool:
    """Whether a counted answer under an earlier version reads as this gold's label."""
    before = set(history.label_ids)
    said = Annotation.objects.filter(item=gold.item_id, is_counted=True, label__isnull=False)
    given = [label for label in said.values_list("label_id", flat=True) if label in before]
    return any(history.gold_index(label or 0) == gold.label.index for label in given)


def decisions_stand(project: Project) -> Iterator[str]:
    """A reviewer's current decision is the gold of its item, its question answered; without a label, unresolved."""
    decided = Adjudication.objects.filter(project=project, is_current=True).select_related("item", "entry__round")
    gold = Gold.objects.current().filter(item=OuterRef("item"), round=OuterRef("entry__round"), rule=ADJUDICATED)
    for one in decided.filter(label__isnull=False).exclude(Exists(gold.filter(label=OuterRef("label"))))[:1]:
        yield f"item {one.item.public_id} was decided in round {one.entry.round.index} and does not have that gold"
    over = Q(label__isnull=True, entry__state=QueueEntry.State.UNRESOLVED) | Q(
        label__isnull=False, entry__state=QueueEntry.State.ANSWERED
    )
    for one in decided.exclude(over)[:1]:
        yield f"item {one.item.public_id} was decided in round {one.entry.round.index}, but is {one.entry.state} there"


def audit_gold_never_trains(project: Project) -> Iterator[Finding]:
    """S-2: a model's snapshot takes gold only from items that have gold of another origin than the audit.

    Its reference items were drawn for the reference sample, and lie in the part that is complete under its labels. The
    gold of a delivered version's stack has that origin, too.
    """
    models = project.model_versions.select_related("schema").order_by("version")
    if not models:
        yield NotChecked("no model is trained yet")
    for model in models:
        arrays, _ = checkpoints.load_checkpoint(files.checked_path(model.snapshot_file, model.snapshot_sha256))
        if leaked := _leaked(project, arrays["ordinal"][arrays["gold"] >= 0], model.created_at):
            yield f"{model} trained on gold of item {leaked[0]} that no other draw than the audit obtained"
        reference = set(arrays["ordinal"][arrays["reference"] == 1].tolist())
        random = Draw.objects.filter(project=project, arm=Arm.RANDOM)
        if model.schema.reference_cutoff is not None:
            random = random.filter(item__prn__gte=model.schema.reference_cutoff)
        drawn = set(random.values_list("item__ordinal", flat=True))
        if strange := sorted(reference - drawn):
            yield f"{model} took item {strange[0]} for a reference item that was not drawn as one"
    for row in project.delivered_versions.filter(delivery__has_key="stack").order_by("version"):
        arrays = delivery.load(row).arrays
        if leaked := _leaked(project, arrays["ordinal"][arrays["stack_gold"] >= 0], row.frozen_at):
            yield f"the stack of {row} saw gold of item {leaked[0]} that no other draw than the audit obtained"


def _leaked(project: Project, seen: Ints, at: datetime) -> list[int]:
    """The ordinals among `seen`, ascending, of items that had no gold of another origin than the audit by then."""
    others = Gold.objects.filter(project=project, created_at__lte=at).exclude(origin=Arm.AUDIT)
    return sorted(set(seen.tolist()) - set(others.values_list("item__ordinal", flat=True)))


def audited_items_keep_their_gold(project: Project) -> Iterator[str]:
    """S-2, by the times of the draws: trainable gold of an audited item is older than the item's audit draw.

    Times, because a bug that lets audit gold train may as well write another `origin`. Imported gold comes with an
    `imported` draw of its item.
    """
    audit = Draw.objects.filter(item=OuterRef("item"), arm=Arm.AUDIT, created_at__lt=OuterRef("created_at"))
    leaked = Gold.objects.filter(project=project).exclude(origin=Arm.AUDIT).filter(Exists(audit))
    if gold := leaked.select_related("item").first():
        yield f"item {gold.item.public_id} has gold that trains, given after the audit drew it"
    marked = Draw.objects.filter(item=OuterRef("item"), arm=Arm.IMPORTED)
    imported = Gold.objects.filter(project=project, origin=Arm.IMPORTED).exclude(Exists(marked))
    if gold := imported.select_related("item").first():
        yield f"item {gold.item.public_id} came with gold and does not belong to A"
