"""Files in: send one, see what an import would make of it, import it, fetch what could not be used."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse, UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from annotate import outages, tasks
from annotate.api.http import hourly
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Choice, Input, Integer, Output, PublicId, Text
from annotate.api.http.operations import operation
from annotate.api.runs import RunOutput
from annotate.dataset import downloads
from annotate.errors import Conflict, NotFound
from annotate.formats.dialect import DELIMITERS, ENCODINGS, EXPORTS, FORMATS
from annotate.imports import preview, quotas, uploads
from annotate.models import Import, Run
from annotate.silver import quotes

_PIECE = 1 << 20


class AnyFile(BaseParser):
    """Takes every type of body, and reads none: the endpoint does, piece by piece."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class UploadOutput(Output):
    id = serializers.CharField(source="public_id")
    file_name = serializers.CharField()
    sha256 = serializers.CharField(source="file_sha256")
    n_bytes = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class QuotaOutput(Output):
    """What was sent to the project today, thrown away or not, and what may be."""

    n_files = serializers.IntegerField()
    n_bytes = serializers.IntegerField()
    most_files = serializers.IntegerField()
    most_bytes = serializers.IntegerField()
    opens_at = serializers.DateTimeField(help_text="When the next day begins.")


class UploadQuery(Input):
    file_name = serializers.CharField(max_length=255, help_text="What the file is called: items.csv")


class DialectInput(Input):
    format = Choice(required=False, choices=list(FORMATS))
    encoding = Choice(required=False, choices=list(ENCODINGS))
    delimiter = Choice(required=False, choices=list(DELIMITERS))
    header_line = Integer(
        required=False, min_value=0, max_value=2, help_text="0: no line names the columns; they are numbered."
    )
    quoting = serializers.BooleanField(required=False, help_text="False: a double quote is a character like others.")
    export = Choice(
        required=False, choices=list(EXPORTS), help_text="Which kind of export of Goldloop it is; empty: none."
    )


class PreviewInput(Input):
    dialect = DialectInput(required=False, help_text="What you know better than what is detected.")
    columns = serializers.DictField(
        child=Text(max_length=1_000, allow_null=True),
        required=False,
        default=dict,
        help_text="Column by role (text or text_a and text_b, id, gold, silver, confidence). Without those of content "
        "and id, these are proposed; a column of labels that is not named here becomes metadata. Nested fields are "
        "named by their paths: data.text.",
    )


class ImportInput(PreviewInput):
    upload = PublicId()


class ColumnOutput(Output):
    name = serializers.CharField()
    samples = serializers.ListField(child=serializers.CharField())
    role = serializers.CharField(allow_null=True, help_text="Null: it becomes metadata.")


class RowOutput(Output):
    line = serializers.IntegerField()
    external_id = serializers.CharField(allow_null=True)
    payload = serializers.DictField(child=serializers.CharField())
    metadata = serializers.DictField()
    gold = serializers.CharField(allow_null=True)
    silver = serializers.CharField(allow_null=True)


class RejectedOutput(Output):
    line = serializers.IntegerField()
    reason = serializers.CharField()
    external_id = serializers.CharField(allow_null=True)
    excerpt = serializers.CharField()


class LabelSeenOutput(Output):
    name = serializers.CharField()
    n = serializers.IntegerField()
    is_known = serializers.BooleanField(help_text="Whether the project has this label.")


class LabelColumnOutput(Output):
    name = serializers.CharField()
    role = serializers.CharField(allow_null=True, help_text="As you said: gold or silver. Null: it becomes metadata.")
    suggested = serializers.CharField(
        allow_null=True, help_text="By its name and values: gold or silver. It is yours to say so."
    )
    names = LabelSeenOutput(many=True)


