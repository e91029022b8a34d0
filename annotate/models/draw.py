"""Rounds, the draws that say why each item was picked, and the questions that each round puts to people."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.item import Item
from annotate.models.project import Arm, Project, SuggestionPolicy
from annotate.models.run import Run
from annotate.models.user import User


class Round(models.Model):
    """A batch of questions, drawn together, answered, and closed. A project has at most one open round."""

    class State(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rounds")
    public_id = PublicIdField()
    index = models.PositiveIntegerField()  # 1, 2, 3, ...
    state = models.CharField(max_length=20, choices=State.choices, default=State.OPEN)
    batch = models.PositiveIntegerField()
    shares = models.JSONField()  # the fraction of the batch that each arm got
    strategy = models.CharField(max_length=20)
    scored_with = models.ForeignKey("annotate.DeliveredVersion", null=True, on_delete=models.PROTECT)
    seed = models.BigIntegerField()
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="rounds")  # drew it
    # The run that closed it; NULL for an open round, and where a command closed it, which makes no run.
    closing_run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="closed_rounds")
    opened_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True)
    # The project's cut-offs when the round had closed.
    audit_cutoff = models.FloatField(null=True, db_column="audit_mark")
    reference_cutoff = models.FloatField(null=True, db_column="reference_mark")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "index"], name="round_index_once"),
            models.UniqueConstraint(fields=["project"], condition=Q(state="open"), name="round_one_open_per_project"),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True) | Q(state="closed", closed_at__isnull=False),
                name="round_closed_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"round {self.index}"


class Draw(models.Model):
    """One (item, arm, round), kept for ever. Without a round: a late item of a sample, or gold that was imported."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="draws")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="draws")
    round = models.ForeignKey(Round, null=True, on_delete=models.CASCADE, related_name="draws")
    arm = models.CharField(max_length=20, choices=Arm.choices)
    pi = models.FloatField(null=True)  # inclusion probability; NULL where unknown
    score = models.FloatField(null=True)
    reason = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "round", "arm"], name="draw_once_per_round_and_arm"),
            # A sample holds an item once, whatever round brought it in.
            models.UniqueConstraint(
                fields=["item", "arm"],
                condition=Q(arm__in=[Arm.AUDIT, Arm.RANDOM, Arm.IMPORTED]),
                name="draw_once_per_sample",
            ),
            models.CheckConstraint(
                condition=Q(pi__isnull=True) | Q(pi__gt=0, pi__lte=1), name="draw_pi_is_a_probability"
            ),
        ]
        indexes = [models.Index(fields=["project", "arm"], name="draw_project_arm")]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.arm}"


class QueueEntry(models.Model):
    """An item of a round as a question to people. `n_taken` = active leases + counted answers, at most the overlap."""

    class State(models.TextChoices):
        OPEN = "open"
        ANSWERED = "answered"  # the overlap is full
        SKIPPED = "skipped"  # and nobody is left who may answer it
        UNRESOLVED = "unresolved"  # its round closed, its item was withdrawn, or a reviewer could not decide it

    # No index of its own: three others begin with this column, and yield the questions in their order.
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="queue", db_index=False)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="queue_entries")
    position = models.PositiveIntegerField()  # random, so that the order does not betray the arm
    overlap = models.PositiveSmallIntegerField()
    n_taken = models.PositiveSmallIntegerField(default=0)
    is_blind = models.BooleanField()
    suggestion = models.CharField(  # what the arms that drew the item allow, fixed when the round opens
        max_length=20, choices=SuggestionPolicy.choices, default=SuggestionPolicy.HIDDEN
    )
    state = models.CharField(max_length=20, choices=State.choices, default=State.OPEN)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["round", "item"], name="queue_item_once"),
            models.UniqueConstraint(fields=["round", "position"], name="queue_position_once"),
            models.CheckConstraint(condition=Q(n_taken__lte=models.F("overlap")), name="queue_within_overlap"),
        ]
        indexes = [models.Index(fields=["round", "position"], condition=Q(state="open"), name="queue_waiting")]

    def __str__(self) -> str:
        return f"{self.round} #{self.position}"
