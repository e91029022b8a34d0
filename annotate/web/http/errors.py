"""Decides how a failure is answered: as a page, a fragment or JSON with one sentence, never with a traceback."""

import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, TooManyFieldsSent
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from annotate import outages, problems
from annotate.models import migrated
from annotate.templatetags.figures import file_size
from annotate.web.http.guards import ALWAYS, wants_json
from annotate.web.http.htmx import wants_fragment


class OnlyMigrated:
    """Middleware: no page on a database that lacks migrations of this version; it might store half of a thing."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, *_view: Any) -> HttpResponse | None:
        match = request.resolver_match
        is_asked_always = match is not None and match.url_name in ALWAYS
        return not_migrated(request) if migrated.lacked_some() and not is_asked_always else None


class ErrorPages:
    """Middleware: turns expected failures that a view raises into responses."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, RequestDataTooBig | TooManyFieldsSent):
            return too_large(request)
        if isinstance(error, UnicodeEncodeError):  # a lone surrogate such as \ud800, which no encoding can write
            return answer(request, 422, "invalid", _("Something in this text is no character. Nothing was changed."))
        expected = problems.answer_to(error)
        if expected is None:
            return unavailable(request, error)
        status, word = expected
        response = answer(request, status, word, str(error))
        for name, value in problems.retry_after(error).items():
            response.headers[name] = value
        return response


def answer(request: HttpRequest, status: int, kind: str, sentence: str) -> HttpResponse:
    """The sentence in the form the request wants: a problem document, JSON for a script, a fragment or a page."""
    if problems.is_for_programs(request):
        return problems.response(request, status, kind, sentence)
    if wants_json(request):
        return JsonResponse({"error": {"kind": kind, "message": sentence}}, status=status)
    context = {"status": status, "sentence": sentence, "title": problems.title(status)}
    if hasattr(request, "htmx") and wants_fragment(request):  # a wrong Host fails before HtmxMiddleware runs
        # HTMX would replace the part that was clicked; the message goes to the top of the page instead.
        response = render(request, "annotate/error.html#message", context, status=status)
        response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#message", "outerHTML"
        return response
    return render(request, "annotate/error.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    if isinstance(exception, RequestDataTooBig):
        return too_large(request)
    return not_understood(request)


def too_large(request: HttpRequest) -> HttpResponse:
    """413 for a form or a JSON body."""
    return answer(request, 413, "too_large", _("That is too much to send at once. Nothing was stored."))


def too_large_file(request: HttpRequest) -> HttpResponse:
    """413 for a file."""
    sentence = _("That is more than %(limit)s, the most that a file may have. Split it, or pack it (.gz).")
    limit = file_size(settings.UPLOAD_MAX_BYTES)
    return answer(request, 413, "too_large", f"{sentence % {'limit': limit}} {_('Nothing was stored.')}")


def not_understood(request: HttpRequest) -> HttpResponse:
    """400 for a request that cannot be parsed."""
    return answer(request, 400, "bad_request", _("This request could not be understood. Nothing was changed."))


def denied(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    """Django's handler403."""
    return answer(request, 403, "denied", str(exception) or _("You may not do this here."))


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    """Django's handler404."""
    return answer(request, 404, "not_found", _("There is no such page, or none that you may see."))


def crashed(request: HttpRequest) -> HttpResponse:
    """Django's handler500: what views raise and nobody expects, and what middleware raises before and after them."""
    if response := unavailable(request, sys.exc_info()[1]):
        return response
    sentence = _("Something broke on our side. What was stored before is safe.")
    try:
        return answer(request, 500, "crashed", sentence)
    except Exception:  # the error page may need what broke, for instance the database
        return HttpResponse(sentence, status=500, content_type="text/plain; charset=utf-8")


def unavailable(request: HttpRequest, error: BaseException | None) -> HttpResponse | None:
    """503 where `error` tells of an outage of database or disk; None for any other."""
    outage = outages.of(error)
    if outage is None:
        return None
    outages.report(outage, error)
    return _told(request, outage)


def _told(request: HttpRequest, outage: outages.Outage) -> HttpResponse:
    try:
        response = (answer if outage.has_database else _answer_without_rows)(request, 503, outage.word, outage.sentence)
    except (DatabaseError, OSError):  # the page needs what is out as well
        response = _answer_without_rows(request, 503, outage.word, outage.sentence)
    response.headers["Retry-After"] = str(outage.retry_seconds)
    return response


def _answer_without_rows(request: HttpRequest, status: int, kind: str, sentence: str) -> HttpResponse:
    """`answer` with a page that reads nothing from the database: neither who is signed in nor their messages."""
    if problems.is_for_programs(request) or wants_json(request):
        return answer(request, status, kind, sentence)
    context = {"sentence": sentence, "title": problems.title(status), "has_no_rows": True}
    is_part = hasattr(request, "htmx") and wants_fragment(request)
    html = render_to_string("annotate/error.html#message" if is_part else "annotate/error.html", context)
    response = HttpResponse(html, status=status)
    if is_part:
        response.headers["HX-Retarget"], response.headers["HX-Reswap"] = "#message", "outerHTML"
    return response


def not_migrated(request: HttpRequest) -> HttpResponse | None:
    """503 where the database lacks migrations of this version; None where it has had them meanwhile."""
    try:
        if not migrated.n_waiting():
            return None
    except DatabaseError as error:
        return unavailable(request, error)
    outage = outages.named(outages.UNMIGRATED)
    outages.report(outage, "run `manage.py migrate`")
    return _told(request, outage)


def stale_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW: the page was loaded before a later sign-in, or the browser refuses cookies."""
    return answer(
        request,
        403,
        "stale",
        _("This page was open for too long or from before a sign-in. Load it again; nothing was changed."),
    )
