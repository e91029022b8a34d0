"""Exports: data sets that were written to files."""

from django.db import models

from annotate.models.base import PublicIdField
from annotate.models.model_version import DeliveredVersion
from annotate.models.project import Project
from annotate.models.run import Run
from annotate.models.user import User


class Export(models.Model):
    """A delivered version that was written to files, with their sizes and checksums. Outlives the files."""

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="exports")
    delivered_version = models.ForeignKey(DeliveredVersion, on_delete=models.CASCADE, related_name="exports")
    # The run that wrote it; NULL where a command wrote it, which makes no run.
    run = models.OneToOneField(Run, null=True, on_delete=models.SET_NULL, related_name="export")
    folder = models.TextField()  # its name in the store, or the path given to a command; "": unknown
    manifest = models.CharField(max_length=200)  # its name in the folder; "": it was gone
    manifest_sha256 = models.CharField(max_length=64)
    n_rows = models.PositiveBigIntegerField()
    files = models.JSONField()  # those that hold data: [{"name", "format", "bytes", "sha256"}, ...]
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"export of {self.delivered_version}"
