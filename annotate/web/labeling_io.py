"""Decides what the annotating screen accepts and shows: forms in, values out that hold only what annotators may see."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, QueryDict
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate import modalities, projects
from annotate.access import MAY
from annotate.errors import InvalidInput
from annotate.labeling import answers as answering
from annotate.labeling import queue, suggestions, waiting, workload
from annotate.models import Annotation, Label, Lease, Member, Project, User
from annotate.models.annotation import SkipReason
from annotate.models.project import Arm, SuggestionPolicy

_MANY = 10  # with more labels than this, not every label has a key
_FOR_SCRIPT = ("lease", "draft", "answer", "words")
_ID_LENGTH = 20
_AT_ONCE = 50  # leases that one request may name
_MOST_VERSIONS = 2**31 - 1  # of labels: what the column holds

SKIP_REASONS = {
    SkipReason.UNCLEAR: gettext_lazy("I cannot decide it"),
    SkipReason.BAD_DATA: gettext_lazy("Broken or empty text"),
    SkipReason.NOT_MY_AREA: gettext_lazy("Not my area"),
    SkipReason.TECHNICAL: gettext_lazy("It does not display well"),
}
_REASONS = {
    Arm.START: gettext_lazy("To begin with: items that differ as much as possible from each other."),
    Arm.ACTIVE: gettext_lazy("The machines were least sure about it, so your answer teaches them most."),
    Arm.RANDOM: gettext_lazy("Picked at random, to learn where the machines go wrong."),
    Arm.AUDIT: gettext_lazy("Picked at random, to measure how right the delivered labels are."),
    Arm.CONFLICT: gettext_lazy("The answers so far do not agree, so another opinion was needed."),
    Arm.REQUEST: gettext_lazy(
        "Whoever manages the project asked for more items of one kind; picked at random among them."
    ),
    Arm.IMPORTED: gettext_lazy("It came with an answer from outside, which needed a second look."),
}


@dataclass(frozen=True)
class Given:
    """An answer, parsed from a form."""

    lease: str
    key: str
    answer: answering.Answer


@dataclass(frozen=True)
class DraftInput:
    """A draft, parsed from a form."""

    lease: str
    label: int | None
    version: int | None  # of the labels that were shown
    is_flagged: bool
    comment: str


class _DraftForm(forms.Form):
    lease = forms.CharField(max_length=_ID_LENGTH)
    label = forms.IntegerField(required=False, min_value=0, max_value=projects.MAX_LABELS)
    schema = forms.IntegerField(required=False, min_value=1, max_value=_MOST_VERSIONS)
    is_flagged = forms.BooleanField(required=False)
    comment = forms.CharField(required=False, max_length=answering.MAX_COMMENT, strip=False)


class _AnswerForm(_DraftForm):
    key = forms.CharField(max_length=100)
    skip = forms.ChoiceField(required=False, choices=SkipReason.choices)
    seconds = forms.FloatField(required=False, min_value=0, max_value=1e6)


def read_answer(data: QueryDict) -> Given:
    """Parse an answer from a form; InvalidInput says what is wrong with it."""
    given = _clean(_AnswerForm(data))
    answer = answering.Answer(
        label=given["label"],
        skip_reason=given["skip"] or None,
        seconds=given["seconds"],
        is_flagged=given["is_flagged"],
        comment=_one_line_end(given["comment"]),
        version=given["schema"],
    )
    return Given(given["lease"], given["key"], answer)


def read_draft(data: QueryDict) -> DraftInput:
    """Parse a draft from a form; InvalidInput says what is wrong with it."""
    given = _clean(_DraftForm(data))
    comment = _one_line_end(given["comment"])
    return DraftInput(given["lease"], given["label"], given["schema"], given["is_flagged"], comment)


def ids(data: QueryDict, name: str) -> list[str]:
    """The public ids of leases in a field, as many as one request may name; other texts are left out."""
    return [one for one in data.getlist(name)[:_AT_ONCE] if one.isalnum() and len(one) <= _ID_LENGTH]


def one_id(data: QueryDict, name: str) -> str:
    """The public id of one lease in a field; empty if there is none."""
    return next(iter(ids(data, name)), "")


def label_at(project: Project, index: int | None, version: int | None = None) -> Label | None:
    """The label with this index in this version of the labels; None: in the one in force."""
    if index is None:
        return None
    schema = project.schemas.filter(version=version).first() if version else projects.current_schema(project)
    label = Label.objects.filter(schema=schema, index=index).first()
    if label is None:
        raise InvalidInput(_("This project has no label %(index)s.") % {"index": index})
    return label


def page(member: Member) -> dict[str, Any]:
    """The page's context, with the questions that the person holds now; leases none."""
    project, person = member.project, member.user
    found = items(project, person, _held(project, person), with_drafts=True)
    first = found[0] if found else None
    schema = projects.current_schema(project)
    labels = list(schema.labels.all())
    answers = answering.history(project=project, by=person, n=1)
    now = progress(project, person)
    return {
        **form(first, **(first["draft"] if first else {})),
        "items_ahead": [item | {"draft_json": json.dumps(item["draft"])} for item in found[1:]],
        "labels": labels,
        "schema": schema.version,
        "many": len(labels) > _MANY,
        "skip_reasons": SKIP_REASONS.items(),
        "guidelines": projects.current_guidelines(project),
        "progress": now,
        "progress_json": json.dumps(now),
        "last": past(answers[0], project)["earlier"] if answers else None,
    }


