"""Idempotency keys: a request with a key is performed once, and a repetition gets the stored answer, in every process.

After draft-ietf-httpapi-idempotency-key-header-07 of the IETF: the same key with another request is refused (422), and
so is a repetition while the first request is still being performed (409).
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.models import IdempotentRequest
from annotate.models.base import database_now

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY = 100
KEPT = timedelta(hours=24)
GIVEN_UP = timedelta(minutes=1)  # after this time a request without an answer counts as cut off, and may be repeated
_TIDIED = 100  # expired keys that each new key removes


class StillRunning(APIException):
    status_code = 409
    word = "in_progress"
    wait = 1


class OtherRequest(APIException):
    status_code = 422
    word = "key_reused"


def key_of(request: Request) -> str | None:
    """The key in the header of `request`, if any; ValidationError if it is too long or not printable."""
    key = request.headers.get(HEADER)
    if key is not None and not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        sentence = _("A key has 1 to %(n)d printable ASCII characters.") % {"n": MAX_KEY}
        raise ValidationError({HEADER: [sentence]})
    return key


def once(request: Request, perform: Callable[[], Response], *, hidden: tuple[str, ...] = ()) -> Response:
    """The response of `perform`, or the stored answer if the key of `request` was used before.

    The effects of `perform` and its answer are committed together, so a crash leaves both or neither. `hidden` names
    the fields of the answer that are shown once and not stored: secrets.
    """
    key = key_of(request)
    if key is None:
        return perform()
    row = _begun(request, key, _fingerprint(request))
    if row.status is not None:
        return _replayed(row)
    try:
        with transaction.atomic():
            response = perform()
            _finish(row, response, hidden)
    except Exception:
        # The transaction was rolled back: nothing was done, and the same request may come again.
        IdempotentRequest.objects.filter(pk=row.pk, status__isnull=True).delete()
        raise
    return response


def _begun(request: Request, key: str, fingerprint: str) -> IdempotentRequest:
    """The row of this key: a new row that this request has to finish, or an older row that holds the answer."""
    now = database_now()
    mine: dict[str, Any] = {"user": request.user, "key": key}
    old = IdempotentRequest.objects.filter(created_at__lt=now - KEPT).order_by("created_at").values("pk")[:_TIDIED]
    IdempotentRequest.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()
    IdempotentRequest.objects.filter(**mine, created_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(**mine, request_sha256=fingerprint)
    except IntegrityError:
        found = IdempotentRequest.objects.filter(**mine).first()
    if found is not None and found.request_sha256 != fingerprint:
        raise OtherRequest(_("This key was used before for another request; nothing was changed."))
    if found is None or (found.status is None and not _taken_over(found, now)):
        raise StillRunning(_("The first request with this key is still being done; ask again."))
    return found


def _taken_over(row: IdempotentRequest, now: datetime) -> bool:
    """Whether the request that made `row` was cut off, and this request performs it now."""
    if row.created_at > now - GIVEN_UP:
        return False
    as_seen = IdempotentRequest.objects.filter(pk=row.pk, status__isnull=True, created_at=row.created_at)
    return as_seen.update(created_at=now) == 1


def _finish(row: IdempotentRequest, response: Response, hidden: tuple[str, ...]) -> None:
    data: Any = response.data
    kept = {**data, **dict.fromkeys(hidden)} if hidden and isinstance(data, dict) else data
    body = "" if kept is None else orjson.dumps(kept).decode()
    ours = IdempotentRequest.objects.filter(pk=row.pk, status__isnull=True)
    if ours.update(status=response.status_code, body=body) != 1:
        raise StillRunning(_("The first request with this key is still being done; ask again."))


def _replayed(row: IdempotentRequest) -> Response:
    assert row.status is not None
    body = orjson.loads(row.body) if row.body else None
    return Response(body, status=row.status, headers={REPLAYED: "true"})


def _fingerprint(request: Request) -> str:
    """SHA-256 of method, address and body: what decides what a request does."""
    what = f"{request.method} {request.get_full_path()}\n".encode("utf-8", "surrogatepass")
    return hashlib.sha256(what + orjson.dumps(request.data, option=orjson.OPT_SORT_KEYS)).hexdigest()
