"""Shows annotators the machine's label and why an item was drawn, once that is open; answers after that are not blind.

Both open when the round closes. Sooner, they would tell which questions are blind whatever the project's policy is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from annotate import labels, projects
from annotate.errors import AccessDenied, NotFound, NotRecorded
from annotate.labeling import context, visibility
from annotate.labeling.answers import OwnAnswer, closed_history
from annotate.labeling.context import AnswerContext
from annotate.models import Annotation, Draw, Label, Lease, Prediction, Project, QueueEntry, Round, SeenLabel, User
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


@dataclass(frozen=True)
class PastAnswer:
    """An answer of a person in a closed round, with what they have opened of it so far."""

    answer: OwnAnswer
    may_reveal: bool  # the machine's label opens to whoever answered
    arms: list[str] | None  # None: not opened yet
    suggestion: Suggestion | None


@transaction.atomic
def reveal(*, lease_id: str, project: Project, by: User, now: datetime | None = None) -> Suggestion:
    """The machine's answer, recorded as seen; AccessDenied unless the question's suggestion policy allows it now.

    `revealed` opens to everybody who answered once the round is closed, see `_require_open`; `shown` is open always.
    """
    question = _look(lease_id, project, by, now)
    policy = question.entry.suggestion
    if policy != SuggestionPolicy.SHOWN:
        _require_open(question)
    if policy == SuggestionPolicy.HIDDEN:
        raise AccessDenied(_("The machine's answer to this question is not shown to anybody who labels."))
    if not visibility.record_seen(items=[question.entry.item_id], by=by):
        raise NotRecorded(_("Not shown: who sees a machine's label is recorded first, and that was not possible now."))
    _mark_revealed(question)
    return by_entry(project=project, entries=[question.entry])[question.entry.pk]


@transaction.atomic
def why(*, lease_id: str, project: Project, by: User, now: datetime | None = None) -> list[str]:
    """The arms that drew the item in this round (else: ever), recorded as seen; AccessDenied until it is open."""
    question = _look(lease_id, project, by, now)
    _require_open(question)
    _mark_revealed(question)
    return _arms([question.entry])[question.entry.pk]


def past(*, project: Project, by: User, n: int = 10) -> list[PastAnswer]:
    """The person's `n` last labels of closed rounds, newest first, with what they opened of each."""
    answers = closed_history(project=project, by=by, n=n)
    entries = [entry for one in answers if (entry := one.annotation.entry)]
    leases = Lease.objects.filter(entry__in=entries, annotator=by, revealed_at__isnull=False)
    looked = set(leases.values_list("entry", flat=True))
    seen = set(
        SeenLabel.objects.filter(user=by, item__in=[one.item_id for one in entries]).values_list("item", flat=True)
    )
    still_open = visibility.open_blind(project, [one.item_id for one in entries])
    entries = [one for one in entries if one.item_id not in still_open]
    arms = _arms([one for one in entries if one.pk in looked])
    said = by_entry(project=project, entries=[one for one in entries if one.item_id in seen and one.pk in looked])
    reveals = {one.pk for one in entries if one.suggestion != SuggestionPolicy.HIDDEN}
    return [
        PastAnswer(one, pk in reveals, arms.get(pk), said.get(pk))
        for one in answers
        if (pk := one.annotation.entry_id) is not None
    ]


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


def _require_open(question: AnswerContext) -> None:
    """Refuse in the same words for every policy and arm, answered or not: a refusal must not tell the blind arms apart.

    Open once the round is closed, to whoever answered. Not while the item is asked again, blind, or is disputed.
    """
    item, is_closed = question.entry.item_id, question.entry.round.state == Round.State.CLOSED
    if not is_closed or visibility.open_blind(question.project, [item]):
        raise AccessDenied(
            _(
                "Why an item was asked, and what the machine says of it, opens when the round closes, to everybody who "
                "answered it, and where it is asked again or people disagree, after that."
            )
        )
    if not Annotation.objects.filter(entry=question.entry, annotator=question.person, label__isnull=False).exists():
        raise AccessDenied(_("That is for the people who answered this question."))


def _arms(entries: Sequence[QueueEntry]) -> dict[int, list[str]]:
    """By question, the arms that drew its item in its round, else ever."""
    found: dict[int, list[tuple[str, int | None]]] = {}
    draws = Draw.objects.filter(item__in=[entry.item_id for entry in entries]).order_by("pk")
    for item, arm, round_id in draws.values_list("item_id", "arm", "round_id"):
        found.setdefault(item, []).append((arm, round_id))
    arms = {}
    for entry in entries:
        ever = found.get(entry.item_id, [])
        now_drawn = [arm for arm, round_id in ever if round_id == entry.round_id]
        arms[entry.pk] = list(dict.fromkeys(now_drawn or [arm for arm, _round in ever]))
    return arms


def _mark_revealed(question: AnswerContext) -> None:
    seen = Coalesce(F("revealed_at"), question.now)
    Lease.objects.filter(pk=question.lease.pk).update(revealed_at=seen)
