"""Progress and money of a project as numbers, for commands now and pages later."""

from dataclasses import dataclass

from django.db.models import Count, Q, Sum

from annotate import pool
from annotate.models import (
    Annotation,
    DeliveredVersion,
    Estimate,
    Gold,
    Item,
    Prediction,
    Project,
    QueueEntry,
    Round,
)
from annotate.models.project import Arm


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


def progress(project: Project) -> Progress:
    items = (
        Item.objects.filter(project=project)
        .visible()
        .aggregate(
            n=Count("id", filter=Q(withdrawn_at__isnull=True)),
            withdrawn=Count("id", filter=Q(withdrawn_at__isnull=False)),
        )
    )
    prompt = pool.current_prompt(project)
    silver = Prediction.objects.filter(prompt=prompt, item__withdrawn_at__isnull=True).aggregate(
        n=Count("id"), failed=Count("id", filter=~Q(status="ok"))
    )
    machine = Prediction.objects.filter(prompt__project=project).aggregate(total=Sum("cost_micros"))["total"] or 0
    answers = Annotation.objects.filter(project=project).aggregate(
        n=Count("id", filter=Q(is_current=True, label__isnull=False)),
        skips=Count("id", filter=Q(is_current=True, label__isnull=True)),
        micros=Sum("price_micros"),
    )
    gold = Gold.objects.filter(project=project, item__withdrawn_at__isnull=True).current()
    trainable = gold.trainable()
    last = project.rounds.order_by("-index").first()
    return Progress(
        n_items=items["n"],
        n_withdrawn=items["withdrawn"],
        n_silver=silver["n"],
        n_failed=silver["failed"],
        n_gold=trainable.count(),
        n_audit_gold=gold.filter(origin=Arm.AUDIT).exclude(item__in=trainable.values("item")).count(),
        n_answers=answers["n"],
        n_skips=answers["skips"],
        machine_micros=machine,
        human_micros=answers["micros"] or 0,
        round=last,
        n_waiting=last.queue.filter(state=QueueEntry.State.OPEN).count() if last else 0,
    )


def latest_estimates(project: Project) -> tuple[DeliveredVersion | None, list[Estimate]]:
    """The newest delivered version that has estimates, and its figures for the whole pool."""
    last = Estimate.objects.filter(project=project).order_by("-id").first()
    if last is None:
        return None, []
    rows = last.delivered_version.estimates.filter(label__isnull=True).order_by("id")
    return last.delivered_version, list(rows)


def next_step(project: Project, now: Progress) -> str:
    """What to do next, as one sentence."""
    if not now.n_items:
        return "Import items."
    if not now.n_silver:
        return "Pre-label the items, so that people are asked where they are worth most."
    if now.round is None:
        return "Draw the first round."
    if now.round.state == Round.State.OPEN:
        if now.n_waiting:
            return f"{now.n_waiting} questions of round {now.round.index} wait (`close_round --force` ends it without)."
        return f"Every question of round {now.round.index} is answered: close it."
    model = project.model_versions.order_by("-version").first()
    if model is None or (now.round.closed_at and model.created_at < now.round.closed_at):
        return "Train: there are answers that no model has seen."
    return "Estimate and export, or draw the next round."