class PreviewOutput(Output):
    """What an import would make of the file. Nothing of it is stored."""

    dialect = serializers.DictField()
    is_sure = serializers.BooleanField(help_text="False: the encoding is a guess.")
    notes = serializers.ListField(child=serializers.CharField())
    confidences = serializers.ListField(
        child=serializers.CharField(), help_text="How a machine's confidences are read: sentences."
    )
    columns = ColumnOutput(many=True)
    mapping = serializers.DictField(child=serializers.CharField(allow_null=True), help_text="Column by role.")
    problem = serializers.CharField(help_text="Why it cannot be imported like this; empty where it can.")
    is_whole = serializers.BooleanField(help_text="False: only the beginning of the file was read.")
    n_rows = serializers.IntegerField(help_text="About, where is_whole is false.")
    n_bytes = serializers.IntegerField(help_text="Unpacked; about, where is_whole is false.")
    n_bytes_read = serializers.IntegerField(help_text="Unpacked.")
    bound = serializers.CharField(help_text="From how many lines all this is; empty where it is from the whole file.")
    n_checked = serializers.IntegerField(help_text="Rows that the figures below speak of: the first ones.")
    n_new = serializers.IntegerField()
    n_duplicates = serializers.IntegerField()
    n_revived = serializers.IntegerField()
    n_rejected = serializers.IntegerField()
    rows = RowOutput(many=True)
    rejected = RejectedOutput(many=True)
    labels = serializers.DictField(child=LabelSeenOutput(many=True))
    label_columns = LabelColumnOutput(many=True, help_text="Columns that may hold labels: say what these are.")
    warnings = serializers.ListField(child=serializers.CharField())
    mean_characters = serializers.FloatField()
    prelabel_micros = serializers.IntegerField(
        allow_null=True, help_text="About what all new items would cost; null where nobody is paid for it."
    )


class ImportOutput(Output):
    id = serializers.CharField(source="public_id")
    file_name = serializers.CharField()
    sha256 = serializers.CharField(source="file_sha256")
    state = serializers.ChoiceField(choices=Import.State.choices)
    n_lines = serializers.IntegerField(source="cursor", help_text="Of the file, that are done.")
    n_items = serializers.IntegerField()
    n_revived = serializers.IntegerField()
    n_duplicates = serializers.IntegerField()
    n_rejected = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    warnings = serializers.SerializerMethodField(help_text="What was taken otherwise than may have been meant.")

    def get_warnings(self, source: Import) -> list[str]:
        return source.options.get("warnings", [])  # type: ignore[no-any-return]