def form(
    item: dict[str, Any] | None,
    label: int | None = None,
    skip: str | None = None,
    is_flagged: bool = False,
    comment: str = "",
) -> dict[str, Any]:
    """The context of a question's form. Its idempotency key makes sending the form twice harmless."""
    values = {"chosen": label, "skipped": skip, "is_flagged": is_flagged, "comment": comment}
    return {"item": item, "key": secrets.token_urlsafe(16), **values}


def items(project: Project, person: User, leases: Sequence[Lease], *, with_drafts: bool) -> list[dict[str, Any]]:
    """Questions as values for page and script: they contain nothing that their annotator may not see."""
    drafts = answering.drafts_of(leases, person) if with_drafts and leases else {}
    open_ones = [lease.entry for lease in leases if lease.entry.suggestion == SuggestionPolicy.SHOWN]
    suggested = suggestions.by_entry(project=project, entries=open_ones)
    found = []
    for lease in leases:
        item = _item(lease.public_id, project, lease.entry.item.content.payload)
        suggestion = suggested.get(lease.entry_id)
        if suggestion and suggestion.label:
            item["suggestion"] = {"name": suggestion.label.name, "colour": suggestion.label.colour}
        if draft := drafts.get(lease.entry_id):
            label = draft.label.index if draft.label else None
            item["draft"] = {"label": label, "is_flagged": draft.is_flagged, "comment": draft.comment}
        found.append(item)
    return found


def past(one: answering.OwnAnswer, project: Project) -> dict[str, Any]:
    """One of a person's own answers with its question, as values for page and script."""
    annotation = one.annotation
    assert annotation.entry is not None
    item = _item(one.lease_id, project, annotation.entry.item.content.payload)
    item["answer"] = {
        "label": one.label.index if one.label else None,
        "skip": annotation.skip_reason,
        "is_flagged": annotation.is_flagged,
        "comment": annotation.comment,
    }
    item["words"] = _words(one)
    item["earlier"] = {
        "lease": one.lease_id,
        "words": item["words"],
        "skipped": _skipped(annotation),
        "is_counted": annotation.is_counted,
    }
    return item


def closed(one: suggestions.PastAnswer, project: Project) -> dict[str, Any]:
    """One of a person's answers of a closed round, with what they have opened of it, as values for the page."""
    item = past(one.answer, project)
    assert one.answer.annotation.entry is not None
    item["round"] = one.answer.annotation.entry.round.index
    item["reasons"] = _reasons(one.arms) if one.arms is not None else None
    item["may_reveal"], item["suggestion"] = one.may_reveal, one.suggestion
    return item


def stored(annotation: Annotation) -> dict[str, Any]:
    """The script's reply about a stored answer; more queries only if the answer is not counted."""
    body: dict[str, Any] = {"is_counted": annotation.is_counted}
    return body if annotation.is_counted else {**body, "why": answering.why_uncounted(annotation)}


def notice(annotation: Annotation) -> str:
    """The sentence about a stored answer for whoever sent it as a form; empty where there is nothing to say."""
    if answering.why_uncounted(annotation) != "labels_changed":
        return ""
    return _("The labels were changed meanwhile: your answer is kept, but not counted, and the item is asked again.")


def as_json(item: dict[str, Any]) -> dict[str, Any]:
    """A question for the script: its HTML and the values of its form."""
    html = render_to_string("annotate/labeling/_item.html", {"item": item})
    return {"html": html, **{name: item[name] for name in _FOR_SCRIPT if name in item}}


def progress(project: Project, person: User) -> dict[str, int]:
    """The person's counts in the open round, for the head of the screen."""
    now = asdict(workload.remaining(project=project, annotator=person))
    return {**now, "n_done": max(now["n_in_round"] - now["n_left"], 0)}


def empty(why: workload.Empty, member: Member) -> dict[str, Any]:
    """The words for a screen without a question: why, what happens next, and when the script should ask again."""
    title, sentence, further, again = _EMPTY[why.kind]
    sentence = str(sentence) % {"waiting": why.n_waiting, "held": why.n_held_by_others}
    may_manage = member.role in MAY["manage"]
    mine = waiting.Waiting()
    if why.kind in ("all_answered_by_me", "not_for_me"):
        mine = waiting.waiting(project=member.project, person=member.user)
        sentence = _for_whom(mine, sentence)
    overview = reverse("overview-show", args=[member.project.slug])
    return {
        "kind": why.kind,
        "title": _("You have dealt with everything") if mine.n_skipped else title,
        "sentence": sentence,
        "n_skipped": mine.n_skipped,
        "again": reverse("labeling-again", args=[member.project.slug]),
        "next": further if not may_manage else _MANAGER.get(why.kind, further),
        "again_seconds": again,
        "link": overview if may_manage else None,
        "link_words": _("Close the round") if why.kind == "round_done" else _("To the overview"),
        "history": reverse("labeling-history", args=[member.project.slug]),
    }


