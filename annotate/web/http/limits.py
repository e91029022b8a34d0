"""Decides which requests are refused before a view reads them, and that responses are private by default."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils.translation import gettext as _

from annotate import problems
from annotate.web.http.errors import answer, not_understood, too_large, too_large_file
from annotate.web.http.uploading import takes_file

Answering = Callable[[HttpRequest], HttpResponse]


def private_by_default(get_response: Answering) -> Answering:
    """Middleware: responses are not cached unless a view says so, since the next person may use the same browser."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return middleware


def only_readable(get_response: Answering) -> Answering:
    """Middleware: refuses a request that is too large without reading it, and a form that cannot be parsed."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return _refused_unread(request) or _refused_early(request) or get_response(request)

    return middleware


def _refused_unread(request: HttpRequest) -> HttpResponse | None:
    if "HTTP_TRANSFER_ENCODING" in request.META:  # chunked: its length is known only at its end
        return answer(request, 411, "no_length", _("Please say how long the request is. Nothing was changed."))
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return not_understood(request)
    if length > _most(request):
        return too_large_file(request) if takes_file(request) else too_large(request)
    # Python has codecs that are no charset (hex, rot13) or that give text which cannot be stored (utf-7).
    charset = (request.content_params or {}).get("charset", "utf-8")
    return None if charset.strip("'\"").lower() == "utf-8" else not_understood(request)


def _most(request: HttpRequest) -> int:
    """The most bytes that the body may have. Files are streamed, after the view has checked who sends them."""
    if takes_file(request):  # the file and the form around it
        return settings.UPLOAD_MAX_BYTES + settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    is_file = problems.is_for_programs(request) and request.path.endswith("/uploads")
    return settings.UPLOAD_MAX_BYTES if is_file else settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def _refused_early(request: HttpRequest) -> HttpResponse | None:
    """Parse a form before the CSRF check does; API bodies and the form with a file are read after access checks."""
    return None if problems.is_for_programs(request) or takes_file(request) else refused_read(request)


def refused_read(request: HttpRequest) -> HttpResponse | None:
    """Parse the form; the response to its failure, or None if it can be parsed."""
    try:
        request.POST  # noqa: B018
    except (RequestDataTooBig, TooManyFieldsSent):
        return too_large(request)
    except (BadRequest, MultiPartParserError, UnreadablePostError, LookupError, ValueError):  # names have charsets, too
        return not_understood(request)
    return None
