"""The site's WSGI application with each response of a project's pages delayed by SERVER_DELAY_MS."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from labelapp.wsgi import application as site

_DELAY_SECONDS = float(os.environ.get("SERVER_DELAY_MS", "0")) / 1000


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ.get("PATH_INFO", "").startswith("/p/"):
        time.sleep(_DELAY_SECONDS)
    return site(environ, start_response)
