"""The event log. Append-only: triggers in the database refuse updates and deletions."""

from typing import Any

from django.db import models

from annotate.models.project import Project
from annotate.models.user import User


class Event(models.Model):
    """What happened (`kind`, `data`), in which project, by whom, and when. `project` is NULL for events of the site."""

    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="events")
    actor = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=40)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["project", "at"], name="event_by_time")]

    def __str__(self) -> str:
        return self.kind


def record(kind: str, *, project: Project | None, by: User | None, **data: Any) -> Event:
    """Append one event; `data` holds counts and public ids, never content or secrets."""
    return Event.objects.create(project=project, actor=by, kind=kind, data=data)
