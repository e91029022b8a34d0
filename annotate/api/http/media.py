"""The parser and the renderer: JSON and nothing else; the parser takes UTF-8 without NaN, NUL or boundless depth."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from annotate.formats.jsonl import is_too_deep
from annotate.models.base import is_storable


class Json(BaseParser):
    """orjson refuses NaN, halves of surrogate pairs and other encodings by itself."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read()
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise ParseError(_("The body is not JSON in UTF-8. Nothing was changed.")) from None
        if not all(map(is_storable, _texts(found))):
            raise ParseError(_("The body holds a NUL character. Nothing was changed."))
        if is_too_deep(body, found):
            raise ParseError(_("The body is nested too deeply. Nothing was changed."))
        return found


class AsJson(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> bytes:
        return b"" if data is None else orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS)


def _texts(found: Any) -> Any:
    """All strings in a JSON value, keys included; without recursion."""
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
