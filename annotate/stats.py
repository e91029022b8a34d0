"""Progress, money and the next step of a project as numbers, for commands, pages and the API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Exists, OuterRef, Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate import review
from annotate.models import (
    Annotation,
    Budget,
    DeliveredVersion,
    Draw,
    Estimate,
    Gold,
    Import,
    Item,
    Lease,
    Member,
    ModelVersion,
    Prediction,
    Project,
    QueueEntry,
    Round,
    Run,
)
from annotate.models.base import database_now
from annotate.models.project import Arm, Role

_KIND = Estimate.Estimand
_ALIVE = (Run.State.QUEUED, Run.State.RUNNING)

# What each kind of run is called where people read of it.
RUN_NAMES: dict[str, Promise] = {
    "import": gettext_lazy("Import"),
    "prelabel": gettext_lazy("Pre-labeling"),
    "draw": gettext_lazy("Drawing a round"),
    "close": gettext_lazy("Closing the round"),
    "train": gettext_lazy("Training"),
    "estimate": gettext_lazy("Estimating"),
    "export": gettext_lazy("Export"),
}


@dataclass(frozen=True)
class Progress:
    """Where the loop stands; counts of rows, money in micro-units."""

    n_items: int
    n_withdrawn: int
    n_silver: int
    n_failed: int
    n_gold: int
    n_audit_gold: int
    n_answers: int
    n_skips: int
    machine_micros: int
    human_micros: int
    round: Round | None
    n_waiting: int
    n_questions: int = 0  # of the last round, like the three after it
    n_answered: int = 0
    n_skipped: int = 0
    n_unresolved: int = 0
    n_labeling: int = 0  # people who hold a question now

    @property
    def spent(self) -> int:
        return self.machine_micros + self.human_micros


def progress(project: Project) -> Progress:
    # Counted in single tables: at 100,000 items each join took as long as all of this.
    complete = list(project.imports.filter(state=Import.State.COMPLETE).values_list("pk", flat=True))
    items = Item.objects.filter(source__in=complete).aggregate(
        n=Count("id"), withdrawn=Count("id", filter=Q(withdrawn_at__isnull=False))
    )
    n_silver, n_failed = _silver(project, has_withdrawn=bool(items["withdrawn"]))
    answers = Annotation.objects.filter(project=project).aggregate(
        n=Count("id", filter=Q(is_current=True, label__isnull=False)),
        skips=Count("id", filter=Q(is_current=True, label__isnull=True)),
    )
    spent = {budget.kind: budget.spent_micros for budget in project.budgets.all()}
    current = Gold.objects.filter(project=project, item__withdrawn_at__isnull=True).current()
    is_audit, also_trains = Q(origin=Arm.AUDIT), Exists(Gold.objects.filter(item=OuterRef("item")).trainable())
    gold = current.aggregate(n=Count("id", filter=~is_audit), only_audit=Count("id", filter=is_audit & ~Q(also_trains)))
    last = project.rounds.order_by("-index").first()
    state = QueueEntry.State
    queue = dict(last.queue.values_list("state").annotate(n=Count("id"))) if last else {}
    return Progress(
        n_items=items["n"] - items["withdrawn"],
        n_withdrawn=items["withdrawn"],
        n_silver=n_silver,
        n_failed=n_failed,
        n_gold=gold["n"],
        n_audit_gold=gold["only_audit"],
        n_answers=answers["n"],
        n_skips=answers["skips"],
        machine_micros=spent.get(Budget.Kind.MACHINE, 0),
        human_micros=spent.get(Budget.Kind.HUMAN, 0),
        round=last,
        n_waiting=queue.get(state.OPEN, 0),
        n_questions=sum(queue.values()),
        n_answered=queue.get(state.ANSWERED, 0),
        n_skipped=queue.get(state.SKIPPED, 0),
        n_unresolved=queue.get(state.UNRESOLVED, 0),
        n_labeling=_n_labeling(last) if last and last.state == Round.State.OPEN else 0,
    )


def _silver(project: Project, *, has_withdrawn: bool) -> tuple[int, int]:
    """(answers in force, failures among them); `prompts.current_prompt` says which is in force."""
    versions = dict(project.prompts.values_list("pk", "version"))
    predictions = Prediction.objects.filter(prompt__in=versions).values_list("prompt")
    n, n_failed = Count("id"), Count("id", filter=~Q(status=Prediction.Status.OK))
    rows = list(predictions.annotate(n=n, failed=n_failed))
    gone: dict[int, tuple[int, int]] = {}
    if has_withdrawn:
        withdrawn = predictions.filter(item__project=project, item__withdrawn_at__isnull=False)
        gone = {prompt: (n, failed) for prompt, n, failed in withdrawn.annotate(n=n, failed=n_failed)}
    present = [(row[1] - gone.get(row[0], (0, 0))[0], versions[row[0]], row) for row in rows]
    if not present:
        return 0, 0
    n_silver, _version, best = max(present, key=lambda one: one[:2])
    return n_silver, best[2] - gone.get(best[0], (0, 0))[1]


def _n_labeling(current: Round) -> int:
    held = Lease.objects.filter(entry__round=current, ended_at__isnull=True, expires_at__gt=database_now())
    return held.aggregate(n=Count("annotator", distinct=True))["n"]


# Estimates


@dataclass(frozen=True)
class Known:
    """The stored estimates of the whole pool: those of the newest version that has any, and how they came about."""

    version: DeliveredVersion | None = None
    latest: Sequence[Estimate] = ()
    history: Sequence[Estimate] = ()  # per round and estimand the last figure, in the order of rounds

    def of(self, estimand: str) -> Estimate | None:
        return next((row for row in self.latest if row.estimand == estimand), None)


def known(project: Project) -> Known:
    rows = list(
        Estimate.objects.filter(project=project, label__isnull=True)
        .select_related("delivered_version", "round")
        .defer("delivered_version__delivery")
        .order_by("id")
    )
    if not rows:
        return Known()
    version = rows[-1].delivered_version
    by_round = {(row.round.index, row.estimand): row for row in rows if row.round}
    return Known(
        version,
        [row for row in rows if row.delivered_version_id == version.pk],
        [by_round[key] for key in sorted(by_round)],
    )


def latest_estimates(project: Project) -> tuple[DeliveredVersion | None, list[Estimate]]:
    """The newest delivered version that has estimates, and its figures for the whole pool."""
    found = known(project)
    return found.version, list(found.latest)


def per_class(version: DeliveredVersion) -> list[tuple[str, Estimate | None, Estimate | None]]:
    """(label, precision, recall) by label, as stored for that version."""
    rows = version.estimates.filter(label__isnull=False).select_related("label").order_by("label__index")
    found: dict[str, dict[str, Estimate]] = {}
    for row in rows:
        found.setdefault(str(row.label), {})[row.estimand] = row
    return [(name, both.get(_KIND.PRECISION), both.get(_KIND.RECALL)) for name, both in found.items()]


def answers_since(project: Project, moment: datetime) -> int:
    """Answers that count and were given after `moment`."""
    since = project.annotations.filter(created_at__gt=moment, is_current=True, is_counted=True)
    return since.filter(label__isnull=False).count()


# What to do next


@dataclass(frozen=True)
class NextStep:
    """One sentence for people, and what is to be done: a kind of run, or import, label, review, wait, done."""

    kind: str
    sentence: str
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence


def next_step(project: Project, now: Progress) -> NextStep:
    """What to do next. People's questions come first: nothing that runs keeps them from answering."""
    if now.round and now.round.state == Round.State.OPEN and now.n_waiting:
        return _label(now, now.round)
    alive = project.runs.filter(state__in=(*_ALIVE, Run.State.PAUSED)).order_by("id").first()
    if alive:
        name = RUN_NAMES.get(alive.kind, alive.kind)
        if alive.state == Run.State.PAUSED:
            return NextStep("paused", _("%(run)s is paused: resume it, or cancel it.") % {"run": name})
        return NextStep("wait", _("%(run)s is under way; what comes next depends on it.") % {"run": name})
    if now.round and now.round.state == Round.State.OPEN:
        sentence = _("Every question of round %(round)s is dealt with: close the round.")
        return NextStep("close", sentence % {"round": now.round.index}, {"round": now.round.index})
    return _before_training(now) or _after_round(project, now)


