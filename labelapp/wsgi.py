"""WSGI entry point for a web server; a request whose body ends early is an error to whoever reads it."""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
# A thread that computes gives the interpreter to another one after this time (seconds). With the usual 5 ms a request
# of a few milliseconds, which changes hands some ten times, waits 50 ms for each thread that computes beside it.
sys.setswitchinterval(0.001)


class WholeBody:
    """The body of a request (`wsgi.input`). Servers hand over what came before the client hung up as if it were all.

    Half a form must never pass as a form, nor half a file as a file, so here the missing rest is an OSError, which
    Django reports as UnreadablePostError.
    """

    def __init__(self, body: Any, n_bytes: int) -> None:
        self._body = body
        self._left = n_bytes

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data: bytes = self._body.read(wanted)
        return self._count(data, is_cut=len(data) < wanted)

    def readline(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data: bytes = self._body.readline(wanted)
        return self._count(data, is_cut=len(data) < wanted and not data.endswith(b"\n"))

    def _count(self, data: bytes, is_cut: bool) -> bytes:
        self._left -= len(data)
        if is_cut:
            raise ConnectionResetError("the request ended before its Content-Length")
        return data


def refusing_half(site: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The same WSGI application, given whole bodies only."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        if length.isdecimal():
            environ["wsgi.input"] = WholeBody(environ["wsgi.input"], int(length))
        return site(environ, start_response)

    return application


def looking_first(site: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The same WSGI application, which looks before its first answer whether the database lacks migrations."""
    from annotate.models import migrated

    has_looked = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not has_looked.is_set():
            migrated.look()
            has_looked.set()
        return site(environ, start_response)

    return application


application = looking_first(refusing_half(get_wsgi_application()))
