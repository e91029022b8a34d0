"""Anything that takes long is first a row here."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.project import Project
from annotate.models.user import User


class Run(models.Model):
    class State(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"  # expected: a sentence for people
        ERRORED = "errored"  # a crash or a lost worker: the trace is kept

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    public_id = PublicIdField()
    kind = models.CharField(max_length=30)
    state = models.CharField(max_length=20, choices=State.choices, default=State.RUNNING)
    attempt = models.PositiveIntegerField(default=1)
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    lease_until = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    n_done = models.PositiveBigIntegerField(default=0)
    n_total = models.PositiveBigIntegerField(null=True)
    message = models.TextField(blank=True)
    trace = models.TextField(blank=True)
    started_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "kind"], condition=Q(state="running"), name="run_one_of_a_kind"),
            models.CheckConstraint(
                condition=Q(state="running", finished_at__isnull=True)
                | (~Q(state="running") & Q(finished_at__isnull=False)),
                name="run_finished_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"
