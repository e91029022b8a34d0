"""Checks of what the gold rule makes of answers: gold ends for a reason, and answers that agree have gold (S-6).

A project's rule, and who is trusted, are known as they are now; where an event says that they changed since, what the
rule of that time made is called not checked.
"""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from annotate import labels
from annotate.labeling import context, disputes, gold
from annotate.labels import LabelHistory
from annotate.models import Adjudication, Annotation, Draw, Gold, LabelMapping, Project, QueueEntry
from annotate.models.project import Arm, GoldRule
from annotate.verification.outcome import Finding, NotChecked

_RULE = ("gold_rule", "agree_k")
_OF_MEMBERS = Q(kind__startswith="member.") | Q(kind__in=["invitation.accepted", "project.handed_over"])


def gold_ends_for_a_reason(project: Project) -> Iterator[Finding]:
    """Gold that counts no more was followed by gold in its place, another label, or a skip of who had labeled its item.

    Or by a decision without a label, where it was decided. An answer that says the same again is no reason, unless the
    gold rule or who is trusted changed in between.
    """
    ended = Gold.objects.filter(project=project, is_current=False).exclude(Exists(_in_its_place()))
    ended = ended.exclude(Exists(_undecided_again()), rule=gold.ADJUDICATED).exclude(Exists(_taken_back()))
    for one in ended.select_related("item").order_by("pk"):
        said = set(_later().filter(item=one.item_id, created_at__gte=one.created_at).values_list("label", flat=True))
        if said - _same_labels(one.label_id):
            continue
        if said and _rule_changed(project, since=one.created_at, with_trust=True):
            yield NotChecked(f"gold of item {one.item.public_id}: the rule or who is trusted changed", is_part=True)
        else:
            yield f"the gold of item {one.item.public_id} (row {one.pk}) counts no more, and nothing followed it"


def _in_its_place() -> QuerySet[Gold]:
    """Later gold of the same item and kind: of the audit, that may train, or decided in the same round."""
    later = Gold.objects.filter(item=OuterRef("item"), pk__gt=OuterRef("pk"))
    is_audit = Q(origin=Arm.AUDIT)
    of_kind = (is_audit & Q(Exists(_outer(is_audit)))) | (~is_audit & Q(Exists(_outer(~is_audit))))
    decided = Q(rule=gold.ADJUDICATED, round=OuterRef("round")) & Q(Exists(_outer(Q(rule=gold.ADJUDICATED))))
    return later.filter(of_kind | decided)


def _outer(condition: Q) -> QuerySet[Gold]:
    """The ended gold itself, two levels further out, where it meets the condition."""
    return Gold.objects.filter(condition, pk=OuterRef(OuterRef("pk")))


def _undecided_again() -> QuerySet[Adjudication]:
    later = {"item": OuterRef("item"), "entry__round": OuterRef("round"), "created_at__gte": OuterRef("created_at")}
    return Adjudication.objects.filter(label__isnull=True, **later)


def _taken_back() -> QuerySet[Annotation]:
    """Later skips of people who had labeled the item."""
    labeled = Annotation.objects.filter(
        item=OuterRef("item"), annotator=OuterRef("annotator"), label__isnull=False, revision__lt=OuterRef("revision")
    )
    skips = Annotation.objects.filter(item=OuterRef("item"), label__isnull=True, is_counted=True)
    return skips.filter(Exists(labeled), created_at__gte=OuterRef("created_at"))


def _later() -> QuerySet[Annotation]:
    return Annotation.objects.filter(label__isnull=False, is_counted=True).order_by()


def _same_labels(label: int) -> set[int]:
    """The label, and those of later versions that its gold reads as."""
    found, new = {label}, {label}
    while new:
        steps = LabelMapping.objects.filter(source__in=new, keeps_gold=True, target__isnull=False)
        new = set(steps.values_list("target", flat=True)) - found
        found |= new
    return found


def _rule_changed(project: Project, *, since: datetime, with_trust: bool) -> bool:
    """Whether an event says that the gold rule, or with `with_trust` whose answers meet it, is another since."""
    events = project.events.filter(at__gte=since)
    settings = events.filter(kind="settings.changed").values_list("data", flat=True)
    if any(name in data.get("after", {}) for data in settings for name in _RULE):
        return True
    return with_trust and events.filter(_OF_MEMBERS).exists()


def agreeing_answers_have_gold(project: Project) -> Iterator[Finding]:
    """An answered question without gold, and without a decision, has answers that do not meet the gold rule.

    Looked at is each item's last question: what people say of an item later may settle nothing.
    """
    history = labels.current(project)
    later = QueueEntry.objects.filter(item=OuterRef("item"), pk__gt=OuterRef("pk"))
    without = disputes.undecided(project).filter(state=QueueEntry.State.ANSWERED).exclude(Exists(later))
    for entry in without.select_related("item", "round").order_by("pk").iterator():
        answered_at = _agreed_at(project, entry, history)
        if answered_at is None or _waits_for_the_audit(entry, answered_at):
            continue
        if _rule_changed(project, since=answered_at, with_trust=project.gold_rule == GoldRule.ONE_TRUSTED):
            yield NotChecked(f"whether item {entry.item.public_id} had to get gold: the rule changed", is_part=True)
        else:
            yield f"the answers to item {entry.item.public_id} of round {entry.round.index} agree, and it has no gold"


def _waits_for_the_audit(entry: QueueEntry, answered_at: datetime) -> bool:
    """Whether the item has gold that trains, and the audit, which asks it anew, drew it after it was answered."""
    drawn = Draw.objects.filter(item=entry.item_id, arm=Arm.AUDIT, created_at__gte=answered_at)
    return drawn.exists() and Gold.objects.trainable().filter(item=entry.item_id).exists()


def _agreed_at(project: Project, entry: QueueEntry, history: LabelHistory) -> datetime | None:
    """When the last of the answers was given that meet the gold rule; None where they do not meet it."""
    answers = context.all_answers(project, entry.item_id)
    evidence = gold.evidence_of(entry, answers)
    now = [(history.gold_label(row.label_id), row.annotator_id in answers.trusted) for row in evidence]
    said = [(label.pk, is_trusted) for label, is_trusted in now if label is not None]
    # Answers that named different labels were judged again when the labels changed, if all of the overlap read on.
    is_unclear = len({row.label_id for row in evidence}) > 1 and len(said) < entry.overlap
    if is_unclear or gold.gold_label(project, said) is None:
        return None
    return max(row.created_at for row in answers.rows)
