"""The page *Budget*: caps, the kill switch, what was spent, and the ledger row by row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, QuerySet, Sum
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotate.access import MAY
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.formats import csv, spreadsheet
from annotate.models import Budget, LedgerEntry, Member, Project, Run, bulk
from annotate.models.base import is_storable
from annotate.money import budgets
from annotate.web.fixing import Fixing
from annotate.web.forms import Form
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to

_PAGE = 50
_RUNS = 20  # runs offered as filters
_LAST_ENTRIES = 20  # of a paused run, from which the next attempt is known about
_FILTERS = ("kind", "state", "run", "item")
_COLUMNS = (
    "id", "kind", "state", "reserved_micros", "final_micros", "currency", "reason", "n_input_tokens",
    "n_output_tokens", "run", "item", "external_id", "created_at", "ended_at",
)  # fmt: skip

KINDS: dict[str, Promise] = {
    Budget.Kind.MACHINE: gettext_lazy("Machines"),
    Budget.Kind.HUMAN: gettext_lazy("People"),
}
STATES: dict[str, Promise] = {
    LedgerEntry.State.RESERVED: gettext_lazy("reserved"),
    LedgerEntry.State.SETTLED: gettext_lazy("settled"),
    LedgerEntry.State.RELEASED: gettext_lazy("released"),
    LedgerEntry.State.WRITTEN_OFF: gettext_lazy("written off"),
}
MEANINGS: dict[str, Promise] = {
    LedgerEntry.State.RESERVED: gettext_lazy("set aside before anything is sent or handed out"),
    LedgerEntry.State.SETTLED: gettext_lazy("what it cost is known"),
    LedgerEntry.State.RELEASED: gettext_lazy("it cost nothing"),
    LedgerEntry.State.WRITTEN_OFF: gettext_lazy("how it ended is unknown, so it counts as what was reserved"),
}
_WITHOUT_CAP: dict[str, Promise] = {
    Budget.Kind.MACHINE: gettext_lazy("Empty: no cap, and then no model that costs money is asked."),
    Budget.Kind.HUMAN: gettext_lazy("Empty: no cap; people are paid, and the ledger tells how much."),
}
_STOPS: dict[str, Promise] = {
    Budget.Kind.MACHINE: gettext_lazy(
        "Nothing more is sent to a model that costs money; a pre-label under way pauses. What was sent already still "
        "counts."
    ),
    Budget.Kind.HUMAN: gettext_lazy(
        "No more questions are handed out. Those that people hold can still be answered, and are paid."
    ),
}
_GOES_ON: dict[str, Promise] = {
    Budget.Kind.MACHINE: gettext_lazy("Models may be asked again. A paused pre-label waits until somebody resumes it."),
    Budget.Kind.HUMAN: gettext_lazy("Questions are handed out again at once."),
}


class CapForm(Form):
    cap = forms.DecimalField(
        required=False,
        min_value=0,
        max_value=budgets.MAX_MICROS // 1_000_000,
        max_digits=16,
        decimal_places=6,
        widget=forms.NumberInput(attrs={"class": "input w-40", "step": "any", "autocomplete": "off"}),
    )

    def __init__(self, budget: Budget, data: Any = None) -> None:
        cap = None if budget.cap_micros is None else plain(budget.cap_micros)
        super().__init__(data, auto_id=f"{budget.kind}_%s", initial={"cap": cap})
        self.fields["cap"].label = _("Cap in %(currency)s") % {"currency": budget.project.currency}
        self.fields["cap"].help_text = str(_WITHOUT_CAP[budget.kind])

    @property
    def micros(self) -> int | None:
        return micros_of(self.cleaned_data["cap"])


def plain(micros: int) -> Decimal:
    """An amount in micro-units as people type it: 12.5, not 12.500000."""
    whole = Decimal(micros) / 1_000_000
    return whole.quantize(Decimal(1)) if whole == whole.to_integral() else whole.normalize()


def micros_of(amount: Decimal | None) -> int | None:
    """A typed amount in micro-units."""
    return None if amount is None else int(amount * 1_000_000)


@dataclass(frozen=True)
class Purse:
    """One budget (machines or people) as the page shows it."""

    budget: Budget
    name: Promise
    used_micros: int
    alert: int | None
    switch_means: str
    form: CapForm | None  # None: the reader may not change the cap
    paused: Run | None  # the paused pre-label run; its message says why it paused

    @property
    def kind(self) -> str:
        return self.budget.kind


@dataclass(frozen=True)
class LedgerRow:
    """One ledger entry as the page shows it."""

    entry: LedgerEntry
    kind: Promise
    state: Promise
    person: str  # empty: none, or the reader may not know


@require_GET
@project_page(to="money")
def show(request: ProjectRequest) -> HttpResponse:
    if request.GET.get("format") == "csv":
        return _as_csv(request.member, _asked(request))
    return _page(request)


@require_POST
@never_cache
@project_page(to="manage")
def set_cap(request: ProjectRequest) -> HttpResponse:
    budget = budgets.of(request.member.project, request.POST.get("kind", ""))
    form = CapForm(budget, request.POST)
    if form.is_valid():
        try:
            now = budgets.set_cap(project=budget.project, kind=budget.kind, cap_micros=form.micros, by=_by(request))
            messages.success(request, _cap_said(now))
            return go_to(request, _address(request))
        except (InvalidInput, Conflict) as error:
            form.add_error("cap", str(error))
    return _page(request, form, budget.kind, status=422)


@require_POST
@project_page(to="manage")
def stop(request: ProjectRequest) -> HttpResponse:
    return _switch(request, budgets.stop, _("Spending is stopped (%(kind)s). %(means)s"), _STOPS)


@require_POST
@project_page(to="manage")
def resume(request: ProjectRequest) -> HttpResponse:
    return _switch(request, budgets.resume_spending, _("Spending goes on (%(kind)s). %(means)s"), _GOES_ON)


def _switch(
    request: ProjectRequest, change: Callable[..., Budget], sentence: str, means: dict[str, Promise]
) -> HttpResponse:
    now = change(project=request.member.project, kind=request.POST.get("kind", ""), by=_by(request))
    messages.success(request, sentence % {"kind": KINDS[now.kind], "means": means[now.kind]})
    return go_to(request, _address(request))


def _page(request: ProjectRequest, form: CapForm | None = None, of: str = "", status: int = 200) -> HttpResponse:
    """The page; `form`: the form sent for the budget of kind `of`, with its errors."""
    asked, member = _asked(request), request.member
    purses = _purses(member, form, of)
    context: dict[str, Any] = {
        "purses": purses,
        "fixes": Fixing(member.project).by_money() if member.role in MAY["manage"] else "",
        "asked": asked,
        "kinds": KINDS.items(),
        "states": [(state, words, MEANINGS[state]) for state, words in STATES.items()],
        "runs": _runs(member.project, asked.get("run", "")),
        "csv": "?" + urlencode({**asked, "format": "csv"}),
        "totals": _totals(member.project, asked, [purse.budget for purse in purses]),
        **_rows(request, asked),
    }
    return render(request, "annotate/budget/show.html", context, status=status)


def _purses(member: Member, form: CapForm | None, of: str) -> list[Purse]:
    """Both budgets, machines first, in one query, and one more for a paused pre-label run."""
    rows = {row.kind: row for row in member.project.budgets.all()}
    return [_purse(rows[kind], member, form if kind == of else None) for kind in KINDS]


def _purse(budget: Budget, member: Member, form: CapForm | None) -> Purse:
    budget.project = member.project
    paused = _paused(budget) if budget.kind == Budget.Kind.MACHINE else None
    return Purse(
        budget=budget,
        name=KINDS[budget.kind],
        used_micros=budget.spent_micros + budget.reserved_micros,
        alert=budgets.alert(budget, _next_micros(budget, paused)),
        switch_means=_switch_means(budget),
        form=(form or CapForm(budget)) if member.role in MAY["manage"] else None,
        paused=paused,
    )


def _next_micros(budget: Budget, paused: Run | None) -> int:
    """About what the next attempt needs: the price of an answer, or what the paused run reserved for an item."""
    if budget.kind == Budget.Kind.HUMAN:
        return max(1, budget.project.human_price_micros)
    last = LedgerEntry.objects.filter(run=paused).order_by("-pk")[:_LAST_ENTRIES] if paused else []
    return max(1, min((entry.reserved_micros for entry in last), default=1))


def _paused(budget: Budget) -> Run | None:
    """The paused pre-label run of the project, if any, whether at the cap or by hand."""
    return budget.project.runs.filter(kind="prelabel", state=Run.State.PAUSED).first()


def _switch_means(budget: Budget) -> str:
    if budget.kind == Budget.Kind.HUMAN and not budget.project.human_price_micros:
        return _("An answer costs nothing in this project, so the switch changes nothing now.")
    return str((_GOES_ON if budget.is_stopped else _STOPS)[budget.kind])


def _rows(request: ProjectRequest, asked: dict[str, str]) -> dict[str, Any]:
    """One page of the ledger, newest first, from the entry after `before`."""
    last = request.GET.get("before", "")
    entries = _entries(request.member.project, asked, before=_place(request.member.project, last) if last else None)
    page = list(entries[: _PAGE + 1])
    older = urlencode({**asked, "before": page[_PAGE - 1].public_id}) if len(page) > _PAGE else ""
    may_know = request.member.role in MAY["manage"]
    return {
        "rows": [_row(entry, may_know) for entry in page[:_PAGE]],
        "older": "?" + older if older else "",
        "newest": "?" + urlencode(asked) if last else "",
    }


def _row(entry: LedgerEntry, may_know: bool) -> LedgerRow:
    person = str(entry.lease.annotator) if may_know and entry.lease else ""
    return LedgerRow(entry, KINDS[entry.budget.kind], STATES[entry.state], person)


def _asked(request: ProjectRequest) -> dict[str, str]:
    """The filters in the address; unknown values are left out."""
    given = {name: request.GET.get(name, "").strip() for name in _FILTERS}
    known = {"kind": KINDS, "state": STATES}
    given = {name: text for name, text in given.items() if text and is_storable(text)}
    return {name: text for name, text in given.items() if name not in known or text in known[name]}


def _entries(project: Project, asked: dict[str, str], before: int | None = None) -> QuerySet[LedgerEntry]:
    return budgets.entries(
        project,
        kind=asked.get("kind"),
        state=asked.get("state"),
        run=asked.get("run"),
        item=asked.get("item"),
        before=before,
    )


def _place(project: Project, public_id: str) -> int:
    found = LedgerEntry.objects.filter(budget__project=project, public_id=public_id).values_list("pk", flat=True)
    if not found:
        raise NotFound(_("There is no such entry in the ledger."))
    return found[0]


def _totals(project: Project, asked: dict[str, str], rows: list[Budget]) -> list[tuple[Promise, int]]:
    """The sums of the chosen entries, by state.

    For a run or an item the entries are added up; otherwise these are the budgets' own sums, which equal a recount
    at every commit (`manage.py verify` recounts them).
    """
    if "run" in asked or "item" in asked:
        sums = _counted(_entries(project, asked))
    else:
        chosen = [row for row in rows if asked.get("kind", row.kind) == row.kind]
        sums = {
            LedgerEntry.State.RESERVED.value: sum(row.reserved_micros for row in chosen),
            LedgerEntry.State.SETTLED.value: sum(row.settled_micros for row in chosen),
            LedgerEntry.State.WRITTEN_OFF.value: sum(row.written_off_micros for row in chosen),
        }
    return [(words, sums.get(state, 0)) for state, words in STATES.items() if asked.get("state", state) == state]


def _counted(entries: QuerySet[LedgerEntry]) -> dict[str, int]:
    sums = entries.order_by().values_list("state").annotate(Sum("final_micros"), Sum("reserved_micros"), Count("pk"))
    return {
        state: (reserved if state == LedgerEntry.State.RESERVED else final) or 0 for state, final, reserved, _n in sums
    }


def _runs(project: Project, asked: str) -> list[Run]:
    """The last runs that could spend money, to filter by, and the one filtered by now."""
    found = list(project.runs.filter(kind="prelabel").order_by("-id")[:_RUNS])
    if asked and all(run.public_id != asked for run in found):
        found += project.runs.filter(public_id=asked)
    return found


def _cap_said(budget: Budget) -> str:
    if budget.cap_micros is None:
        return _("%(kind)s: there is no cap now.") % {"kind": KINDS[budget.kind]}
    names = {"kind": KINDS[budget.kind], "cap": budgets.amount(budget.cap_micros, budget.project.currency)}
    return _("%(kind)s: the cap is %(cap)s now.") % names


def _by(request: ProjectRequest) -> Any:
    return request.member.user


def _address(request: ProjectRequest) -> str:
    """The address of the page that the form was sent from."""
    back = "prelabel-show" if request.POST.get("back") == "prelabel" else "budget-show"
    return reverse(back, args=[request.member.project.slug])


def _as_csv(member: Member, asked: dict[str, str]) -> HttpResponse:
    response = StreamingHttpResponse(_csv_blocks(member, asked), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{member.project.slug}-ledger.csv"'
    return response  # type: ignore[return-value]


def _csv_blocks(member: Member, asked: dict[str, str]) -> Iterator[bytes]:
    """The chosen entries as CSV for spreadsheets, by chunks, so that memory does not grow with their number."""
    may_know = member.role in MAY["manage"]
    yield spreadsheet.lines([[*_COLUMNS, "person"] if may_know else _COLUMNS])
    before = None
    while chunk := list(_entries(member.project, asked, before)[: bulk.ROWS_PER_PAGE]):
        before = chunk[-1].pk
        yield spreadsheet.lines(_cells(entry, member.project, may_know) for entry in chunk)


def _cells(entry: LedgerEntry, project: Project, may_know: bool) -> list[csv.Cell]:
    cells: list[csv.Cell] = [
        entry.public_id, entry.budget.kind, entry.state, entry.reserved_micros, entry.final_micros, project.currency,
        entry.reason, entry.n_input_tokens, entry.n_output_tokens, entry.run.public_id if entry.run else None,
        entry.item.public_id if entry.item else None, entry.item.external_id if entry.item else None,
        entry.created_at.isoformat(), entry.ended_at.isoformat() if entry.ended_at else None,
    ]  # fmt: skip
    return [*cells, entry.lease.annotator.public_id if entry.lease else None] if may_know else cells