class Uploads(Endpoint):
    parser_classes = [AnyFile]

    @operation("List files that were sent", scope="read", needs="manage", returns=UploadOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        """A file is kept for a day, and longer where an import needs it."""
        return self.member.project.uploads.filter(deleted_at__isnull=True)

    @operation(
        "Send a file",
        scope="manage",
        needs="manage",
        query=UploadQuery,
        returns=UploadOutput,
        status=201,
        takes_file=True,
    )
    def post(self, request: Request) -> Any:
        """The body is the file itself, of any type, with its length said: JSON Lines or CSV, packed (.gz) or not."""
        project, name = self.member.project, self.query["file_name"]
        chunks, length = _pieces(request._request), int(request.META.get("CONTENT_LENGTH") or 0)
        with quotas.reserved(project=project, by=self.me, n_bytes=length) as room:
            try:
                return uploads.receive(project=project, by=self.me, file_name=name, chunks=chunks, room=room)
            except OSError as error:
                if outages.of(error):  # the rest is read and dropped, so that the program reads the answer
                    deque(chunks, maxlen=0)
                raise


class UploadQuota(Endpoint):
    @operation("Read how much may be sent today", scope="read", needs="manage", returns=QuotaOutput)
    def get(self, request: Request) -> Any:
        """A day is a day of UTC. Beyond the limits files are refused with 429 until `opens_at`."""
        return quotas.usage(self.member.project)


class OneUpload(Endpoint):
    @operation("Read what is known of a file that was sent", scope="read", needs="manage", returns=UploadOutput)
    def get(self, request: Request, upload: str) -> Any:
        return uploads.find(project=self.member.project, public_id=upload)

    @operation("Throw away a file that was sent", scope="manage", needs="manage", status=204)
    def delete(self, request: Request, upload: str) -> Any:
        """Not while an import needs it."""
        uploads.discard(upload=uploads.find(project=self.member.project, public_id=upload), by=self.me)


class PreviewUpload(Endpoint):
    @operation(
        "See what an import would make of a file",
        scope="manage",
        needs="manage",
        body=PreviewInput,
        returns=PreviewOutput,
    )
    def post(self, request: Request, upload: str) -> Any:
        """Reads the beginning of the file, and stores nothing: change dialect and columns until it is right."""
        found = uploads.find(project=self.member.project, public_id=upload)
        columns = self.body["columns"] or None
        seen = preview.of_upload(upload=found, by=self.me, dialect=self.body.get("dialect"), columns=columns)
        rejected = [
            {"line": row.line, "reason": row.reason, "external_id": row.external_id, "excerpt": row.excerpt}
            for row in seen.rejected[: preview.N_SHOWN]
        ]
        labels = {role: [asdict(one) for one in names] for role, names in seen.labels.items()}
        cost = quotes.of_new(
            project=found.project, n_items=seen.n_expected, mean_characters=seen.mean_characters, by=self.me
        )
        own: dict[str, Any] = {
            "dialect": seen.dialect.to_json(),
            "rejected": rejected,
            "labels": labels,
            "prelabel_micros": cost,
        }
        own |= {"bound": seen.bound}
        own |= {"label_columns": [asdict(one) for one in seen.label_columns], "warnings": seen.warnings}
        return {**vars(seen), **own}


class CountUpload(Endpoint):
    @operation(
        "Count what an import of the whole file would give",
        scope="manage",
        needs="manage",
        body=PreviewInput,
        returns=RunOutput,
        status=201,
        makes=True,
    )
    def post(self, request: Request, upload: str) -> Any:
        """A run that reads every row as the import does and stores none: its result has the import's counts."""
        found = uploads.find(project=self.member.project, public_id=upload)
        hourly.check(Run.objects.filter(kind="count", started_by=self.me), "import")
        wanted = {"columns": dict(self.body["columns"]), "dialect": dict(self.body.get("dialect", {}))}
        wanted["upload"] = found.public_id
        return tasks.enqueue(kind="count", project=found.project, by=self.me, parameters=wanted)


class Imports(Endpoint):
    @operation("List imports", scope="read", needs="manage", returns=ImportOutput, is_paged=True)
    def get(self, request: Request) -> Any:
        return self.member.project.imports.all()

    @operation(
        "Start an import",
        scope="manage",
        needs="manage",
        body=ImportInput,
        returns=RunOutput,
        status=201,
        makes=True,
        may_fail=False,
    )
    def post(self, request: Request) -> Any:
        """A run: its items come into sight together, when all of them are there. Cancelled, it leaves nothing."""
        hourly.check(Run.objects.filter(kind="import", started_by=self.me), "import")
        wanted = {**self.body, "dialect": dict(self.body.get("dialect", {}))}
        return tasks.enqueue(kind="import", project=self.member.project, by=self.me, parameters=wanted)


class OneImport(Endpoint):
    @operation("Read an import", scope="read", needs="manage", returns=ImportOutput)
    def get(self, request: Request, source: str) -> Any:
        return _find(self, source)


class AbandonImport(Endpoint):
    @operation(
        "Give up an unfinished import",
        scope="manage",
        needs="manage",
        returns=RunOutput,
        status=201,
        makes=True,
        may_fail=False,
    )
    def post(self, request: Request, source: str) -> Any:
        """A run that deletes the items nobody has seen yet; for an import whose own run ended before it did."""
        if _find(self, source).state != Import.State.RUNNING:
            raise Conflict(_("This import is complete; withdraw its items instead."))
        project, wanted = self.member.project, {"abandon": True}
        return tasks.enqueue(kind="import", project=project, by=self.me, parameters=wanted)


class Quarantine(Endpoint):
    @operation("Download the lines of an import that made no item", scope="read", needs="download", media="text/csv")
    def get(self, request: Request, source: str) -> Any:
        """With the reason of each, as CSV. Of a file with machines' labels it is one, too: that you got it is recorded
        before it is sent (503 where that fails), and your later blind answers are marked (`had_file`)."""
        found = _find(self, source)
        downloads.of_quarantine(found, by=self.me)
        lines = uploads.quarantine(found.rejected_rows.all(), is_for_programs=True)
        response = StreamingHttpResponse(lines, content_type="text/csv")
        name = f"{self.member.project.slug}-{found.public_id}-quarantine.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def _find(endpoint: Endpoint, public_id: str) -> Import:
    found = endpoint.member.project.imports.filter(public_id=public_id).first()
    if found is None:
        raise NotFound(_("There is no such import."))
    return found


def _pieces(request: HttpRequest) -> Iterator[bytes]:
    """The body as it comes; what ends before the length that it said is no file."""
    left = int(request.META.get("CONTENT_LENGTH") or 0)
    while left > 0 and (piece := request.read(min(_PIECE, left))):
        left -= len(piece)
        yield piece
    if left:
        raise UnreadablePostError("the body ended early")
