"""Answers to open questions that a change of labels makes void: they count no more, and their slots are free."""

from django.db.models import Exists, OuterRef, QuerySet

from annotate.labeling import slots
from annotate.labels import LabelHistory
from annotate.models import Annotation, LabelSchema, Lease, Project, QueueEntry, Round
from annotate.models.base import database_now
from models_ml.label_map import NO_LABEL


def lock_open(project: Project) -> None:
    """Lock the open questions, so that an answer that is being stored is seen, and a later one sees the new labels."""
    slots.lock(_open_questions(project).values("pk"))


def uncount(project: Project, history: LabelHistory) -> int:
    """Stop counting answers to open questions that are void under `history`; returns how many.

    Their authors are asked again, like everybody who has not answered. Call under `lock_open`. Full questions stay as
    they are: what is void of a sample is asked again by a later round (samples.py).
    """
    void = [label for label in history.label_ids if history.gold_index(label) == NO_LABEL]
    counted = Annotation.objects.filter(is_current=True, is_counted=True, label__in=void)
    answers = list(counted.filter(entry__in=_open_questions(project)).values_list("pk", "entry_id"))
    Annotation.objects.filter(pk__in=[answer for answer, _entry in answers]).update(is_counted=False)
    slots.give_back(entry for _answer, entry in answers)
    return len(answers)


def count_again(project: Project, undone: LabelHistory, before: LabelHistory) -> int:
    """Count the answers again that `uncount` stopped counting under `undone`, a change of labels that is taken back.

    Leases that were granted since on their questions end. Nobody has answered since, or there would be no way back.
    """
    valid = [label for label in before.label_ids if before.gold_index(label) != NO_LABEL]
    void = [label for label in valid if undone.gold_index(label) == NO_LABEL]
    answers = list(_made_void(project, void).values_list("pk", "entry_id"))
    entries = {entry for _answer, entry in answers}
    since = _leases_since(undone.schema, entries)
    slots.end(since, outcome=Lease.Outcome.RELEASED, now=database_now())
    for _answer, entry in answers:
        slots.take([entry])
    Annotation.objects.filter(pk__in=[answer for answer, _entry in answers]).update(is_counted=True)
    return len(answers)


def _made_void(project: Project, labels: list[int]) -> QuerySet[Annotation]:
    """Answers with one of these labels that count no more, although the lease under them ended with them.

    A late answer, which never counted, has lost its lease before.
    """
    ended = Lease.objects.filter(
        entry=OuterRef("entry"), annotator=OuterRef("annotator"), outcome=Lease.Outcome.ANSWERED
    )
    uncounted = Annotation.objects.filter(is_current=True, is_counted=False, label__in=labels)
    return uncounted.filter(Exists(ended), entry__in=_open_questions(project)).order_by("pk")


def _leases_since(schema: LabelSchema, entries: set[int]) -> QuerySet[Lease]:
    return Lease.objects.filter(entry__in=entries, granted_at__gte=schema.created_at)


def _open_questions(project: Project) -> QuerySet[QueueEntry]:
    return QueueEntry.objects.filter(round__project=project, round__state=Round.State.OPEN, state=QueueEntry.State.OPEN)
