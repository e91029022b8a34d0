"""A row that is written to see whether the database takes writes."""

from django.db import models


class WriteCheck(models.Model):
    """When somebody last saw that the database takes writes; one row per `name` (who looks)."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"
