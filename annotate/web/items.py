"""Pages of items: search, one item with its history, withdraw, correct; skipped, flagged and quarantined ones.

The lists show neither machine labels nor metadata. The page of one item shows each member what visibility.look allows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Value
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotate import items, labels
from annotate.access import MAY
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.imports import uploads
from annotate.labeling import visibility
from annotate.modalities import modality
from annotate.models import Annotation, Import, Item, Member, Project, QueueEntry, RejectedRow, Round, User
from annotate.models.annotation import SkipReason
from annotate.reports import item_history
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import SeeOther, render_page
from annotate.web.item_words import words
from annotate.web.labeling_io import SKIP_REASONS
from annotate.web.runs import last_of_kinds

_PAGE = 50
_EXCERPT = 300  # characters shown; a click shows all
_MAX_TEXT = 200  # characters of a search


@dataclass(frozen=True)
class Text:
    """One block of an item's content: its beginning and the rest, which is empty for a short text."""

    heading: Promise | None
    start: str
    whole: str


@dataclass(frozen=True)
class Entry:
    """A person's skip or flag of an item, without any label."""

    texts: list[Text]
    item: Item
    annotator: User
    created_at: datetime
    reason: Promise | str
    is_flagged: bool
    comment: str
    is_withheld: bool  # the comment is hidden: the reader may still be asked about the item


@dataclass(frozen=True)
class ItemRow:
    """One item in the list."""

    item: Item
    texts: list[Text]
    has_gold: bool
    n_flags: int


@require_GET
@project_page(to="evidence")
def list_items(request: ProjectRequest) -> HttpResponse:
    """The items found, a page from the ordinal `after`; items whose id equals the searched text come first."""
    project = request.member.project
    sources = list(project.imports.filter(state=Import.State.COMPLETE).order_by("id"))
    wanted, source = _wanted(request, sources)
    found = items.search(project=project, wanted=wanted, after=_after(request), most=_PAGE)
    asked = request.GET.copy()
    asked.pop("after", None)
    is_narrowed = any((wanted.text, wanted.state, wanted.has, wanted.source))
    context = {
        "exact": _rows(found.exact, project),
        "rows": _rows(found.items, project),
        "found": found,
        "is_start": _after(request) < 0,
        "is_narrowed": is_narrowed,
        "wanted": wanted,
        "source": source,
        "sources": list(enumerate(sources, start=1)),
        "query": f"{asked.urlencode()}&" if asked else "",
    }
    if is_narrowed and request.member.role in MAY["manage"]:
        context |= _to_label(project, [*found.exact, *found.items])
    return render_page(request, "annotate/items/list.html", "items", context)


@require_GET
@project_page(to="evidence")
def show(request: ProjectRequest, item: str) -> HttpResponse:
    project, member = request.member.project, request.member
    found = items.find(project=project, public_id=item)
    seen = visibility.look(found, member)
    context = {
        "item": found,
        "replaced_by": getattr(found, "replaced_by", None),
        "parts": modality(found.modality).screen_parts(found.content.payload),
        "metadata": visibility.metadata(found, member, seen),
        "is_marked": member.role in MAY["annotate"] and visibility.seen_by(member.user, found).exists(),
        "seen": seen,
        "happenings": [(one, words(one)) for one in item_history.load(found, seen)],
    }
    if member.role in MAY["manage"]:
        context |= {"loss": items.withdrawal_impact(found), "is_correctable": items.is_correctable(project)}
    return render(request, "annotate/items/show.html", context)


@require_POST
@project_page(to="manage")
def withdraw(request: ProjectRequest, item: str) -> HttpResponse:
    items.withdraw(project=request.member.project, public_ids=[item], by=request.member.user)
    messages.success(request, _("The item is withdrawn. You can bring it back here."))
    return _to(request, item)


@require_POST
@project_page(to="manage")
def bring_back(request: ProjectRequest, item: str) -> HttpResponse:
    items.bring_back(project=request.member.project, public_id=item, by=request.member.user)
    messages.success(request, _("The item is in the pool again."))
    return _to(request, item)