def _for_whom(mine: waiting.Waiting, sentence: str) -> str:
    """The sentence about questions that wait for others, with those that wait for nobody and those one may have."""
    parts = [sentence] if mine.n_for_nobody < mine.n else []
    if mine.n_for_nobody:
        parts.append(
            _("Questions that nobody in this project can be asked any more: %(n)s.") % {"n": mine.n_for_nobody}
        )
    if mine.n_skipped:
        skipped = ngettext(
            "You skipped %(n)s of them, and may answer it after all.",
            "You skipped %(n)s of them, and may answer them after all.",
            mine.n_skipped,
        )
        parts.append(skipped % {"n": mine.n_skipped})
    return " ".join(parts)


def empty_html(request: HttpRequest, context: dict[str, Any]) -> str:
    return render_to_string("annotate/labeling/_empty.html", {"empty": context}, request=request)


def reasons_html(request: HttpRequest, arms: Sequence[str]) -> str:
    return render_to_string("annotate/labeling/_why.html", {"reasons": _reasons(arms)}, request=request)


def _reasons(arms: Sequence[str]) -> list[str]:
    found = [str(_REASONS[Arm(arm)]) for arm in arms if arm in _REASONS]
    return found or [_("It was among the items of this round.")]


def suggestion_html(request: HttpRequest, suggestion: suggestions.Suggestion) -> str:
    return render_to_string("annotate/labeling/_suggestion.html", {"suggestion": suggestion}, request=request)


_EMPTY: dict[str, tuple[Any, Any, Any, int]] = {
    "no_round": (
        gettext_lazy("No round is open"),
        gettext_lazy("Questions are asked in rounds, and the next one has not been opened yet."),
        gettext_lazy("Whoever manages the project opens it; this page then goes on by itself."),
        60,
    ),
    "round_done": (
        gettext_lazy("This round is done"),
        gettext_lazy("Every question of the round has its answers. Thank you!"),
        gettext_lazy("Whoever manages the project closes it and opens the next; this page then goes on by itself."),
        60,
    ),
    "all_answered_by_me": (
        gettext_lazy("You have answered everything"),
        gettext_lazy("Questions of this round that still wait for other people: %(waiting)s."),
        gettext_lazy("Your part of this round is done. The next round appears here by itself."),
        60,
    ),
    "held_by_others": (
        gettext_lazy("The last questions are in other hands"),
        gettext_lazy("Questions that others are answering right now: %(held)s."),
        gettext_lazy("Should one come free, it appears here by itself: this page asks every 15 seconds."),
        15,
    ),
    "budget": (
        gettext_lazy("The money for answers is used up"),
        gettext_lazy("Questions wait, but the project's cap leaves nothing to pay for another answer."),
        gettext_lazy("When whoever manages the project raises the cap, this page goes on by itself."),
        60,
    ),
    "not_for_me": (
        gettext_lazy("Nothing left for you in this round"),
        gettext_lazy("Questions that need somebody who has not answered them before: %(waiting)s."),
        gettext_lazy("The next round appears here by itself."),
        60,
    ),
}
_MANAGER = {
    "no_round": gettext_lazy("You manage this project: its overview says what to do next."),
    "round_done": gettext_lazy("You manage this project: close the round on its overview, and open the next."),
    "budget": gettext_lazy("You manage this project: raise its cap for people, and this page goes on by itself."),
}


def _held(project: Project, person: User) -> list[Lease]:
    """The person's leases in the order in which they were granted; only reads."""
    mine = queue.leases_in(project).filter(annotator=person)
    return list(mine.select_related("entry__item__content", "entry__round").order_by("granted_at", "pk"))


def _item(lease_id: str, project: Project, payload: dict[str, Any]) -> dict[str, Any]:
    parts = modalities.modality(project.modality).screen_parts(payload)
    return {"lease": lease_id, "parts": parts, "draft": {}}


def _words(one: answering.OwnAnswer) -> str:
    if one.label:
        return one.label.name
    if one.is_void:
        return _("%(label)s (no longer one of the labels)") % {"label": one.annotation.label}
    return _("skipped: %(reason)s") % {"reason": _skipped(one.annotation)}


def _skipped(annotation: Annotation) -> str | None:
    """The reason of a skip, in words; None for a label."""
    return str(SKIP_REASONS[SkipReason(annotation.skip_reason)]) if annotation.skip_reason else None


def _clean(form: forms.Form) -> dict[str, Any]:
    if form.is_valid():
        return form.cleaned_data
    name, problems = next(iter(form.errors.items()))
    raise InvalidInput(_("%(name)s: %(str)s") % {"name": name, "str": " ".join(map(str, problems))})


def _one_line_end(text: str) -> str:
    """The comment with LF line ends: forms send CR LF, scripts LF, and both must give the same comment."""
    return text.replace("\r\n", "\n")
