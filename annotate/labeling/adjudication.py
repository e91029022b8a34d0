"""Adjudication: a reviewer decides a disputed question, with a reason. The annotators' answers stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.dataset import downloads
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.labeling import context, disputes, gold, slots
from annotate.labeling.context import Answers
from annotate.labels import Reading
from annotate.models import Adjudication, Annotation, Gold, Label, Lease, Member, Project, QueueEntry, SeenLabel, User
from annotate.models.base import database_now, is_storable
from annotate.models.event import record
from annotate.models.project import Arm
from annotate.models.write_lock import sqlite_write_lock

MAX_REASON = 2_000  # characters


@dataclass(frozen=True)
class ReviewedAnswer:
    """One person's answer to a disputed item.

    `annotation` is the person's last counted answer (to a blind question: the last counted blind one), or the current
    answer where none counts; `later` is the current answer where it says something else.
    """

    annotation: Annotation
    later: Annotation | None


@dataclass(frozen=True)
class Dispute:
    """A disputed or adjudicated question as its reviewer sees it: people's answers, and no machine label."""

    entry: QueueEntry
    said: Sequence[ReviewedAnswer]
    decision: Adjudication | None  # the current one
    obstacle: str  # a sentence that says why the reviewer cannot decide now; empty where they can


def waiting(*, project: Project, by: User) -> QuerySet[QueueEntry]:
    """Disputed questions that `by` may decide, the oldest first."""
    questions = disputes.decidable(disputes.undecided(project), by)
    return questions.select_related("round", "item").order_by("pk")


def n_waiting(*, project: Project, by: User, most: int) -> int:
    """How many disputed questions `by` may decide, counted up to `most`."""
    return waiting(project=project, by=by).order_by()[:most].count()


def decided(project: Project) -> QuerySet[Adjudication]:
    """The project's current adjudications, newest first."""
    current = project.adjudications.filter(is_current=True)
    return current.select_related("entry__round", "item", "label", "created_by").order_by("-pk")


def find(*, project: Project, round_index: int, item: str, by: User) -> Dispute:
    """A disputed or adjudicated question with all answers to its item; eight queries, however many answers."""
    access.require(by, project, to="review")
    entry = _find(project, round_index, item)
    answers = _answers(entry)
    decision = Adjudication.objects.filter(entry=entry, is_current=True).select_related("created_by", "label").first()
    counted = {row.annotator_id: row for row in answers.standing(blind=entry.is_blind)}
    last = {row.annotator_id: row for row in answers.rows if row.is_current}
    order = sorted({**last, **counted}, key=lambda person: last.get(person, counted.get(person)).pk)  # type: ignore[union-attr]
    reviewed = [_reviewed_answer(counted.get(person), last.get(person)) for person in order]
    return Dispute(entry, reviewed, decision, _obstacle(entry, decision, by))


@sqlite_write_lock()
@transaction.atomic
def adjudicate(
    *,
    project: Project,
    round_index: int,
    item: str,
    label: Label | int | None,
    reason: str,
    by: User,
    seen: str = "",
    now: datetime | None = None,
) -> Adjudication:
    """Decide a disputed question, or replace the current decision; `label` None: the question cannot be decided.

    `seen` is the public id of the decision that `by` saw as the current one (empty: there was none). If another one is
    current by now, Conflict, and nothing is changed. `by` repeating the current decision of their own gets it back.
    """
    access.require(by, project, to="review")
    reason = _checked(reason)
    entry = _find(project, round_index, item)
    chosen = _label(project, label)
    slots.lock([entry.pk])
    entry.refresh_from_db(fields=["state", "n_taken"])
    before = Adjudication.objects.filter(entry=entry, is_current=True).select_related("created_by", "label").first()
    if before and _repeats(before, chosen, reason, by):
        return before
    if before and before.public_id != seen:
        raise Conflict(_meanwhile(before))
    if obstacle := _obstacle(entry, before, by):
        raise Conflict(obstacle)
    made = _replace(before, entry, chosen, reason, by)
    slots.end(Lease.objects.filter(entry=entry), outcome=Lease.Outcome.RELEASED, now=now or database_now())
    _set_gold(made, entry)
    state = QueueEntry.State.UNRESOLVED if chosen is None else QueueEntry.State.ANSWERED
    QueueEntry.objects.filter(pk=entry.pk).update(state=state)
    record("question.adjudicated", project=project, by=by, item=item, round=round_index, adjudication=made.public_id)
    return made


def _repeats(before: Adjudication, label: Label | None, reason: str, by: User) -> bool:
    """Whether `before` is the same decision by the same person, its label read under the labels in force."""
    if (before.created_by_id, before.reason) != (by.pk, reason):
        return False
    if label is None or before.label is None:
        return label is None and before.label is None
    return Reading(label.schema_id).label_id(before.label.pk, before.label.schema_id) == label.pk


