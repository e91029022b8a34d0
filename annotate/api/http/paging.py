"""One page after the other by where the last one ended, so that rows that come in between move nothing."""

import base64
import binascii
import hmac
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http.fields import Input

MOST = 200
_USUAL = 50
_KEY_BYTES, _NONCE_BYTES = 8, 8


class PageQuery(Input):
    limit = serializers.IntegerField(
        min_value=1, max_value=MOST, default=_USUAL, help_text="How many at most, 1 to 200."
    )
    after = serializers.CharField(
        max_length=64, required=False, help_text="Where the page before ended: taken from its `next`, of no meaning."
    )


def page(request: Request, rows: QuerySet[Any], query: dict[str, Any], *, newest_first: bool) -> dict[str, Any]:
    """The next rows in the order of their keys, and the address of those after them; one query."""
    limit = query["limit"]
    where = request.path
    if after := query.get("after"):
        key = _opened(after, where)
        rows = rows.filter(pk__lt=key) if newest_first else rows.filter(pk__gt=key)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    link = None
    if len(found) > limit:
        rest = {name: value for name, value in request.query_params.items() if name != "after"}
        last = _sealed(found[limit - 1].pk, where)
        link = request.build_absolute_uri(f"{where}?{urlencode({**rest, 'after': last})}")
    return {"results": found[:limit], "next": link}


def page_of(shown: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The answer that holds one page of these."""
    fields = {
        "results": shown(many=True),
        "next": serializers.URLField(allow_null=True, help_text="The address of the next page; null on the last."),
    }
    return type(f"{shown.__name__}Page", (serializers.Serializer,), fields)


def _sealed(key: int, where: str) -> str:
    """A row's key that says nothing to who reads it, and that nobody can make up."""
    plain = key.to_bytes(_KEY_BYTES)
    nonce = _mac(b"nonce", where, plain)[:_NONCE_BYTES]
    return base64.urlsafe_b64encode(nonce + _mixed(plain, nonce, where)).rstrip(b"=").decode()


def _opened(cursor: str, where: str) -> int:
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
