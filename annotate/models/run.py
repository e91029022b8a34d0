"""Runs: long work as rows, and the lines of their logs."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.project import Project
from annotate.models.user import User


class Run(models.Model):
    """Work that takes long: an import, a training, an export, … (the kinds: annotate/tasks.py)."""

    class State(models.TextChoices):
        QUEUED = "queued"  # waits for a worker
        RUNNING = "running"
        PAUSED = "paused"  # by a person, or because a cap was reached; goes on when somebody resumes it
        SUCCEEDED = "succeeded"
        FAILED = "failed"  # for an expected reason, which `message` tells people
        ERRORED = "errored"  # by a fault of the program or a lost worker; `trace` keeps the stack trace
        CANCELLED = "cancelled"

    class Performer(models.TextChoices):
        """Who performs a run."""

        WORKER = "worker"  # takes it from the queue; `parameters` holds all it needs to know
        COMMAND = "command"  # on the server; only the command knows the parameters, so no worker may repeat it

    class Action(models.TextChoices):
        """What a person has asked of a running run, which obeys at its next beat."""

        NONE = ""
        PAUSE = "pause"
        CANCEL = "cancel"
        PAUSE_NOW = "pause_now"  # without waiting for calls in flight, which are then written off
        CANCEL_NOW = "cancel_now"

    AT_WORK = (State.QUEUED, State.RUNNING)  # a worker performs it or will take it
    ALIVE = (*AT_WORK, State.PAUSED)  # has not ended; at most one per project and kind
    TO_PAUSE = (Action.PAUSE, Action.PAUSE_NOW)
    TO_CANCEL = (Action.CANCEL, Action.CANCEL_NOW)
    AT_ONCE = (Action.PAUSE_NOW, Action.CANCEL_NOW)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    public_id = PublicIdField()
    kind = models.CharField(max_length=30)
    queue = models.CharField(max_length=10, default="io")  # the lane that may take it: annotate/runs/lanes.py
    parameters = models.JSONField(default=dict)
    # What an attempt found out before it worked by it, and every later attempt goes by (how a file is read).
    findings = models.JSONField(default=dict)
    performer = models.CharField(max_length=10, choices=Performer.choices, default=Performer.WORKER)
    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveIntegerField(default=1)
    host = models.CharField(max_length=100, blank=True, default="")
    pid = models.PositiveIntegerField(null=True)
    lease_until = models.DateTimeField(null=True)  # NULL while queued
    heartbeat_at = models.DateTimeField(null=True)
    step = models.CharField(max_length=60, blank=True, default="")  # name of the present step, for people
    cursor = models.PositiveBigIntegerField(default=0)  # units that are committed; the next attempt goes on here
    n_done = models.PositiveBigIntegerField(default=0)
    n_total = models.PositiveBigIntegerField(null=True)
    result = models.JSONField(default=dict)  # counts, public ids and file names, for pages
    message = models.TextField(blank=True)
    trace = models.TextField(blank=True)
    requested_action = models.CharField(
        max_length=10, choices=Action.choices, blank=True, default=Action.NONE, db_column="wish"
    )
    notified_at = models.DateTimeField(null=True, db_column="rung_at")  # when the broker was last told that it waits
    retry_of = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="retries")
    started_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind"],
                condition=Q(state__in=["queued", "running", "paused"]),
                name="run_one_of_a_kind",
            ),
            # A count reads a whole file: whoever wants another one waits for it, or cancels it.
            models.UniqueConstraint(
                fields=["started_by"],
                condition=Q(kind="count", state__in=["queued", "running"]),
                name="run_one_count_of_a_person",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "paused"], finished_at__isnull=True)
                | (~Q(state__in=["queued", "running", "paused"]) & Q(finished_at__isnull=False)),
                name="run_finished_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(lease_until__isnull=False, heartbeat_at__isnull=False),
                name="run_running_has_lease",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], condition=Q(state__in=["queued", "running"]), name="run_waiting")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"


class RunLine(models.Model):
    """One line of a run's log, for people: never content of items, never a secret."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="lines")
    attempt = models.PositiveIntegerField()
    text = models.CharField(max_length=500)
    at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text
