"""Decides what becomes gold, once the overlap of a question is full; a disagreement is no gold."""

from collections import Counter
from collections.abc import Sequence

from annotate.access import MAY
from annotate.models import Annotation, Draw, Gold, Member, Project, QueueEntry
from annotate.models.project import Arm, GoldRule


def settle(entry: QueueEntry) -> Gold | None:
    """Call after each counted answer or skip, in its transaction. Returns the gold that now stands, if any."""
    answers = list(Annotation.objects.filter(entry=entry, is_current=True, is_counted=True).select_related("label"))
    n_labels = sum(answer.label_id is not None for answer in answers)
    if n_labels >= entry.overlap:
        _set_state(entry, QueueEntry.State.ANSWERED)
        return _promote(entry)
    if len(answers) - n_labels and len(answers) >= _n_who_could_answer(entry.round.project):
        _set_state(entry, QueueEntry.State.SKIPPED)
    return None


def gold_label(project: Project, answers: Sequence[tuple[int, bool]]) -> int | None:
    """The label id that meets the project's gold rule, given (label id, is the annotator trusted) per answer."""
    if project.gold_rule == GoldRule.ONE_TRUSTED:
        trusted = {label for label, is_trusted in answers if is_trusted}
        return trusted.pop() if len(trusted) == 1 else None
    agreed = [label for label, n in Counter(label for label, _ in answers).items() if n >= project.agree_k]
    return agreed[0] if len(agreed) == 1 else None


def _promote(entry: QueueEntry) -> Gold | None:
    """Replace the item's gold by what the rule says now; no gold where people disagree."""
    project = entry.round.project
    answers = _evidence(entry)
    label = gold_label(project, [(label, is_trusted) for label, is_trusted, _ in answers])
    is_blind = all(blind for _, _, blind in answers)
    is_audit, origin = _origin(entry)
    standing = Gold.objects.current().filter(item=entry.item_id)
    standing = standing.filter(origin=Arm.AUDIT) if is_audit else standing.exclude(origin=Arm.AUDIT)
    before = standing.first()
    if before and (before.label_id, before.is_blind) == (label, is_blind):
        return before
    standing.update(is_current=False)
    if label is None:
        return None
    return Gold.objects.create(
        project=project,
        item_id=entry.item_id,
        label_id=label,
        rule=project.gold_rule,
        origin=before.origin if before else origin,
        is_blind=is_blind,
        round=entry.round,
    )


def _evidence(entry: QueueEntry) -> list[tuple[int, bool, bool]]:
    """(label id, is the annotator trusted, was it blind) of the item's counted answers; blind ones if it is blind."""
    answers = Annotation.objects.filter(item=entry.item_id, is_current=True, is_counted=True, label__isnull=False)
    if entry.is_blind:
        answers = answers.filter(is_blind=True)
    trusted = set(Member.objects.filter(project=entry.round.project, is_trusted=True).values_list("user_id", flat=True))
    rows = answers.values_list("label_id", "annotator_id", "is_blind")
    return [(label, person in trusted, blind) for label, person, blind in rows if label is not None]


def _origin(entry: QueueEntry) -> tuple[bool, str]:
    """(is it the audit's, the arm that obtained it first).

    An item with an audit draw gives audit gold, in doubt too (drawn by two arms in one round): what the audit
    obtained must not train, and a gold label that trains without need gains little.
    """
    draws = list(Draw.objects.filter(item=entry.item_id).order_by("id").values_list("arm", "round_id"))
    arms = [arm for arm, _ in draws]
    if Arm.AUDIT in arms:
        return True, Arm.AUDIT
    if Arm.RANDOM in arms:
        return False, Arm.RANDOM
    now = [arm for arm, round_id in draws if round_id == entry.round_id]
    return False, (now or arms)[0]


def _set_state(entry: QueueEntry, state: str) -> None:
    QueueEntry.objects.filter(pk=entry.pk, state=QueueEntry.State.OPEN).update(state=state)


def _n_who_could_answer(project: Project) -> int:
    return Member.objects.filter(project=project, role__in=MAY["annotate"], user__is_active=True).count()
