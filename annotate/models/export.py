"""Datasets that were written to files."""

from django.db import models

from annotate.models.base import PublicIdField
from annotate.models.model_version import DeliveredVersion
from annotate.models.project import Project
from annotate.models.run import Run
from annotate.models.user import User


class Export(models.Model):
    """One delivered version written to files: where they lie and what each holds, which stays when they are gone."""

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="exports")
    delivered_version = models.ForeignKey(DeliveredVersion, on_delete=models.CASCADE, related_name="exports")
    # The run that wrote it; NULL: a command did, which makes no run of that.
    run = models.OneToOneField(Run, null=True, on_delete=models.SET_NULL, related_name="export")
    folder = models.TextField()  # its name in the store, or the path that a command was given; "": nobody noted it
    manifest = models.CharField(max_length=200)  # a file beside the others; "": it was not there any more
    manifest_sha256 = models.CharField(max_length=64)
    n_rows = models.PositiveBigIntegerField()
    files = models.JSONField()  # of the data: [{"name", "format", "bytes", "sha256"}, ...]
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"export of {self.delivered_version}"
