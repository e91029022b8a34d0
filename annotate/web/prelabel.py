"""The page *Pre-label*: the annotator, the quote, the exact prompt, the run's progress, and past answers."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Count, Exists, F, OuterRef, Q, Sum, Window
from django.db.models.functions import RowNumber
from django.http import HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from annotate import projects, samples
from annotate.access import MAY
from annotate.errors import Conflict, InvalidInput
from annotate.models import Budget, Connection, Item, LedgerEntry, Member, Prediction, Project, PromptVersion, Run
from annotate.money import budgets
from annotate.reports import replies
from annotate.silver import connections, prompts, quotes
from annotate.silver.quotes import Preview, Quote
from annotate.web.connections import server_of
from annotate.web.fixing import Fixing
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import go_to, render_page
from annotate.web.run_status import status
from annotate.web.runs import last_of_kinds

_EXAMPLES = 5
_VERSIONS = 20
_MOST_LOOKS = 1_000  # items whose prompt can be previewed, one after the other
_OK = Prediction.Status.OK.value

MEANINGS: dict[str, tuple[Promise, Promise]] = {
    Prediction.Status.REFUSAL: (
        gettext_lazy("declined"),
        gettext_lazy("The model, or a content filter before it, would not answer. People have to."),
    ),
    Prediction.Status.OUT_OF_SET: (
        gettext_lazy("no such label"),
        gettext_lazy("The answer is readable but names none of the labels. Often the labels miss something."),
    ),
    Prediction.Status.TRUNCATED: (
        gettext_lazy("cut off"),
        gettext_lazy("The answer ended at the limit of tokens before it named a label: the model talks first."),
    ),
    Prediction.Status.EMPTY: (
        gettext_lazy("empty"),
        gettext_lazy("The item or the answer has no text."),
    ),
    Prediction.Status.MALFORMED: (
        gettext_lazy("not readable"),
        gettext_lazy("What came back is no answer in the form that was asked for."),
    ),
    Prediction.Status.MISSING: (
        gettext_lazy("left out"),
        gettext_lazy("An answer to several items left this one out."),
    ),
    Prediction.Status.TOO_LONG: (
        gettext_lazy("too long"),
        gettext_lazy("The item does not fit into what the model reads at once."),
    ),
    Prediction.Status.UNAVAILABLE: (
        gettext_lazy("no answer"),
        gettext_lazy("The server gave none after all attempts that are allowed."),
    ),
}


@dataclass(frozen=True)
class Choice:
    """An annotator that can be chosen; `problem` says why it cannot be asked."""

    value: str  # public id of a connection; empty: this site's own annotator
    connection: Connection | None
    server: str
    is_chosen: bool
    problem: str = ""


@dataclass(frozen=True)
class Made:
    """The answers of one prompt version: counts and cost."""

    prompt: PromptVersion
    counts: dict[str, int]
    micros: int

    @property
    def n_ok(self) -> int:
        return self.counts.get(_OK, 0)

    @property
    def n_failed(self) -> int:
        return sum(self.counts.values()) - self.n_ok


@dataclass(frozen=True)
class Failed:
    """The failures of one kind, with a few of their items."""

    name: Promise
    meaning: Promise
    n: int
    examples: list[Prediction]


@require_GET
@project_page(to="evidence")
def show(request: ProjectRequest) -> HttpResponse:
    member = request.member
    may_act, project = member.role in MAY["manage"], member.project
    run = _last_run(project)
    made = _made(project)
    chosen = _chosen(made, request.GET.get("version", ""))
    context: dict[str, Any] = {
        "status": status(run) if run else None,
        "spent": _spent(run) if run and member.role in MAY["money"] else None,
        "has_money": member.role in MAY["money"],
        "n_pool": Item.objects.filter(project=project).in_pool().count(),
        "made": made,
        "chosen": chosen,
        "failures": _failures(chosen, member) if chosen else [],
        **(_acting(request, made, run) if may_act else {"connection": _connection(project)}),
    }
    return render_page(request, "annotate/prelabel/show.html", "prelabel", context)


@require_GET
@project_page(to="money")
def spent(request: ProjectRequest) -> HttpResponse:
    """The fragment with what the last run has spent; it polls while the run is alive."""
    run = _last_run(request.member.project)
    context = {"status": status(run) if run else None, "spent": _spent(run) if run else None}
    return render_page(request, "annotate/prelabel/_spent.html", "spent", context)


@require_POST
@project_page(to="manage")
def choose(request: ProjectRequest) -> HttpResponse:
    """Choose the annotator: a connection lent to the project, or (empty) this site's own annotator."""
    by, wanted = request.member, request.POST.get("connection", "")
    connection = connections.choose_lent(project=by.project, public_id=wanted, by=by.user)
    messages.success(request, _("From now on %(name)s is asked.") % {"name": connection or _("this site")})
    return go_to(request, reverse("prelabel-show", args=[by.project.slug]))


