"""Runs a temporary site for benchmarks: real server and worker processes, as `manage.py serve` starts them."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_COMMAND_SECONDS = 3600.0  # an import of a million rows is far below
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CHROMIUM")


class Site:
    """One folder with database and files; commands and the server see exactly its settings."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
            "VAR_DIR": str(folder),
            "SITE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "labelapp.settings",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **variables,
        }
        self.log = folder / "serve.log"

    @property
    def database(self) -> Path:
        return self.folder / "goldloop.sqlite3"

    def manage(self, *words: object) -> str:
        return self.python("manage.py", *words)

    def python(self, *words: object) -> str:
        """Standard output of a Python process with this site's settings; RuntimeError with its errors if it fails."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def served(self) -> Iterator[None]:
        """The site answers while the body runs; afterwards all its processes have ended."""
        words = [sys.executable, "manage.py", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            server = subprocess.Popen(words, cwd=ROOT, env=self.environment, stdout=log, stderr=log)  # noqa: S603
        try:
            self._wait(server)
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def said(self) -> str:
        """The output of server and worker."""
        return self.log.read_text(errors="replace")

    def _wait(self, server: "subprocess.Popen[bytes]") -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and server.poll() is None:
            if _answers(self.url):
                return
            time.sleep(0.1)
        raise RuntimeError(f"The site did not start:\n{self.said()}")


def session_cookie(user: Any) -> str:
    """The session cookie of a signed-in user; call it in a process with Django set up."""
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _answers(url: str) -> bool:
    asked = http.client.HTTPConnection(urlsplit(url).netloc, timeout=2)
    try:
        asked.request("GET", "/healthz")
        return asked.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
