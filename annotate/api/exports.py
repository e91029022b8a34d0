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
from annotate.dataset import downloads
from annotate.dataset import files as dataset_files
from annotate.models import Export


class FileOutput(Output):
    name = serializers.CharField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()


class ExportOutput(Output):
    """A finished export."""

    id = serializers.CharField(source="run.public_id", help_text="Of the run that made it.")
    version = serializers.IntegerField(source="delivered_version.version", allow_null=True)
    files = FileOutput(many=True)
    manifest = serializers.CharField(help_text="A file of its own, by this name.")
    finished_at = serializers.DateTimeField(source="run.finished_at")


class ExportDetailOutput(ExportOutput):
    content = serializers.SerializerMethodField(help_text="What the manifest says; empty where it is gone.")

    def get_content(self, export: Export) -> dict[str, Any]:
        return dataset_files.read_manifest(export)


class Exports(Endpoint):
    @operation("List exports", scope="read", needs="download", returns=ExportOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        """Those that are finished; the others are runs of the kind export."""
        return dataset_files.finished(self.member.project)

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
        """JSON Lines, CSV, or the manifest; checked against its checksum before it is sent. Who answers questions: that
        you got a file with labels is recorded before it is sent (503 where that fails), and your later blind answers to
        its items are marked as given by somebody who had it (`had_file`)."""
        export = dataset_files.find(project=self.member.project, public_id=run)
        file = dataset_files.opened(export, name)
        downloads.of_file(export, name, by=self.me)
        return FileResponse(file, as_attachment=True, filename=name, content_type="application/octet-stream")