def _acting(request: ProjectRequest, made: list[Made], run: Run | None) -> dict[str, Any]:
    """The part of the context for members who manage: choices of annotator, quote and prompt preview."""
    member, project = request.member, request.member.project
    connection = _connection(project)
    quote, problem = _quote(project, member.user) if connection else (None, "")
    again = None
    if quote and quote.n_failed:
        again = quotes.quote(project=project, by=member.user, n_previews=0, failed_again=True)
    n_pending = quote.n_items if quote else _pending(project, connection, made)
    look = _look(request.GET.get("look", ""))
    item, look = _item(project, look)
    preview = None
    if connection and item and not problem:
        preview = quotes.prompt_preview(project=project, item=item, by=member.user)
    return {
        "connection": connection,
        "choices": _choices(project, connection),
        "budget": budgets.of(project, Budget.Kind.MACHINE),
        "quote": quote,
        "again": again,
        "problem": problem,
        "n_pending": n_pending,
        "why_not": _why_not(project, n_pending, problem, quote),
        "is_alive": run is not None and run.state in Run.ALIVE,
        "preview": _shown(preview),
        "next_look": look + 1,
        "seen": last_of_kinds(project).get("prelabel", ""),
        "fixes": Fixing(project).by_run("prelabel"),
    }


def _connection(project: Project) -> Connection | None:
    """The chosen connection, whether or not it can be asked; None: this site's own annotator."""
    return Connection.objects.filter(pk=project.connection_id).first() if project.connection_id else None


def _quote(project: Project, by: Any) -> tuple[Quote | None, str]:
    """The quote, or the reason why there is none."""
    try:
        return quotes.quote(project=project, by=by, n_previews=0), ""
    except (Conflict, InvalidInput) as error:
        return None, str(error)


def _why_not(project: Project, n_pending: int | None, problem: str, quote: Quote | None) -> str:
    """The sentence that says why a pre-label cannot start now; empty if it can."""
    if problem:
        return problem
    if not n_pending:
        return _("Every item has an answer from this annotator, these labels and these guidelines.")
    return (quote.refusal or "") if quote else ""


def _pending(project: Project, connection: Connection | None, made: list[Made]) -> int | None:
    """How many items have no answer of the annotator under the labels and guidelines in force.

    None if the chosen connection cannot be asked, since then its prompt version is unknown.
    """
    if connection is not None:
        return None
    schema, guidelines = projects.current_schema(project), projects.current_guidelines(project)
    wanted = (project.annotator, schema.pk, guidelines.pk if guidelines else None)
    same = (
        one.prompt for one in made if (one.prompt.annotator, one.prompt.schema_id, one.prompt.guidelines_id) == wanted
    )
    return prompts.pending(project, next(same, None)).count()


def _choices(project: Project, connection: Connection | None) -> list[Choice]:
    """The choices: this site's annotator, lent connections, and the chosen one even if it cannot be asked any more."""
    usable = list(connections.usable(project))
    choices = [Choice("", None, "", connection is None)]
    choices += [Choice(one.public_id, one, server_of(one), one == connection, _odd(one, project)) for one in usable]
    if connection is not None and connection not in usable:
        why = _("switched off or not lent to this project any more")
        choices.append(Choice(connection.public_id, connection, server_of(connection), True, why))
    return choices


