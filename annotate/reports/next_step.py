"""What a project should do next, as one sentence for people."""

from dataclasses import dataclass, field

from django.db.models import Count, Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate import labels, samples
from annotate.labeling import disputes
from annotate.labels import LabelHistory
from annotate.models import (
    DeliveredVersion,
    Draw,
    Estimate,
    Import,
    Member,
    ModelVersion,
    Project,
    Round,
    Run,
)
from annotate.models.project import Role
from annotate.reports.progress import LoopProgress

# What each kind of run is called where people read of it.
RUN_NAMES: dict[str, Promise] = {
    "import": gettext_lazy("Import"),
    "count": gettext_lazy("Counting a file"),
    "prelabel": gettext_lazy("Pre-labeling"),
    "draw": gettext_lazy("Drawing a round"),
    "close": gettext_lazy("Closing the round"),
    "train": gettext_lazy("Training"),
    "estimate": gettext_lazy("Estimating"),
    "export": gettext_lazy("Export"),
}

# What a member must be allowed to do (a key of access.MAY) to take a step of each kind; None: there is nothing to do.
NEEDS: dict[str, str | None] = {
    "import": "manage",
    "prelabel": "manage",
    "draw": "manage",
    "label": "annotate",
    "invite": "manage",
    "close": "manage",
    "review": "review",
    "train": "manage",
    "estimate": "manage",
    "export": "manage",
    "paused": "manage",
    "wait": None,
    "done": None,
}


@dataclass(frozen=True)
class NextStep:
    """One sentence for people, and what is to be done.

    `kind`: a kind of run, or import, label, invite (questions wait that nobody can be asked), review, wait, done.
    """

    kind: str
    sentence: str
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence


def choose(project: Project, now: LoopProgress, history: LabelHistory | None = None) -> NextStep:
    """What to do next. People's questions come first: nothing that runs keeps them from answering.

    `history`: the labels in force, where the caller has read them.
    """
    if now.round and now.round.state == Round.State.OPEN and now.n_waiting:
        return _label(now, now.round)
    alive = project.runs.filter(state__in=Run.ALIVE).order_by("id").first()
    if alive:
        name = RUN_NAMES.get(alive.kind, alive.kind)
        if alive.state == Run.State.PAUSED:
            return NextStep("paused", _("%(run)s is paused: resume it, or cancel it.") % {"run": name})
        return NextStep("wait", _("%(run)s is under way; what comes next depends on it.") % {"run": name})
    if now.round and now.round.state == Round.State.OPEN:
        sentence = _("Every question of round %(round)s is dealt with: close the round.")
        return NextStep("close", sentence % {"round": now.round.index}, {"round": now.round.index})
    return _before_training(project, now) or _after_round(history or labels.current(project), now)


def _label(now: LoopProgress, current: Round) -> NextStep:
    if now.n_for_nobody == now.n_waiting:
        return _invite(now, current)
    sentence = ngettext(
        "%(n)s of %(total)s questions of round %(round)s waits for an answer.",
        "%(n)s of %(total)s questions of round %(round)s wait for an answer.",
        now.n_waiting,
    )
    counts = {"n": now.n_waiting, "total": now.n_questions, "round": current.index}
    return NextStep("label", sentence % counts, counts)


def _invite(now: LoopProgress, current: Round) -> NextStep:
    """Questions wait, and no member is left to ask: an answer can only come from somebody new."""
    sentence = ngettext(
        "%(n)s question of round %(round)s waits, and nobody in this project can be asked it: "
        "invite somebody, or close the round over it.",
        "%(n)s questions of round %(round)s wait, and nobody in this project can be asked them: "
        "invite somebody, or close the round over them.",
        now.n_waiting,
    )
    counts = {"n": now.n_waiting, "total": now.n_questions, "round": current.index}
    return NextStep("invite", sentence % counts, counts)


def _before_training(project: Project, now: LoopProgress) -> NextStep | None:
    if not now.n_items:
        return NextStep("import", _("Import items: there is nothing to label yet."))
    if now.round and now.n_silver < now.n_items and _is_all_drawn(project, now):
        return None  # people were asked everything, so no machine needs to say what to ask them next
    if not now.n_silver and not now.n_failed:
        return NextStep("prelabel", _("Pre-label the items, so that people are asked where they are worth most."))
    n_unasked = now.n_items - now.n_silver - now.n_failed
    if n_unasked > 0:
        sentence = ngettext(
            "Pre-label %(n)s item that no machine was asked about.",
            "Pre-label %(n)s items that no machine was asked about.",
            n_unasked,
        )
        return NextStep("prelabel", sentence % {"n": n_unasked}, {"n": n_unasked})
    if now.round is None:
        return NextStep("draw", _("Draw the first round of questions for people."), {"round": 1})
    return None


