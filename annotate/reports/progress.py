"""Progress, money and the next step of a project as numbers, for commands, pages and the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Exists, OuterRef, Q

from annotate import labels
from annotate.labeling import queue
from annotate.labels import LabelHistory
from annotate.models import (
    Annotation,
    Budget,
    DeliveredVersion,
    Estimate,
    Gold,
    Import,
    Item,
    Lease,
    Project,
    QueueEntry,
    Round,
)
from annotate.models.base import database_now
from annotate.models.project import Arm
from annotate.silver import prompts

_KIND = Estimate.Estimand


@dataclass(frozen=True)
class LoopProgress:
    """Where the loop stands; counts of rows, money in micro-units."""

    n_items: int
    n_withdrawn: int
    n_silver: int  # items with a valid machine label
    n_failed: int  # items whose answer by a machine gives no label
    n_gold: int  # that trains; and all of the open round, whichever arm drew it
    n_audit_gold: int  # that only audits, of closed rounds
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
    n_for_nobody: int = 0  # of those waiting: nobody in the project can be asked them

    @property
    def spent(self) -> int:
        return self.machine_micros + self.human_micros


def progress(project: Project, history: LabelHistory | None = None) -> LoopProgress:
    """Where the loop stands. `history`: the labels in force, where the caller has read them."""
    # Counted in single tables: at 100,000 items each join took as long as all of this.
    states = dict(project.imports.values_list("pk", "state"))
    complete = [pk for pk, state in states.items() if state == Import.State.COMPLETE]
    items = Item.objects.filter(source__in=complete).aggregate(
        n=Count("id"), withdrawn=Count("id", filter=Q(withdrawn_at__isnull=False))
    )
    silver = prompts.in_force(project, is_whole=not items["withdrawn"] and len(complete) == len(states))
    n_failed = silver.n_failed() if silver else 0
    answers = Annotation.objects.filter(project=project).aggregate(
        n=Count("id", filter=Q(is_current=True, label__isnull=False)),
        skips=Count("id", filter=Q(is_current=True, label__isnull=True)),
    )
    spent = {budget.kind: budget.spent_micros for budget in project.budgets.all()}
    is_void = Q(label__in=(history or labels.current(project)).void_ids)
    current = Gold.objects.filter(project=project, item__withdrawn_at__isnull=True).current().exclude(is_void)
    also_trains = Exists(Gold.objects.filter(item=OuterRef("item")).trainable().exclude(is_void))
    last = project.rounds.order_by("-index").first()
    # Gold of the open round counts alike, whichever arm drew it: else answering one question and looking again told.
    is_open = Q(round=last) if last and last.state == Round.State.OPEN else Q(pk__in=[])
    only_audit = Q(origin=Arm.AUDIT) & ~Q(also_trains)
    gold = current.aggregate(
        n=Count("id", filter=~Q(origin=Arm.AUDIT) | (only_audit & is_open)),
        only_audit=Count("id", filter=only_audit & ~is_open),
    )
    state = QueueEntry.State
    by_state, n_for_nobody = _questions(last) if last else ({}, 0)
    return LoopProgress(
        n_items=items["n"] - items["withdrawn"],
        n_withdrawn=items["withdrawn"],
        n_silver=silver.n - n_failed if silver else 0,
        n_failed=n_failed,
        n_gold=gold["n"],
        n_audit_gold=gold["only_audit"],
        n_answers=answers["n"],
        n_skips=answers["skips"],
        machine_micros=spent.get(Budget.Kind.MACHINE, 0),
        human_micros=spent.get(Budget.Kind.HUMAN, 0),
        round=last,
        n_waiting=by_state.get(state.OPEN, 0),
        n_questions=sum(by_state.values()),
        n_answered=by_state.get(state.ANSWERED, 0),
        n_skipped=by_state.get(state.SKIPPED, 0),
        n_unresolved=by_state.get(state.UNRESOLVED, 0),
        n_labeling=_n_labeling(last) if last and last.state == Round.State.OPEN else 0,
        n_for_nobody=n_for_nobody,
    )


def _questions(current: Round) -> tuple[dict[str, int], int]:
    """The questions of a round by state, and how many open ones nobody in the project can be asked; one query."""
    of_nobody = Count("id", filter=Q(state=QueueEntry.State.OPEN) & queue.for_nobody())
    rows = list(current.queue.values_list("state").annotate(n=Count("id"), n_for_nobody=of_nobody))
    return {state: n for state, n, _ in rows}, sum(n for _, _, n in rows)


def _n_labeling(current: Round) -> int:
    held = Lease.objects.filter(entry__round=current, ended_at__isnull=True, expires_at__gt=database_now())
    return held.aggregate(n=Count("annotator", distinct=True))["n"]


# Estimates


@dataclass(frozen=True)
class Known:
    """The stored estimates of the whole pool: those of the newest version that has any, and how they came about."""

    version: DeliveredVersion | None = None
    latest: Sequence[Estimate] = ()
    history: Sequence[Estimate] = ()  # per round, schema and estimand the last figure, in the order of rounds

    def of(self, estimand: str) -> Estimate | None:
        return next((row for row in self.latest if row.estimand == estimand), None)


def known(project: Project) -> Known:
    rows = list(
        Estimate.objects.filter(project=project, label__isnull=True)
        .select_related("delivered_version__schema", "delivered_version__prompt", "round")
        .defer("delivered_version__delivery")
        .order_by("id")
    )
    if not rows:
        return Known()
    version = rows[-1].delivered_version
    by_round = {(row.round.index, row.delivered_version.schema_id, row.estimand): row for row in rows if row.round}
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