@require_http_methods(["GET", "HEAD", "POST"])
@project_page(to="manage")
def correct(request: ProjectRequest, item: str) -> HttpResponse:
    """Correct an item: the new content becomes a new item that replaces it."""
    project, problem, status = request.member.project, "", 200
    found = items.find(project=project, public_id=item)
    if not items.is_correctable(project):
        raise Conflict(_("Items of this kind cannot be corrected here; import them again."))
    parts = modality(project.modality).screen_parts(found.content.payload)
    values = {part.field: part.text for part in parts}
    if request.method == "POST":
        values = {name: request.POST.get(name, "") for name in values}
        try:
            new = items.correct(project=project, public_id=item, content=values, by=request.member.user)
        except (InvalidInput, Conflict) as error:
            problem, status = str(error), 422 if isinstance(error, InvalidInput) else 409
        else:
            messages.success(request, _("The corrected item is in the pool; the one before is withdrawn."))
            return _to(request, new.public_id)
    fields = [(part, values[part.field]) for part in parts]
    context = {"item": found, "fields": fields, "loss": items.withdrawal_impact(found), "problem": problem}
    return render(request, "annotate/items/correct.html", context, status=status)


@require_GET
@project_page(to="evidence")
def skipped(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    rows = project.annotations.filter(is_current=True, label__isnull=True)
    reason = request.GET.get("reason", "")
    chosen = rows.filter(skip_reason=reason) if reason in SKIP_REASONS else rows
    by_reason = dict(rows.values_list("skip_reason").annotate(n=Count("id")))
    context = {
        "by_reason": [(key, name, by_reason[key]) for key, name in SKIP_REASONS.items() if key in by_reason],
        "by_person": _by_person(rows),
        "n": sum(by_reason.values()),
        "reason": reason if reason in SKIP_REASONS else "",
        **_entries(request, project, chosen),
    }
    return render_page(request, "annotate/items/skipped.html", "entries", context)


@require_GET
@project_page(to="evidence")
def flagged(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    rows = project.annotations.filter(Q(is_flagged=True) | ~Q(comment=""), is_current=True)
    context = _entries(request, project, rows)
    return render_page(request, "annotate/items/flagged.html", "entries", context)


@require_GET
@project_page(to="download")  # raw lines may hold machine labels, as an export does
def quarantined(request: ProjectRequest) -> HttpResponse:
    """The quarantined lines of an import, a page from the line after `after`, or all of them as CSV."""
    project = request.member.project
    # Imports have no public id here: the address has their number within the project, from 1.
    sources = list(enumerate(project.imports.order_by("id"), start=1))
    with_rows = [(number, source) for number, source in sources if source.n_rejected]
    chosen = _chosen(request.GET.get("import", ""), sources, with_rows)
    if chosen is None:
        return render_page(request, "annotate/items/quarantined.html", "rows", {"imports": []})
    number, source = chosen
    rejected = source.rejected_rows.filter(kind=RejectedRow.Kind.REJECTED).order_by("line")
    if request.GET.get("format") == "csv":
        return _as_csv(project, number, rejected)
    after = request.GET.get("after", "")
    start = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else -1
    page = list(rejected.filter(line__gt=start)[: _PAGE + 1])
    context = {
        "imports": with_rows,
        "number": number,
        "source": source,
        "rows": page[:_PAGE],
        "after": page[_PAGE - 1].line if len(page) > _PAGE else None,
        "is_start": start < 0,
    }
    return render_page(request, "annotate/items/quarantined.html", "rows", context)


def _to_label(project: Project, found: list[Item]) -> dict[str, Any]:
    """What the form needs that draws a round of the items found; nothing while a round is open or none can be drawn.

    The search knows neither arm, split nor random number, so what it finds may be asked for while the samples grow.
    """
    names = [item.public_id for item in found if item.withdrawn_at is None]
    if not names or project.rounds.filter(state=Round.State.OPEN).exists():
        return {}
    return {"names": "\n".join(names), "n_names": len(names), "seen": last_of_kinds(project).get("draw", "")}


def _to(request: ProjectRequest, item: str) -> HttpResponse:
    return SeeOther(reverse("items-show", args=[request.member.project.slug, item]))


def _wanted(request: ProjectRequest, sources: list[Import]) -> tuple[items.Search, int | None]:
    """The search in the address and the number of its import, without values that make no sense.

    Searching by silver or by external id (which may hold a label) is only for members who may see machine labels.
    """
    asked, may_know = request.GET, request.member.role in MAY["download"]
    allowed = set(items.HAS) if may_know else set(items.HAS) - {"silver"}
    number = asked.get("import", "")
    place = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 0
    source = sources[place - 1] if 0 < place <= len(sources) else None
    wanted = items.Search(
        text=asked.get("q", "").replace("\x00", "").strip()[:_MAX_TEXT],
        by_external_id=may_know,
        state=asked.get("state", "") if asked.get("state") in ("pool", "withdrawn") else "",
        has=frozenset(asked.getlist("has")) & allowed,
        source=source.pk if source else None,
        may_be_asked=request.member.role in MAY["annotate"],
    )
    return wanted, place if source else None


def _after(request: ProjectRequest) -> int:
    after = request.GET.get("after", "")
    return int(after) if after.isascii() and after.isdigit() and len(after) < 16 else -1


def _rows(found: list[Item], project: Project) -> list[ItemRow]:
    if not found:
        return []
    keys = [item.pk for item in found]
    valid = project.gold.filter(is_current=True).exclude(label__in=labels.current(project).void_ids)
    gold = set(valid.filter(item__in=keys).values_list("item", flat=True))
    flagged = project.annotations.filter(item__in=keys, is_current=True, is_flagged=True).order_by()
    flags = dict(flagged.values_list("item").annotate(n=Count("id")))
    return [
        ItemRow(item, texts_of(item.content.payload, project), item.pk in gold, flags.get(item.pk, 0)) for item in found
    ]


def _entries(request: ProjectRequest, project: Project, rows: QuerySet[Annotation]) -> dict[str, Any]:
    """The context of a page of annotations with their texts, newest first."""
    wanted = rows.select_related("annotator", "item__content").defer("item__content__metadata")
    wanted = wanted.annotate(may_be_asked=_may_be_asked(request.member))
    page = Paginator(wanted.order_by("-created_at", "-id"), _PAGE).get_page(request.GET.get("page"))
    return {"page": page, "entries": [_entry(row, project) for row in page]}


def _may_be_asked(member: Member) -> Exists | Value:
    """An expression: whether the row's item may still be asked of this member, who would then not answer blind."""
    if member.role not in MAY["annotate"] or member.role in MAY["manage"]:
        return Value(False)
    return Exists(QueueEntry.objects.filter(item=OuterRef("item"), round__state=Round.State.OPEN))


def _entry(row: Any, project: Project) -> Entry:
    """An entry from `row`, an annotation with the column `may_be_asked`."""
    return Entry(
        texts=texts_of(row.item.content.payload, project),
        item=row.item,
        annotator=row.annotator,
        created_at=row.created_at,
        reason=SKIP_REASONS[SkipReason(row.skip_reason)] if row.skip_reason else "",
        is_flagged=row.is_flagged,
        comment="" if row.may_be_asked else row.comment,
        is_withheld=row.may_be_asked and row.comment != "",
    )


def texts_of(payload: Any, project: Project) -> list[Text]:
    """An item's content for a list: the beginning, and the rest if it is long."""
    parts = modality(project.modality).screen_parts(payload)
    return [Text(part.heading, part.text[:_EXCERPT], part.text if len(part.text) > _EXCERPT else "") for part in parts]


def _by_person(rows: QuerySet[Annotation]) -> list[tuple[str, int]]:
    counted = rows.values_list("annotator__name", "annotator__email").annotate(n=Count("id")).order_by("-n")
    return [(name or email, n) for name, email, n in counted]


def _chosen(
    asked: str, sources: list[tuple[int, Import]], with_rows: list[tuple[int, Import]]
) -> tuple[int, Import] | None:
    """The import with the number in the address, else the newest with quarantined rows; NotFound for other numbers."""
    if not asked:
        return with_rows[-1] if with_rows else None
    for number, source in sources:
        if str(number) == asked:
            return number, source
    raise NotFound(_("There is no such import."))


def _as_csv(project: Project, number: int, rejected: QuerySet[RejectedRow]) -> HttpResponse:
    lines = uploads.quarantine(rejected, columns=("line", "reason", "external_id", "excerpt"))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{project.slug}-import-{number}-quarantine.csv"'
    return response  # type: ignore[return-value]