def _odd(connection: Connection, project: Project) -> str:
    if connection.currency != project.currency:
        names = {"theirs": connection.currency, "ours": project.currency}
        return _("is paid in %(theirs)s, and this project counts in %(ours)s") % names
    if connection.input_price_micros is None or connection.output_price_micros is None:
        return _("has no price yet, and what has no price is not asked")
    return ""


def _look(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < _MOST_LOOKS else 0


def _item(project: Project, look: int) -> tuple[Item | None, int]:
    """The example at place `look` of a fixed random order, and its place; after the last comes the first."""
    pool = (
        Item.objects.filter(samples.for_examples(), project=project)
        .in_pool()
        .select_related("content")
        .order_by("prn", "pk")
    )
    found = pool[look : look + 1].first() if look else None
    return (found, look) if found else (pool.first(), 0)


def _shown(preview: Preview | None) -> dict[str, Any] | None:
    """The previewed messages, each role in words."""
    if preview is None:
        return None
    roles = {"system": _("What the model is told first"), "user": _("The item"), "assistant": _("An example's answer")}
    said = [(roles.get(one["role"], one["role"]), one["content"]) for one in preview.messages]
    return {"item": preview.item, "messages": said, "most_micros": preview.most_micros}


def _last_run(project: Project) -> Run | None:
    return project.runs.filter(kind="prelabel").select_related("started_by").order_by("-id").first()


def _spent(run: Run) -> dict[str, int]:
    """The run's money in the ledger: spent, and reserved."""
    sums = run.ledger.aggregate(
        final=Sum("final_micros"), open=Sum("reserved_micros", filter=Q(state=LedgerEntry.State.RESERVED))
    )
    return {name: value or 0 for name, value in sums.items()}


def _made(project: Project) -> list[Made]:
    """The last prompt versions, newest first, with the counts and costs of their answers; three queries."""
    versions = list(project.prompts.select_related("guidelines", "schema").order_by("-version")[:_VERSIONS])
    counts: dict[int, dict[str, int]] = {}
    found = Prediction.objects.current().filter(prompt__in=versions).order_by().values_list("prompt", "status")
    for prompt, state, n in found.annotate(n=Count("pk")):
        counts.setdefault(prompt, {})[state] = n
    entries = LedgerEntry.objects.filter(prompt__in=versions).order_by().values_list("prompt")
    micros = {prompt: total or 0 for prompt, total in entries.annotate(total=Sum("final_micros"))}
    return [Made(one, counts.get(one.pk, {}), micros.get(one.pk, 0)) for one in versions]


def _chosen(made: list[Made], version: str) -> Made | None:
    """The prompt version in the address, else the newest with answers."""
    asked = (one for one in made if str(one.prompt.version) == version)
    return next(asked, None) or next((one for one in made if one.counts), None)


def _failures(made: Made, member: Member) -> list[Failed]:
    """The failures of a prompt version by kind, the most frequent first, each with a few items of no sample."""
    kinds = sorted(((n, kind) for kind, n in made.counts.items() if kind != _OK), reverse=True)
    if not kinds:
        return []
    place = Window(RowNumber(), partition_by=F("status"), order_by=F("pk").asc())
    examples_only = Item.objects.filter(samples.for_examples(), pk=OuterRef("item"))
    rows = (
        made.prompt.predictions.failed()
        .filter(Exists(examples_only))
        .annotate(place=place)
        .filter(place__lte=_EXAMPLES)
    )
    examples: dict[str, list[Prediction]] = {}
    for row in replies.with_readable(rows.select_related("item"), member):
        examples.setdefault(row.status, []).append(row)
    return [Failed(*MEANINGS[kind], n, examples.get(kind, [])) for n, kind in kinds]
