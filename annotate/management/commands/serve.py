"""manage.py serve: the site and its worker."""

import http.client
import os
import socket
import struct
import subprocess
import sys
import time
from argparse import ArgumentParser
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError

from annotate import restored
from annotate.management import processes, readiness
from annotate.management.base import GoldloopCommand

_START_SECONDS = 60.0  # after which a site that does not answer is given up
_STOP_SECONDS = 8.0
_GRACEFUL_SECONDS = 5  # for requests that are being answered when the site stops
_LONGEST_WAIT = 30.0  # between two starts of a worker that keeps dying
_PAUSE_SECONDS = 10  # the longest within a request, after which its thread is free again; see docs/decisions/014
_EXPOSED = (
    "Others can reach this port, and there is no proxy (BEHIND_PROXY): a few slow clients would stop the site. "
    'See "Reachable by others" in docs/operations.md.'
)
_RESTORED = "This site was restored from a backup: no mail is sent until `manage.py restore --confirm`."


class Command(GoldloopCommand):
    help = (
        "Serve the site: gunicorn and one worker for long work (none where REDIS_URL is set: Celery workers do it "
        "then), until Ctrl-C. Options or variables: HOST (127.0.0.1), "
        "PORT (8000), WEB_PROCESSES (2), WEB_THREADS (16). Reachable from elsewhere only with another HOST, and with "
        "SITE_URL and ALLOWED_HOSTS set."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000")
        parser.add_argument("--page", default="/", metavar="PATH", help="the page to name when the site is ready")
        parser.add_argument(
            "--check", action="store_true", help="only say whether the port is free, and files can be kept"
        )

    def run(self, options: dict[str, Any]) -> None:
        port = _number("the port", options["port"], highest=65_535)
        sizes = [str(_number(name, os.environ.get(name) or default)) for name, default in _SIZES.items()]
        # Bound here and handed over: nothing starts unless the port is ours, and nobody can take it in between.
        with _listener(options["host"], port) as listener:
            _refuse(readiness.folder_obstacle())
            if not options["check"]:  # `make demo` asks before it migrates
                _refuse(readiness.database_obstacle())
                self._serve(listener, f"http://{_shown(options['host'])}:{port}", options["page"], sizes)

    def _serve(self, listener: socket.socket, url: str, page: str, sizes: list[str]) -> None:
        asked = processes.asked_to_stop()
        # Outside links need the real address; OpenMP's own threads only take the cores from each other.
        environment = {"OMP_NUM_THREADS": "1", "SITE_URL": os.environ.get("SITE_URL") or url}
        web = processes.spawn(_gunicorn(listener, *sizes), environment=environment, pass_fds=[listener.fileno()])
        worker = None if settings.REDIS_URL else _Worker(environment)  # else Celery workers do the long work
        started, is_ready = time.monotonic(), False
        try:
            while not asked.wait(0.1 if not is_ready else 0.5):
                if web.poll() is not None:
                    raise CommandError(f"The web server ended by itself (exit code {web.returncode}); see above.")
                if worker:
                    worker.keep()
                if not is_ready:
                    is_ready = self._greet(listener, url, page)
                    if not is_ready and time.monotonic() - started > _START_SECONDS:
                        raise CommandError(f"The site did not answer within {_START_SECONDS:.0f} s.")
        finally:
            processes.stop(web, *([worker.process] if worker else []), seconds=_STOP_SECONDS)
        self.say("Stopped.")

    def _greet(self, listener: socket.socket, url: str, page: str) -> bool:
        if not _answers(listener):
            return False
        if is_exposed(listener.getsockname()[0]):
            self.stderr.write(_EXPOSED)
        if restored.mail_is_held():
            self.stderr.write(_RESTORED)
        self.say("Ctrl-C stops the site; everything is kept.")
        self.say(f"Serving on {url}" if page == "/" else f"Ready: {url}{page}")
        self.stdout.flush()
        return True


def _refuse(obstacle: str) -> None:
    if obstacle:
        raise CommandError(obstacle)


class _Worker:
    """One worker process, started again when it dies, after a longer pause each time it dies at once."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._wait = 1.0
        self._start()

    def keep(self) -> None:
        if self.process.poll() is None:
            return
        now = time.monotonic()
        if now < self._started + self._wait:
            return
        self._wait = 1.0 if now - self._started > _LONGEST_WAIT else min(2 * self._wait, _LONGEST_WAIT)
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self.process: subprocess.Popen[bytes] = processes.spawn(
            processes.manage("worker"), environment=self._environment
        )


# Threads mostly wait for SQLite's one writer or for somebody who reads slowly, so there may be more than cores.
_SIZES = {"WEB_PROCESSES": "2", "WEB_THREADS": "16"}


def _gunicorn(listener: socket.socket, n_processes: str, n_threads: str) -> list[str]:
    """Each process loads the site itself (no preload), so no two share a connection to the database."""
    options = {
        "--bind": f"fd://{listener.fileno()}",
        "--worker-class": "gthread",
        "--worker-connections": "500",  # well below the 1024 open files that a process usually may have
        "--workers": n_processes,
        "--threads": n_threads,
        "--keep-alive": "15",  # an answer takes longer than the usual 2 s; who only waits costs no thread
        "--graceful-timeout": str(_GRACEFUL_SECONDS),
        "--log-level": "warning",
        "--chdir": str(settings.BASE_DIR),
    }
    if not settings.SECURE_PROXY_SSL_HEADER:  # without BEHIND_PROXY nobody says for others how they came
        options["--forwarded-allow-ips"] = ""
    words = [word for pair in options.items() for word in pair]
    # Its control socket would lie in the home folder, one for all sites of this person.
    return [sys.executable, "-m", "gunicorn", "labelapp.wsgi", *words, "--no-control-socket"]


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=256)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise CommandError(
            f"Port {port} of {host} cannot be had ({reason}). Stop what uses it, or choose another: PORT={port + 1}."
        ) from None
    # Accepted connections inherit it: without it, who vanishes in mid-request would keep a thread for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PAUSE_SECONDS, 0))
    listener.set_inheritable(True)
    return listener


def is_exposed(address: str) -> bool:
    """Whether other machines reach this address of ours without a proxy that waits for slow clients."""
    return not ip_address(address.partition("%")[0]).is_loopback and not settings.SECURE_PROXY_SSL_HEADER


def _answers(listener: socket.socket) -> bool:
    """Whether the site answers /healthz under the host of SITE_URL; a redirect to https counts as an answer."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    asked = http.client.HTTPConnection(host, port, timeout=2)
    try:
        asked.request("GET", "/healthz", headers={"Host": urlsplit(settings.SITE_URL).netloc, "Connection": "close"})
        return asked.getresponse().status in (200, 301)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _shown(host: str) -> str:
    """The host name to type into a browser."""
    if host in ("127.0.0.1", "0.0.0.0", "::", "::1"):  # noqa: S104
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _number(name: str, text: str, highest: int = 1_000) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= highest:
        raise CommandError(f"{name} is {text!r}; give a number from 1 to {highest}.")
    return int(text)
