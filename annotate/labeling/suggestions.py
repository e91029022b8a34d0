"""Shows annotators the machine's label and why an item was drawn, where allowed; answers after that are not blind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from annotate import labels, projects
from annotate.errors import AccessDenied, NotFound
from annotate.labeling import context
from annotate.labeling.context import AnswerContext
from annotate.models import Annotation, Draw, Label, Lease, Prediction, Project, QueueEntry, User
from annotate.models.project import SuggestionPolicy
from annotate.silver import prompts
from models_ml.label_map import NO_LABEL


@dataclass(frozen=True)
class Suggestion:
    """The machine's label of an item.

    Without a label, `reason` says why: the kind of failure, "never_asked", or "label_retired" where its label is none
    of those in force.
    """

    label: Label | None
    reason: str | None = None


@transaction.atomic
def reveal(*, lease_id: str, project: Project, by: User, now: datetime | None = None) -> Suggestion:
    """The machine's answer, recorded as seen; AccessDenied unless the question's suggestion policy allows it now."""
    question = _look(lease_id, project, by, now)
    policy = question.entry.suggestion
    # This check comes first, with the same words for each policy: a refusal must not tell which questions are blind.
    if policy != SuggestionPolicy.SHOWN and not _has_labeled(question):
        raise AccessDenied(_("What the machine says is shown after your answer, if at all."))
    if policy == SuggestionPolicy.HIDDEN:
        raise AccessDenied(_("The machine's answer to this question is not shown to anybody who labels."))
    _mark_revealed(question)
    return by_entry(project=project, entries=[question.entry])[question.entry.pk]


@transaction.atomic
def why(*, lease_id: str, project: Project, by: User, now: datetime | None = None) -> list[str]:
    """The arms that drew the item in this round (else: ever), recorded as seen; AccessDenied before `by` labeled it."""
    question = _look(lease_id, project, by, now)
    if not _has_labeled(question):
        raise AccessDenied(_("Why this item was drawn is shown once you have answered."))
    _mark_revealed(question)
    draws = list(Draw.objects.filter(item=question.entry.item_id).order_by("pk").values_list("arm", "round_id"))
    now_drawn = [arm for arm, round_id in draws if round_id == question.entry.round_id]
    return list(dict.fromkeys(now_drawn or [arm for arm, _ in draws]))


def by_entry(*, project: Project, entries: Sequence[QueueEntry]) -> dict[int, Suggestion]:
    """The silver in force by queue entry id, of those questions only whose suggestion policy is not `hidden`.

    The machine's label is the one that it reads as now. One that leads nowhere is no suggestion.
    """
    entry_of = {entry.item_id: entry.pk for entry in entries if entry.suggestion != SuggestionPolicy.HIDDEN}
    suggestions = dict.fromkeys(entry_of.values(), Suggestion(None, "never_asked"))
    prompt = prompts.current_prompt(project) if entry_of else None
    if prompt is None:
        return suggestions
    history = labels.history(projects.current_schema(project))
    change = history.map_from(prompt.schema_id)
    rows = Prediction.objects.current().filter(prompt=prompt, item__in=entry_of)
    for item, status, index in rows.values_list("item_id", "status", "label_index"):
        now = NO_LABEL if index is None else int(change.target[index])
        reason = status if index is None else "label_retired"
        suggestions[entry_of[item]] = Suggestion(None, reason) if now == NO_LABEL else Suggestion(history.labels[now])
    return suggestions


def _look(lease_id: str, project: Project, by: User, now: datetime | None) -> AnswerContext:
    context.lock(lease_id, by)
    question = context.load(lease_id=lease_id, project=project, by=by, now=now)
    if question is None:
        raise NotFound(_("There is no such question."))
    question.require_annotator()
    return question


def _has_labeled(question: AnswerContext) -> bool:
    mine = Annotation.objects.filter(entry=question.entry, annotator=question.person)
    return mine.filter(label__isnull=False, is_counted=True).exists()


def _mark_revealed(question: AnswerContext) -> None:
    seen = Coalesce(F("revealed_at"), question.now)
    Lease.objects.filter(pk=question.lease.pk).update(revealed_at=seen)