def _after_round(history: LabelHistory, now: LoopProgress) -> NextStep:
    """The last round is closed, and every item has silver."""
    assert now.round is not None
    assert now.round.closed_at is not None
    project = history.schema.project
    if step := _review(project) or _ask_again(history, now.round):
        return step
    model = project.model_versions.order_by("-version").only("created_at", "schema", "project").first()
    is_all_gold = now.n_gold + now.n_audit_gold >= now.n_items
    if not is_all_gold and (model is None or model.created_at < now.round.closed_at):
        sentence = _("Train: round %(round)s brought answers that no model has seen.")
        return NextStep("train", sentence % {"round": now.round.index}, {"round": now.round.index})
    if model and not is_all_gold and _imported_since(project, model):
        return NextStep("train", _("Train: items were imported that the model has not met."))
    if model and not is_all_gold and not history.map_from(model.schema_id).keeps_models:
        return NextStep("train", _("Train: the labels were changed, and the model in use knows only those before."))
    version = _estimated(history, now, model)
    if version is None:
        return NextStep("estimate", _("Estimate: nobody knows yet how often the labels of today are right."))
    return _draw_or_export(project, now, version)


def _ask_again(history: LabelHistory, last: Round) -> NextStep | None:
    """Void gold of the samples comes before training: it holds up what may be reported, and what Ĉ is counted from."""
    n = 0 if history.is_first else len(samples.to_ask_again(history.schema))
    if not n:
        return None
    sentence = ngettext(
        "Draw round %(round)s: the change of labels made the gold of %(n)s sampled item void; it is asked again.",
        "Draw round %(round)s: the change of labels made the gold of %(n)s sampled items void; they are asked again.",
        n,
    )
    counts = {"round": last.index + 1, "n": n}
    return NextStep("draw", sentence % counts, counts)


def _review(project: Project) -> NextStep | None:
    """Disagreements come before training, where there are people for them."""
    reviewers = Member.objects.filter(project=project, role=Role.REVIEWER, user__is_active=True)
    n = disputes.undecided(project).order_by().count() if reviewers.exists() else 0
    if not n:
        return None
    sentence = ngettext(
        "%(n)s question on which people disagree waits for a reviewer.",
        "%(n)s questions on which people disagree wait for a reviewer.",
        n,
    )
    return NextStep("review", sentence % {"n": n}, {"n": n})


def _imported_since(project: Project, model: ModelVersion) -> bool:
    imports = project.imports.filter(state=Import.State.COMPLETE, finished_at__gt=model.created_at)
    return imports.filter(Q(n_items__gt=0) | Q(n_revived__gt=0)).exists()


def _estimated(history: LabelHistory, now: LoopProgress, model: ModelVersion | None) -> DeliveredVersion | None:
    """The version that the estimates of the project as it is now speak of: this round, champion, pool and labels."""
    of_these = history.schema.project.estimates.filter(delivered_version__schema=history.schema)
    fresh = of_these.filter(estimand=Estimate.Estimand.DELIVERED, round=now.round)
    is_now = Q(delivered_version__model__is_champion=True) if model else Q(delivered_version__model__isnull=True)
    row = (
        fresh.filter(is_now, delivered_version__n_pool=now.n_items)
        .select_related("delivered_version")
        .defer("delivered_version__delivery")
        .order_by("-id")
        .first()
    )
    return row.delivered_version if row else None


def _draw_or_export(project: Project, now: LoopProgress, version: DeliveredVersion) -> NextStep:
    assert now.round is not None
    is_exported = version.exports.exists()
    counts = {"round": now.round.index + 1, "version": version.version}
    if reason := _why_enough(project, now, version):
        if is_exported:
            sentence = _("%(reason)s Version %(version)s is exported: nothing needs to be done.")
            return NextStep("done", sentence % {"reason": reason, **counts}, counts)
        return NextStep("export", _("%(reason)s Export the dataset.") % {"reason": reason}, counts)
    if is_exported:
        sentence = _("Version %(version)s is exported. Draw round %(round)s to know more and to be right more often.")
    else:
        sentence = _("Draw round %(round)s to know more and to be right more often, or export what there is.")
    return NextStep("draw", sentence % counts, counts)


def _why_enough(project: Project, now: LoopProgress, version: DeliveredVersion) -> str:
    """Why another round is not called for; only a look at its preset size may say that the target is reached.

    The look must speak of `version`, the delivered version of today: it says nothing of another pool or other labels.
    """
    target = project.target_accuracy
    looks = version.estimates.filter(estimand=Estimate.Estimand.LOOK).order_by("-id")
    look = looks.first() if target is not None else None
    if target is not None and look is not None and look.low is not None and look.low >= target:
        sentence = _("The target of %(target)s %% is reached: at the last look it was at least %(low)s %%.")
        return sentence % {"target": f"{100 * target:.1f}", "low": f"{100 * look.low:.1f}"}
    return _("Every item has been drawn.") if _is_all_drawn(project, now) else ""


def _is_all_drawn(project: Project, now: LoopProgress) -> bool:
    drawn = Draw.objects.filter(project=project, item__withdrawn_at__isnull=True)
    return drawn.aggregate(n=Count("item", distinct=True))["n"] >= now.n_items