def _label(now: Progress, current: Round) -> NextStep:
    sentence = ngettext(
        "%(n)s of %(total)s questions of round %(round)s waits for an answer.",
        "%(n)s of %(total)s questions of round %(round)s wait for an answer.",
        now.n_waiting,
    )
    counts = {"n": now.n_waiting, "total": now.n_questions, "round": current.index}
    return NextStep("label", sentence % counts, counts)


def _before_training(now: Progress) -> NextStep | None:
    if not now.n_items:
        return NextStep("import", _("Import items: there is nothing to label yet."))
    if not now.n_silver:
        return NextStep("prelabel", _("Pre-label the items, so that people are asked where they are worth most."))
    n_unasked = now.n_items - now.n_silver
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


def _after_round(project: Project, now: Progress) -> NextStep:
    """The last round is closed, and every item has silver."""
    assert now.round is not None
    assert now.round.closed_at is not None
    if step := _review(project):
        return step
    model = project.model_versions.order_by("-version").only("created_at").first()
    if model is None or model.created_at < now.round.closed_at:
        sentence = _("Train: round %(round)s brought answers that no model has seen.")
        return NextStep("train", sentence % {"round": now.round.index}, {"round": now.round.index})
    if _imported_since(project, model):
        return NextStep("train", _("Train: items were imported that the model has not met."))
    version = _estimated(project, now)
    if version is None:
        return NextStep("estimate", _("Estimate: nobody knows yet how often the labels of today are right."))
    return _draw_or_export(project, now, version)


