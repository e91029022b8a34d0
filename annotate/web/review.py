"""The page *Review*: disputes, one disputed question with all answers, and the decision; no machine labels."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_uppercase
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from annotate import labels as labels_module
from annotate import modalities, projects
from annotate.access import MAY
from annotate.errors import Conflict, InvalidInput
from annotate.labeling import adjudication, disputes
from annotate.labeling.adjudication import Dispute, ReviewedAnswer
from annotate.labels import LabelHistory
from annotate.models import Annotation, Label, Member, Project, QueueEntry, User
from annotate.models.annotation import SkipReason
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import SeeOther, render_page
from annotate.web.items import Text, texts_of
from annotate.web.labeling_io import SKIP_REASONS

_PAGE = 25
_MANY = 10  # with more labels than this, not every label has a key
_LOOKED_AT = 2_000  # disputes that are read to count their pairs of labels
UNDECIDABLE = "none"


@dataclass(frozen=True)
class DisputeRow:
    """A disputed question in the list."""

    entry: QueueEntry
    texts: list[Text]
    labels: list[tuple[str, int]]  # (name of the label, how many people chose it)


@dataclass(frozen=True)
class Voice:
    """One person's answer, under their name or under a letter."""

    name: str
    person: User | None  # None: under a letter
    label: Label | None  # in force, as the answer reads now; as it was said where that is void
    is_void: bool
    skipped: Promise | str
    later: str
    comment: str
    is_flagged: bool
    is_counted: bool


@dataclass(frozen=True)
class Filter:
    """Which disputes are shown; kept in the address from page to page."""

    round: str = ""
    pair: str = ""

    @property
    def query(self) -> str:
        return urlencode({name: value for name, value in vars(self).items() if value})

    def apply(self, disputed: QuerySet[QueueEntry], history: LabelHistory) -> QuerySet[QueueEntry]:
        if self.round:
            disputed = disputed.filter(round__index=int(self.round))
        for index in self.pair.split("-") if self.pair else ():
            same = [label for label in history.label_ids if history.gold_index(label) == int(index)]
            said = _standing().filter(item=OuterRef("item"), label__in=same)
            disputed = disputed.filter(Exists(said))
        return disputed


@require_GET
@project_page(to="review")
def list_disputes(request: ProjectRequest) -> HttpResponse:
    project, by = request.member.project, request.member.user
    if request.GET.get("show") == "decided":
        return _decided(request, project)
    mine = adjudication.waiting(project=project, by=by)
    chosen, history = _filter(request), _history(project)
    page = Paginator(chosen.apply(mine, history).select_related("item__content"), _PAGE).get_page(
        request.GET.get("page")
    )
    context: dict[str, Any] = {
        "show": "waiting",
        "page": page,
        "rows": _rows(project, list(page), history),
        "chosen": chosen,
        "query": f"{chosen.query}&" if chosen.query else "",
        "n_for_others": disputes.undecided(project).order_by().count() - mine.order_by().count(),
        "rounds": list(mine.order_by("round__index").values_list("round__index", flat=True).distinct()),
        "pairs": _pairs(mine, history),
    }
    return render_page(request, "annotate/review/list.html", "disputes", context)


def _decided(request: ProjectRequest, project: Project) -> HttpResponse:
    decisions = adjudication.decided(project).select_related("item__content")
    page = Paginator(decisions, _PAGE).get_page(request.GET.get("page"))
    history = _history(project) if any(one.label for one in page) else None
    for one in page:
        one.label = (history and history.gold_label(one.label_id)) or one.label  # void: as it was decided
    rows = [(one, texts_of(one.item.content.payload, project)) for one in page]
    context = {"show": "decided", "page": page, "decisions": rows, "query": "show=decided&"}
    return render_page(request, "annotate/review/list.html", "disputes", context)


@require_GET
@project_page(to="review")
def show(request: ProjectRequest, round: int, item: str) -> HttpResponse:
    return _page(request, round, item)


@require_POST
@project_page(to="review")
def decide(request: ProjectRequest, round: int, item: str) -> HttpResponse:
    """Store the decision and go to the next dispute; an unusable form comes back with its errors."""
    project, by, data = request.member.project, request.member.user, request.POST
    try:
        made = adjudication.adjudicate(
            project=project,
            round_index=round,
            item=item,
            label=_label(data.get("label", "")),
            reason=data.get("reason", ""),
            by=by,
            seen=data.get("seen", ""),
        )
    except (InvalidInput, Conflict) as error:
        return _page(request, round, item, problem=error)
    decided = _("Decided: %(label)s.") % {"label": made.label} if made.label else _("Kept as “cannot be decided”.")
    messages.success(request, decided)
    chosen = _filter(request)
    waiting = adjudication.waiting(project=project, by=by)
    following = _following(chosen.apply(waiting, _history(project)), made.entry_id)
    url = _address(project, following) if following else reverse("review-list", args=[project.slug])
    return SeeOther(_with(chosen, url))


