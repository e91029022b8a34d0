"""What an expected failure is over HTTP: its status, its word for programs, its title, and itself as a problem in JSON.

Pages and the API answer from this one table (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from annotate.accounts.sign_in import TooManyAttempts
from annotate.errors import AccessDenied, Conflict, GoldloopError, InvalidInput, LeaseLost, NotFound

API = "/api/"  # below this address every failure is a problem in JSON
CONTENT_TYPE = "application/problem+json"

# (error, status, the word by which scripts know it); the first that fits.
_ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (NotFound, 404, "not_found"),
    (AccessDenied, 403, "denied"),
    (InvalidInput, 422, "invalid"),
    (TooManyAttempts, 429, "too_many_attempts"),
    (LeaseLost, 409, "lease_lost"),
    (Conflict, 409, "conflict"),
    (GoldloopError, 409, "failed"),
)


def answer_to(error: Exception) -> tuple[int, str] | None:
    """(status, word) of an expected failure; None for all others."""
    return next(((status, word) for kind, status, word in _ANSWERS if isinstance(error, kind)), None)


def is_for_programs(request: HttpRequest) -> bool:
    return request.path.startswith(API)


def response(
    request: HttpRequest, status: int, word: str, sentence: str, errors: Mapping[str, Sequence[str]] | None = None
) -> HttpResponse:
    """A problem; `errors` are the sentences about each field that was sent."""
    body: dict[str, Any] = {
        "type": f"urn:goldloop:problem:{word}",
        "title": title(status),
        "status": status,
        "detail": sentence,
        "instance": request.path,
    }
    if errors:
        body["errors"] = dict(errors)
    # What somebody sent may hold half of a pair of surrogates, which is no character in any encoding.
    text = orjson.dumps(_printable(body))
    return HttpResponse(text, status=status, content_type=CONTENT_TYPE)


def title(status: int) -> str:
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
