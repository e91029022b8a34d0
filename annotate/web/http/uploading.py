"""Decides where the bytes of an uploaded file go until it is known that the file may be kept."""

import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest
from django.urls import Resolver404, resolve

from annotate import files

ROUTE = "imports-upload"
FIELD = "file"


def takes_file(request: HttpRequest) -> bool:
    """Whether this is the form with a file, whose body only its view reads, after checking who sends it."""
    if request.method != "POST" or request.content_type != "multipart/form-data":
        return False
    try:
        return resolve(request.path_info).url_name == ROUTE
    except Resolver404:
        return False


class Spool(FileUploadHandler):
    """Streams the form's file to a nameless file in the store's folder, which vanishes when it is closed.

    Of a file that is too large one byte more than the limit is kept, so that `uploads.receive` notices; the rest is
    read and dropped, so that the browser reads our response. So is all of it where the disk takes no more: the OSError
    is raised once the body has been read.
    """

    file: IO[bytes]  # set by the field's first file; the name is Django's, which closes it when a body breaks off
    is_wanted = False
    n_bytes = 0
    trouble: OSError | None = None

    def __init__(self, request: HttpRequest, *, keeps: bool = True) -> None:
        """`keeps`: False: all of the file is read and dropped."""
        super().__init__(request)
        self._keeps = keeps

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.is_wanted = self._keeps and self.field_name == FIELD and not hasattr(self, "file")
        if self.is_wanted:
            self.file = io.BytesIO()  # until there is one
            self._store(self._open)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if self.is_wanted:
            kept = raw_data[: max(0, settings.UPLOAD_MAX_BYTES + 1 - self.n_bytes)]
            self._store(lambda: self.file.write(kept))
            self.n_bytes += len(raw_data)

    def file_complete(self, file_size: int) -> "UploadedFile[Any] | None":
        if not self.is_wanted:
            return None
        self._store(lambda: self.file.seek(0))  # which writes what is buffered
        if self.trouble:
            raise self.trouble
        return UploadedFile(self.file, self.file_name, self.content_type, file_size)

    def _open(self) -> None:
        folder = files.path_of("uploads")
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with the request's files)

    def _store(self, work: Callable[[], object]) -> None:
        if self.trouble:
            return
        try:
            work()
        except OSError as error:
            self.trouble = error
            with suppress(OSError):  # what is buffered goes nowhere
                self.file.close()
