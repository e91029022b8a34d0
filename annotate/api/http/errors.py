"""The exception handler of the API: every exception of a view becomes a problem in JSON that tells no internals."""

from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import DataError, IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils.translation import gettext as _
from rest_framework import exceptions

from annotate import outages, problems

_WORDS = {
    400: "bad_request",
    401: "signed_out",
    403: "denied",
    404: "not_found",
    405: "wrong_method",
    406: "not_acceptable",
    415: "wrong_type",
    429: "too_many_requests",
    503: "unavailable",
}
_TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)
_UNREADABLE = (BadRequest, SuspiciousOperation, MultiPartParserError, UnreadablePostError)
# Raised for values that passed the serializers and that the database cannot store.
_NOT_STORABLE = (DataError, OverflowError, RecursionError, UnicodeEncodeError)


def handle(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """The answer to `error`; None for an exception that nobody expected, which is logged and answered 500."""
    request: HttpRequest = context["request"]._request
    if found := problems.answer_to(error):
        response = problems.response(request, *found, str(error))
        for name, value in problems.retry_after(error).items():
            response.headers[name] = value
        return response
    if isinstance(error, exceptions.ValidationError):
        return _invalid(request, error)
    if isinstance(error, exceptions.APIException):
        return _said_by_framework(request, error)
    return _low_level(request, error)


def _invalid(request: HttpRequest, error: exceptions.ValidationError) -> HttpResponse:
    fields = _flat(error.detail)
    sentence = "; ".join(f"{name}: {' '.join(texts)}" if name else " ".join(texts) for name, texts in fields.items())
    return problems.response(request, 422, "invalid", sentence[:1_000], fields)


def _said_by_framework(request: HttpRequest, error: exceptions.APIException) -> HttpResponse:
    status = error.status_code
    word = getattr(error, "word", None) or _WORDS.get(status, "failed")
    response = problems.response(request, status, word, str(error.detail))
    if header := getattr(error, "auth_header", None):
        response.headers["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        response.headers["Retry-After"] = str(int(wait))
    return response


def _low_level(request: HttpRequest, error: Exception) -> HttpResponse | None:
    if outage := outages.of(error):
        outages.report(outage, error)
        response = problems.response(request, 503, outage.word, outage.sentence)
        response.headers["Retry-After"] = str(outage.retry_seconds)
        return response
    if isinstance(error, Http404):
        return problems.response(request, 404, "not_found", _("There is no such thing, or none that you may see."))
    if isinstance(error, PermissionDenied):
        return problems.response(request, 403, "denied", _("You may not do this here."))
    if isinstance(error, _TOO_LARGE):
        return problems.response(request, 413, "too_large", _("That is too much to send at once. Nothing was stored."))
    if isinstance(error, _UNREADABLE):
        return problems.response(
            request, 400, "bad_request", _("This request could not be understood. Nothing was changed.")
        )
    if isinstance(error, IntegrityError):  # two at the same moment wanted what only one can have
        return problems.response(
            request, 409, "conflict", _("Somebody did this at the same moment. Nothing was changed; look again.")
        )
    if isinstance(error, _NOT_STORABLE):
        return problems.response(
            request, 422, "invalid", _("Something in this request is nothing that could be stored.")
        )
    return None


def _flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """The sentences about each field, by its path (`labels.0.name`); the empty path stands for the whole body."""
    if isinstance(detail, dict):
        parts = [(str(key) if key != "non_field_errors" else "", value) for key, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(one, dict) for one in detail):
        parts = [(str(place), value) for place, value in enumerate(detail) if value]
    else:
        return {path: [str(one) for one in (detail if isinstance(detail, list) else [detail])]}
    found: dict[str, list[str]] = {}
    for name, value in parts:
        for inner, texts in _flat(value, ".".join(part for part in (path, name) if part)).items():
            found.setdefault(inner, []).extend(texts)
    return found
