"""Items that need a look: skipped, flagged, quarantined rows. Never what a machine said of them, nor metadata."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Value
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from annotate.access import MAY
from annotate.errors import NotFound
from annotate.formats import csv
from annotate.modalities import modality
from annotate.models import Annotation, Import, Member, Project, QueueEntry, RejectedRow, Round, User
from annotate.models.annotation import SkipReason
from annotate.web.doors import ProjectRequest, project_page
from annotate.web.htmx import render_page
from annotate.web.screen import SKIP_REASONS

_PAGE = 50
_EXCERPT = 300  # characters; the whole is one click away
_CHUNK = 2_000


@dataclass(frozen=True)
class Text:
    """One block of an item's content; `rest` is empty where all of it is short enough."""

    heading: Promise | None
    start: str
    whole: str


@dataclass(frozen=True)
class Entry:
    """What one person did with one item, with no word on which label they or a machine chose."""

    texts: list[Text]
    annotator: User
    created_at: datetime
    reason: Promise | str
    is_flagged: bool
    comment: str
    is_withheld: bool  # a comment that whoever may still be asked this question does not see


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
    """Lines of an import that made no item, a page at a time after the line `after`; or all of them as CSV."""
    project = request.member.project
    # Imports have no name for the outside: they are counted, 1 is the project's first.
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


def _entries(request: ProjectRequest, project: Project, rows: QuerySet[Annotation]) -> dict[str, Any]:
    """One page of annotations with their texts, newest first."""
    wanted = rows.select_related("annotator", "item__content").defer("item__content__metadata")
    wanted = wanted.annotate(may_be_asked=_may_be_asked(request.member))
    page = Paginator(wanted.order_by("-created_at", "-id"), _PAGE).get_page(request.GET.get("page"))
    return {"page": page, "entries": [_entry(row, project) for row in page]}


def _may_be_asked(member: Member) -> Exists | Value:
    """Whether a row's item is a question of the open round to this member, who would no longer answer it blind."""
    if member.role not in MAY["annotate"] or member.role in MAY["manage"]:
        return Value(False)
    return Exists(QueueEntry.objects.filter(item=OuterRef("item"), round__state=Round.State.OPEN))


def _entry(row: Any, project: Project) -> Entry:
    """`row` is an annotation with `may_be_asked`."""
    return Entry(
        texts=texts_of(row.item.content.payload, project),
        annotator=row.annotator,
        created_at=row.created_at,
        reason=SKIP_REASONS[SkipReason(row.skip_reason)] if row.skip_reason else "",
        is_flagged=row.is_flagged,
        comment="" if row.may_be_asked else row.comment,
        is_withheld=row.may_be_asked and row.comment != "",
    )


def texts_of(payload: Any, project: Project) -> list[Text]:
    """An item's content for a list: cut, with the whole beside where it is long."""
    parts = modality(project.modality).screen_parts(payload)
    return [Text(part.heading, part.text[:_EXCERPT], part.text if len(part.text) > _EXCERPT else "") for part in parts]


def _by_person(rows: QuerySet[Annotation]) -> list[tuple[str, int]]:
    counted = rows.values_list("annotator__name", "annotator__email").annotate(n=Count("id")).order_by("-n")
    return [(name or email, n) for name, email, n in counted]


def _chosen(
    asked: str, sources: list[tuple[int, Import]], with_rows: list[tuple[int, Import]]
) -> tuple[int, Import] | None:
    """The import asked for, else the newest with quarantined rows; NotFound for one that is not the project's."""
    if not asked:
        return with_rows[-1] if with_rows else None
    for number, source in sources:
        if str(number) == asked:
            return number, source
    raise NotFound(_("There is no such import."))


def _as_csv(project: Project, number: int, rejected: QuerySet[RejectedRow]) -> HttpResponse:
    response = StreamingHttpResponse(_csv_blocks(rejected), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{project.slug}-import-{number}-quarantine.csv"'
    return response  # type: ignore[return-value]


def _csv_blocks(rejected: QuerySet[RejectedRow]) -> Iterator[bytes]:
    """Chunk by chunk after the last line, so that memory does not grow; formats/csv keeps formulas from running."""
    yield csv.lines([["line", "reason", "external_id", "excerpt"]])
    last = -1
    while chunk := list(
        rejected.filter(line__gt=last).values_list("line", "reason", "external_id", "excerpt")[:_CHUNK]
    ):
        last = chunk[-1][0]
        yield csv.lines(chunk)