def _review(project: Project) -> NextStep | None:
    """Disagreements come before training, where there are people for them."""
    reviewers = Member.objects.filter(project=project, role=Role.REVIEWER, user__is_active=True)
    n = review.disputes(project).order_by().count() if reviewers.exists() else 0
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


def _estimated(project: Project, now: Progress) -> DeliveredVersion | None:
    """The version that the estimates of the project as it is now speak of: this round, champion and pool."""
    fresh = project.estimates.filter(estimand=_KIND.DELIVERED, round=now.round)
    row = (
        fresh.filter(delivered_version__model__is_champion=True, delivered_version__n_pool=now.n_items)
        .select_related("delivered_version")
        .defer("delivered_version__delivery")
        .order_by("-id")
        .first()
    )
    return row.delivered_version if row else None


def _draw_or_export(project: Project, now: Progress, version: DeliveredVersion) -> NextStep:
    assert now.round is not None
    is_exported = project.events.filter(kind="export.completed", data__version=version.version).exists()
    counts = {"round": now.round.index + 1, "version": version.version}
    if reason := _why_enough(project, now):
        if is_exported:
            sentence = _("%(reason)s Version %(version)s is exported: nothing needs to be done.")
            return NextStep("done", sentence % {"reason": reason, **counts}, counts)
        return NextStep("export", _("%(reason)s Export the dataset.") % {"reason": reason}, counts)
    if is_exported:
        sentence = _("Version %(version)s is exported. Draw round %(round)s to know more and to be right more often.")
    else:
        sentence = _("Draw round %(round)s to know more and to be right more often, or export what there is.")
    return NextStep("draw", sentence % counts, counts)


def _why_enough(project: Project, now: Progress) -> str:
    """Why another round is not called for; only a look at its preset size may say that the target is reached."""
    target = project.target_accuracy
    look = project.estimates.filter(estimand=_KIND.LOOK).order_by("-id").first() if target is not None else None
    if target is not None and look is not None and look.low is not None and look.low >= target:
        sentence = _("The target of %(target)s %% is reached: at the last look it was at least %(low)s %%.")
        return sentence % {"target": f"{100 * target:.1f}", "low": f"{100 * look.low:.1f}"}
    drawn = Draw.objects.filter(project=project, item__withdrawn_at__isnull=True)
    if drawn.aggregate(n=Count("item", distinct=True))["n"] >= now.n_items:
        return _("Every item has been drawn.")
    return ""