def _replace(
    before: Adjudication | None, entry: QueueEntry, label: Label | None, reason: str, by: User
) -> Adjudication:
    if before:
        Adjudication.objects.filter(pk=before.pk).update(is_current=False)
    shown = Lease.objects.filter(context.looked(entry.pk), entry__item=entry.item_id, annotator=by)
    has_seen = shown.exists() or SeenLabel.objects.filter(user=by, item=entry.item_id).exists()
    had = downloads.had(person=by, project=entry.round.project_id, ordinal=entry.item.ordinal)
    return Adjudication.objects.create(
        project=entry.round.project,
        item=entry.item,
        entry=entry,
        label=label,
        reason=reason,
        is_blind=not has_seen,
        had_file=had.exists(),
        created_by=by,
    )


def _set_gold(made: Adjudication, entry: QueueEntry) -> None:
    """Replace the gold of earlier decisions of this question by the gold of the decision `made` (none without a label).

    Gold of an audited item has origin `audit`, and so never trains, whatever arm drew the question.
    """
    earlier = Gold.objects.current().filter(item=entry.item_id, round=entry.round, rule=gold.ADJUDICATED)
    arm = context.first_arm(entry.item_id).values_list("arm", flat=True).first()
    origin = arm if arm == Arm.AUDIT else earlier.values_list("origin", flat=True).first() or arm
    earlier.update(is_current=False)
    if made.label is None:
        return
    evidence = gold.evidence_of(entry, _answers(entry))
    Gold.objects.create(
        project=made.project,
        item_id=entry.item_id,
        label=made.label,
        rule=gold.ADJUDICATED,
        origin=origin or Arm.CONFLICT,
        is_blind=made.is_blind and all(row.is_blind for row in evidence),
        round=entry.round,
    )


def _obstacle(entry: QueueEntry, decision: Adjudication | None, by: User) -> str:
    """A sentence that says why `by` cannot decide this question now; empty where they can."""
    if entry.item.withdrawn_at is not None:
        return _("This item was taken out of the project; there is nothing to decide.")
    later = entry.item.queue_entries.filter(pk__gt=entry.pk).exclude(state=QueueEntry.State.SKIPPED)
    if again := later.select_related("round").order_by("-pk").first():
        return _("This item was asked again in round %(round)s: what people say there counts.") % {
            "round": again.round.index
        }
    if decision is None and not disputes.undecided(entry.round.project).filter(pk=entry.pk).exists():
        return _("This question is not disputed: people agree on it, or still answer it.")
    return _own_answer(entry, by)


def _own_answer(entry: QueueEntry, by: User) -> str:
    """Why `by`, who labeled the item, has to leave the decision to a reviewer who has not; else empty."""
    if not Annotation.objects.filter(item=entry.item_id, annotator=by, label__isnull=False).exists():
        return ""
    others: list[Member] = list(
        disputes.fresh_reviewers(entry.round.project, entry.item_id).exclude(user=by).select_related("user")[:3]
    )
    if not others:
        return ""  # every reviewer has labeled the item
    names = ", ".join(str(member.user) for member in others)
    return _("You answered this question yourself; somebody else decides it: %(names)s.") % {"names": names}


def _find(project: Project, round_index: int, item: str) -> QueueEntry:
    entries = QueueEntry.objects.filter(round__project=project, round__index=round_index, item__public_id=item)
    entry = entries.select_related("round__project", "item__content").first()
    if entry is None:
        raise NotFound(_("There is no such question."))
    return entry


def _answers(entry: QueueEntry) -> Answers:
    rows = Annotation.objects.filter(item=entry.item_id).select_related("annotator", "label")
    return Answers(tuple(rows.order_by("revision", "pk")))


def _reviewed_answer(counted: Annotation | None, last: Annotation | None) -> ReviewedAnswer:
    shown = counted or last
    assert shown is not None
    differs = last and (last.label_id, last.skip_reason) != (shown.label_id, shown.skip_reason)
    return ReviewedAnswer(shown, last if differs else None)


def _label(project: Project, label: Label | int | None) -> Label | None:
    if label is None:
        return None
    newest = project.schemas.order_by("-version").values("pk")[:1]
    labels = Label.objects.filter(schema__in=newest)
    found = labels.filter(pk=label.pk).first() if isinstance(label, Label) else labels.filter(index=label).first()
    if found is None:
        raise InvalidInput(_("This project has no label %(label)s.") % {"label": label})
    return found


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise InvalidInput(_("Say why: a decision without a reason teaches nobody."))
    if len(reason) > MAX_REASON:
        raise InvalidInput(_("A reason has at most %(most)s characters.") % {"most": MAX_REASON})
    if not is_storable(reason):
        raise InvalidInput(_("The reason holds half a character or a NUL."))
    return reason


def _meanwhile(before: Adjudication) -> str:
    if before.label is None:
        sentence = _("%(person)s has decided meanwhile that it cannot be decided; look again. Nothing was changed.")
        return sentence % {"person": before.created_by}
    sentence = _("%(person)s has decided meanwhile: %(label)s. Look again; nothing was changed.")
    return sentence % {"person": before.created_by, "label": before.label}
