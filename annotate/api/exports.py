"""Exported datasets: make one, read its manifest, download its files."""

from typing import Any

from django.http import FileResponse
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api import runs
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation
from annotate.api.runs import ExportInput, RunOutput
from annotate.dataset import files as dataset_files
from annotate.models import Run


class FileOutput(Output):
    name = serializers.CharField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()


class ExportOutput(Output):
    """A finished export."""

    id = serializers.CharField(source="public_id", help_text="Of the run that made it.")
    version = serializers.IntegerField(source="result.version", allow_null=True, default=None)
    files = FileOutput(source="result.files", many=True, default=list)
    manifest = serializers.CharField(source="result.manifest", default="", help_text="A file of its own, by this name.")
    finished_at = serializers.DateTimeField()


class ExportDetailOutput(ExportOutput):
    content = serializers.SerializerMethodField(help_text="What the manifest says; empty where it is gone.")

    def get_content(self, run: Run) -> dict[str, Any]:
        return dataset_files.read_manifest(run)


class Exports(Endpoint):
    @operation("List exports", scope="read", needs="download", returns=ExportOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        """Those that are finished; the others are runs of the kind export."""
        return self.member.project.runs.filter(kind="export", state=Run.State.SUCCEEDED)

    @operation(
        "Start an export",
        scope="manage",
        needs="manage",
        body=ExportInput,
        returns=RunOutput,
        status=201,
        makes=True,
        may_fail=False,
    )
    def post(self, request: Request) -> Any:
        """A run; once it has succeeded its files are listed here."""
        return runs.start(self.member.project, self.me, "export", dict(self.body))


class OneExport(Endpoint):
    @operation("Read an export with its manifest", scope="read", needs="download", returns=ExportDetailOutput)
    def get(self, request: Request, run: str) -> Any:
        return dataset_files.find(project=self.member.project, public_id=run)


class ExportFile(Endpoint):
    @operation("Download a file of an export", scope="read", needs="download", media="application/octet-stream")
    def get(self, request: Request, run: str, name: str) -> Any:
        """JSON Lines, CSV, or the manifest; checked against its checksum before it is sent."""
        path = dataset_files.file(dataset_files.find(project=self.member.project, public_id=run), name)
        return FileResponse(path.open("rb"), as_attachment=True, filename=name, content_type="application/octet-stream")
