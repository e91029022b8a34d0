"""Signs of life: of workers, and of a database that takes writes."""

from django.db import models


class Heartbeat(models.Model):
    """When somebody last showed that they are there; one row per `name`."""

    WORKER, READY = "worker", "ready"  # any worker; whoever asks whether the site is ready, by writing this row

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"
