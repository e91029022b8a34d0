"""Decides how an expected failure looks over HTTP: its status, its type for programs, its title, its JSON body.

Pages and the API both answer from this table. The body is a problem document (RFC 9457,
https://www.rfc-editor.org/rfc/rfc9457).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from annotate import outages
from annotate.accounts.sign_in import TooManyAttempts
from annotate.errors import (
    AccessDenied,
    Busy,
    Conflict,
    GoldloopError,
    InvalidInput,
    LeaseLost,
    NotFound,
    NotRecorded,
    NotStored,
    QuotaReached,
)

API = "/api/"  # failures below this address are answered as problem documents
CONTENT_TYPE = "application/problem+json"

# (error, status, type for programs); the first row whose class fits the error counts.
_ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (NotFound, 404, "not_found"),
    (AccessDenied, 403, "denied"),
    (InvalidInput, 422, "invalid"),
    (TooManyAttempts, 429, "too_many_attempts"),
    (NotStored, 503, "not_stored"),
    (QuotaReached, 429, "quota_reached"),
    (Busy, 503, "busy"),
    (LeaseLost, 409, "lease_lost"),
    (Conflict, 409, "conflict"),
    (NotRecorded, 503, "not_recorded"),
    (GoldloopError, 409, "failed"),
)


def answer_to(error: Exception) -> tuple[int, str] | None:
    """(status, type) of an expected failure; None for any other exception, which is a crash."""
    return next(((status, word) for kind, status, word in _ANSWERS if isinstance(error, kind)), None)


def retry_after(error: Exception) -> dict[str, str]:
    """The header that says after how long what failed may be tried again; none where nobody knows."""
    outage = outages.of(error)
    seconds = outage.retry_seconds if outage else getattr(error, "seconds", None)
    return {} if seconds is None else {"Retry-After": str(seconds)}


def is_for_programs(request: HttpRequest) -> bool:
    """Whether the request goes to the API."""
    return request.path.startswith(API)


def response(
    request: HttpRequest, status: int, word: str, sentence: str, errors: Mapping[str, Sequence[str]] | None = None
) -> HttpResponse:
    """The problem document as a response; `errors`: sentences by the name of the field that they are about."""
    body: dict[str, Any] = {
        "type": f"urn:goldloop:problem:{word}",
        "title": title(status),
        "status": status,
        "detail": sentence,
        "instance": request.path,
    }
    if errors:
        body["errors"] = dict(errors)
    # Input that is repeated here may hold a lone surrogate, which no encoding can write.
    text = orjson.dumps(_printable(body))
    return HttpResponse(text, status=status, content_type=CONTENT_TYPE)


def title(status: int) -> str:
    """What people read above the sentence of a failure with this status."""
    titles = {
        400: _("Not understood"),
        401: _("Not signed in"),
        403: _("Not allowed"),
        404: _("Not found"),
        405: _("Not possible here"),
        406: _("Only JSON is answered"),
        409: _("Not possible now"),
        411: _("Not understood"),
        413: _("Too large"),
        415: _("Only JSON is taken"),
        422: _("Please check your input"),
        429: _("Too many attempts"),
        500: _("Something broke"),
        503: _("Not available now"),
    }
    return titles.get(status, _("That did not work"))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(one) for key, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list | tuple) else value
