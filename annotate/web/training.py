"""The page *Training*: model versions side by side, their learning curve, and the button that trains the next one."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from annotate.access import MAY
from annotate.learning import method_choice
from annotate.models import Run
from annotate.reports import confusion, model_versions, progress
from annotate.reports.model_versions import Trained
from annotate.web import charts, run_status
from annotate.web.charts import LineChart, Point
from annotate.web.fixing import Fixing
from annotate.web.http.guards import ProjectRequest, project_page
from annotate.web.http.htmx import render_page
from annotate.web.runs import last_of_kinds

_PAGE = 25  # model versions
_WON_BY: dict[str | None, Promise] = {
    "first": gettext_lazy("took over: it was the first"),
    "other_labels": gettext_lazy("took over: the labels or the silver in force are not those of the one before"),
    "more_gold": gettext_lazy("took over: trained by the same method and settings on more gold"),
    "lower_log_loss": gettext_lazy("took over: a lower log-loss on the reference sample"),
    None: gettext_lazy("the one before it was kept: no lower log-loss on the reference sample"),
}


@require_GET
@project_page(to="evidence")
def show(request: ProjectRequest) -> HttpResponse:
    project = request.member.project
    versions = model_versions.versions(project)
    known = progress.known(project)
    found = confusion.load(known.version) if known.version else None
    page = Paginator(versions[::-1], _PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "page": page,
        "versions": [(one, _verdict(one)) for one in page],
        "champion": next((one for one in versions if one.model.is_champion), None),
        "challenger": versions[-1] if versions and not versions[-1].model.is_champion else None,
        "curve": learning_curve(versions),
        "n_same": next((one.n_reference for one in versions if one.is_compared), None),
        "heat": charts.heat_map(found) if found else None,
        "statuses": _runs(project),
    }
    if request.member.role in MAY["manage"]:
        context |= {
            "seen": last_of_kinds(project).get("train", ""),
            "offers": method_choice.offers(project),
            "fixes": Fixing(project).by_run("train"),
        }
    return render_page(request, "annotate/training/show.html", "training", context)


def _verdict(one: Trained) -> str:
    if "won_by" not in one.model.metrics and one.promoted_because is None and not one.has_rival:
        return ""  # a version from before the reason was recorded
    return str(_WON_BY[one.promoted_because])


def _runs(project: Any) -> list[run_status.Status]:
    """The training run in progress, or the last one if it ended just now or badly."""
    last = project.runs.filter(kind="train").select_related("started_by").order_by("-id").first()
    if last is None:
        return []
    now = run_status.status(last)
    return [now] if last.state in Run.ALIVE or now.is_bad or now.is_news else []


def learning_curve(versions: list[Trained]) -> LineChart | None:
    """The chart of accuracy on the reference sample by number of gold labels; None with fewer than two points."""
    rows = [one for one in versions if one.value is not None and one.low is not None and one.high is not None]
    if any(one.is_compared for one in rows):  # others were measured on other items
        rows = [one for one in rows if one.is_compared]
    golds = sorted({one.n_gold for one in rows})
    if len(golds) < 2:
        return None
    floor = charts.floor_of(min(one.low or 0.0 for one in rows))
    line = charts.Line("model", _("model"), "square", "", [_point(one, golds, floor) for one in rows], 0.0)
    steps = [floor + step * (1 - floor) / 4 for step in range(5)]
    return LineChart(
        lines=charts.apart([line]),
        y_ticks=[charts.Tick(charts.y_at(step, floor), f"{step:.0%}") for step in steps],
        x_ticks=[charts.Tick(charts.x_at(n, golds), str(n)) for n in charts.few(golds, 6)],
        rounds=golds,
    )


def _point(one: Trained, golds: list[int], floor: float) -> Point:
    value, low, high = one.value or 0.0, one.low or 0.0, one.high or 0.0
    return Point(
        x=round(charts.x_at(one.n_gold, golds), 1),
        y=charts.y_at(value, floor),
        y_low=charts.y_at(low, floor),
        y_high=charts.y_at(high, floor),
        round=one.n_gold,
        value=value,
        low=low,
        high=high,
        n=one.n_reference,
        schema=one.model.schema_id,
    )
