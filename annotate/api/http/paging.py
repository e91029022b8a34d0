"""One page of rows after the other by the key at which the last page ended: rows that come in between move nothing."""

import base64
import binascii
import hmac
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.http.operations import operation_of

_KEY_BYTES, _NONCE_BYTES = 8, 8


class KeyPagination(BasePagination):
    """The next rows in the order of their keys, and the address of those after them; one query.

    The endpoint's query was checked as a PageQuery before; the operation declares the order (`newest_first`).
    """

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        operation, limit = operation_of(view, request), view.query["limit"]
        newest_first = operation is None or operation.newest_first
        if after := view.query.get("after"):
            key = _opened(after, request.path)
            queryset = queryset.filter(pk__lt=key) if newest_first else queryset.filter(pk__gt=key)
        rows = list(queryset.order_by("-pk" if newest_first else "pk")[: limit + 1])
        self._next = _link(request, rows[limit - 1].pk) if len(rows) > limit else None
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self._next})


def page_of(output: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The serializer by which the OpenAPI document describes one page of `output`."""
    fields = {
        "results": output(many=True),
        "next": serializers.URLField(allow_null=True, help_text="The address of the next page; null on the last."),
    }
    return type(f"{output.__name__}Page", (serializers.Serializer,), fields)


def _link(request: Request, last_key: int) -> str:
    """The address of the page after the row `last_key`, with the request's own filters."""
    others = {name: value for name, value in request.query_params.items() if name != "after"}
    query = urlencode({**others, "after": _sealed(last_key, request.path)})
    return request.build_absolute_uri(f"{request.path}?{query}")


def _sealed(key: int, where: str) -> str:
    """A cursor: the primary key of a row, masked and signed for the list at the address `where`."""
    plain = key.to_bytes(_KEY_BYTES)
    nonce = _mac(b"nonce", where, plain)[:_NONCE_BYTES]
    return base64.urlsafe_b64encode(nonce + _mixed(plain, nonce, where)).rstrip(b"=").decode()


def _opened(cursor: str, where: str) -> int:
    """The primary key in a cursor; ValidationError for a cursor that was made up or belongs to another list."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    nonce, mixed = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
    plain = _mixed(mixed, nonce, where)
    if len(mixed) != _KEY_BYTES or not hmac.compare_digest(nonce, _mac(b"nonce", where, plain)[:_NONCE_BYTES]):
        raise serializers.ValidationError({"after": [_("This is where no page ended; take it from `next`.")]})
    return int.from_bytes(plain)


def _mixed(text: bytes, nonce: bytes, where: str) -> bytes:
    return bytes(a ^ b for a, b in zip(text, _mac(b"mask", where, nonce), strict=False))


def _mac(purpose: bytes, where: str, text: bytes) -> bytes:
    return hmac.digest(
        settings.SECRET_KEY.encode(), b"api.cursor\0" + purpose + where.encode() + b"\0" + text, "sha256"
    )
