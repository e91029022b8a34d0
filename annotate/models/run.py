"""Anything that takes long is first a row here."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.project import Project
from annotate.models.user import User


class Run(models.Model):
    class State(models.TextChoices):
        QUEUED = "queued"  # waits for a worker
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"  # expected: a sentence for people
        ERRORED = "errored"  # a crash or a lost worker: the trace is kept

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    public_id = PublicIdField()
    kind = models.CharField(max_length=30)
    parameters = models.JSONField(default=dict)
    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveIntegerField(default=1)
    host = models.CharField(max_length=100, blank=True, default="")
    pid = models.PositiveIntegerField(null=True)
    lease_until = models.DateTimeField(null=True)  # NULL while queued
    heartbeat_at = models.DateTimeField(null=True)
    step = models.CharField(max_length=60, blank=True, default="")  # what it is doing now, for people
    n_done = models.PositiveBigIntegerField(default=0)
    n_total = models.PositiveBigIntegerField(null=True)
    result = models.JSONField(default=dict)  # counts, public ids and file names, for pages
    message = models.TextField(blank=True)
    trace = models.TextField(blank=True)
    started_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind"], condition=Q(state__in=["queued", "running"]), name="run_one_of_a_kind"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], finished_at__isnull=True)
                | (~Q(state__in=["queued", "running"]) & Q(finished_at__isnull=False)),
                name="run_finished_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(lease_until__isnull=False, heartbeat_at__isnull=False),
                name="run_running_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"