def _page(request: ProjectRequest, round: int, item: str, problem: Exception | None = None) -> HttpResponse:
    member, project = request.member, request.member.project
    dispute = adjudication.find(project=project, round_index=round, item=item, by=member.user)
    status = 200 if problem is None else 422 if isinstance(problem, InvalidInput) else 409
    chosen, history = _filter(request), _history(project)
    labels = history.labels
    mine = chosen.apply(adjudication.waiting(project=project, by=member.user), history)
    following = _following(mine, dispute.entry.pk)
    last = adjudication.decided(project).filter(created_by=member.user).exclude(entry=dispute.entry).first()
    context = {
        "dispute": dispute,
        "parts": modalities.modality(project.modality).screen_parts(dispute.entry.item.content.payload),
        "voices": _voices(dispute, member, history),
        "decided": _decided_label(dispute, history),
        "labels": labels,
        "many": len(labels) > _MANY,
        "guidelines": projects.current_guidelines(project),
        "may_decide": not dispute.obstacle,
        "max_reason": adjudication.MAX_REASON,
        "problem": problem,
        "n_left": mine.order_by().count(),
        "next": _with(chosen, _address(project, following)) if following else "",
        "last": _with(chosen, _address(project, last.entry, last.item.public_id)) if last else "",
        "chosen": chosen,
        **_filled_in(request, dispute, history),
    }
    return render(request, "annotate/review/show.html", context, status=status)


def _history(project: Project) -> LabelHistory:
    return labels_module.history(projects.current_schema(project))


def _decided_label(dispute: Dispute, history: LabelHistory) -> Label | None:
    """The label of the present decision, as it reads now; as it was decided where that is void."""
    label = dispute.decision.label if dispute.decision else None
    return label and (history.gold_label(label.pk) or label)


def _filled_in(request: ProjectRequest, dispute: Dispute, history: LabelHistory) -> dict[str, Any]:
    """The form's values: those that were sent, else those of the present decision."""
    decision = dispute.decision
    if request.method == "POST":
        return {"picked": request.POST.get("label", ""), "reason": request.POST.get("reason", "")}
    if decision is None:
        return {"picked": "", "reason": ""}
    now = history.gold_label(decision.label_id)
    picked = str(now.index) if now else "" if decision.label else UNDECIDABLE
    return {"picked": picked, "reason": decision.reason}


def _voices(dispute: Dispute, member: Member, history: LabelHistory) -> list[Voice]:
    """All answers to the question. Only members who manage see names; for others the order hides who is who."""
    order = sorted(dispute.said, key=lambda one: hashlib.sha256(one.annotation.public_id.encode()).digest())
    with_names = member.role in MAY["manage"]
    return [_voice(place, one, with_names, history) for place, one in enumerate(order)]


def _voice(place: int, said: ReviewedAnswer, with_name: bool, history: LabelHistory) -> Voice:
    now = history.gold_label(said.annotation.label_id)
    annotation, later = said.annotation, said.later
    letter = ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)
    return Voice(
        name=str(annotation.annotator) if with_name else _("Person %(letter)s") % {"letter": letter},
        person=annotation.annotator if with_name else None,
        label=now or annotation.label,
        is_void=annotation.label is not None and now is None,
        skipped=_skipped(annotation),
        later=str(history.gold_label(later.label_id) or later.label or _skipped(later)) if later else "",
        comment=annotation.comment or (later.comment if later else ""),
        is_flagged=annotation.is_flagged or bool(later and later.is_flagged),
        is_counted=annotation.is_counted,
    )


def _skipped(annotation: Annotation) -> Promise | str:
    return SKIP_REASONS[SkipReason(annotation.skip_reason)] if annotation.skip_reason else ""


def _rows(project: Project, entries: Sequence[QueueEntry], history: LabelHistory) -> list[DisputeRow]:
    said: dict[int, Counter[str]] = defaultdict(Counter)
    for item, label in _said([one.item_id for one in entries], history):
        said[item][label.name] += 1
    return [
        DisputeRow(
            one, texts_of(one.item.content.payload, project), sorted(said[one.item_id].items(), key=lambda n: -n[1])
        )
        for one in entries
    ]


def _said(items: Sequence[int], history: LabelHistory) -> Iterator[tuple[int, Label]]:
    """(item, label) of each answer that stands, as it reads now; void ones are left out."""
    for item, label in _standing().filter(item__in=items).values_list("item", "label"):
        if now := history.gold_label(label):
            yield item, now


def _pairs(disputed: QuerySet[QueueEntry], history: LabelHistory) -> list[tuple[str, str, str, int]]:
    """(value, one label, other label, how many disputes between the two), the most frequent first."""
    items = list(disputed.order_by("pk").values_list("item", flat=True)[:_LOOKED_AT])
    said: dict[int, set[int]] = defaultdict(set)
    for item, label in _said(items, history):
        said[item].add(label.index)
    counts = Counter(pair for indices in said.values() for pair in combinations(sorted(indices), 2))
    names = [label.name for label in history.labels]
    return [(f"{a}-{b}", names[a], names[b], n) for (a, b), n in counts.most_common()]


def _standing() -> QuerySet[Annotation]:
    return Annotation.objects.filter(is_current=True, is_counted=True, label__isnull=False)


def _following(mine: QuerySet[QueueEntry], entry: int) -> QueueEntry | None:
    """The next dispute after this one; after the last comes the first."""
    return mine.filter(pk__gt=entry).first() or mine.exclude(pk=entry).first()


def _filter(request: ProjectRequest) -> Filter:
    """The filter in the address; impossible values are ignored."""
    return Filter(_numbers(request.GET.get("round", ""), 1), _numbers(request.GET.get("pair", ""), 2))


def _numbers(text: str, n: int) -> str:
    parts = text.split("-")
    return text if len(parts) == n and all(_is_number(part) for part in parts) else ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _label(text: str) -> int | None:
    if text == UNDECIDABLE:
        return None
    if not _is_number(text):
        raise InvalidInput(_("Choose a label, or that it cannot be decided."))
    return int(text)


def _address(project: Project, entry: QueueEntry, item: str = "") -> str:
    return reverse("review-show", args=[project.slug, entry.round.index, item or entry.item.public_id])


def _with(chosen: Filter, url: str) -> str:
    return f"{url}?{chosen.query}" if chosen.query else url
