"""Measures whether people can stop the site for others: with files whose preview is costly, and with Markdown bombs.

Starts the real server (`manage.py serve`) on a temporary folder and sends real HTTP. First people label on an idle
site, then while four managers preview the worst files again and again and waves of 32 Markdown bombs arrive.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from benchmarks.site import Site
from benchmarks.web_people import Crowd, Times

FIELDS = """\
Prints one JSON object on standard output, progress on standard error. Milliseconds are seen by the client, from the
first byte sent to the last byte read. Clients and server share the machine's cores.

idle, attacked         the two phases, of --seconds each:
  healthz_p50_ms ...   GET /healthz, ten times a second, on a connection of its own each time
  submit_p50_ms ...    POST label/submit of --users people: answer, gold, all durable
  errors               requests of these people that failed
previews               of the four files: how often each status was answered, and the slowest of those made
bombs                  POST /preview of Markdown: how often each status was answered, and the slowest
"""

_BRACKETS = "[" * 99_000
_ALLOWED = "![" * 3_990  # as costly as a text can be that is not refused
_CSRF = "b" * 32
_TIMEOUT_SECONDS = 60.0
_N_BOMBERS = 32


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="goldloop-stalls-") as folder:
        site = Site(Path(folder))
        site.manage("migrate", "--verbosity", "0")
        _say("Making the project and the files …")
        words = ("--items", options.items, "--round", options.items, "--users", 2 * options.users, "--overlap", 1)
        made = json.loads(site.python("-m", "benchmarks.stalls_project", *words))
        with site.served():
            _say("Nobody attacks …")
            idle = _phase(site.url, _people(made, 0, options.users), options)
            _say("Four previews at a time, and 32 bombs …")
            attack = _Attack(site.url, made, options.every)
            with attack:
                attacked = _phase(site.url, _people(made, options.users, 2 * options.users), options)
    print(json.dumps({"idle": idle, "attacked": attacked, "previews": attack.previews, "bombs": attack.bombs}))


def _people(made: dict[str, Any], first: int, last: int) -> dict[str, Any]:
    return {**made, "people": made["people"][first:last], "first": first}


def _phase(url: str, people: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What people and a health check see of the site. Each phase has people of its own, whose answers have new keys."""
    crowd, health, stopped = (
        Crowd(url, people, think=options.think, until_empty=False),
        list[float](),
        threading.Event(),
    )
    check = threading.Thread(target=_watch, args=(url, health, stopped))
    check.start()
    crowd.work(warm=1.0, seconds=options.seconds)
    stopped.set()
    check.join()
    for sentence in sorted(crowd.errors)[:5]:
        _say(sentence)
    return {**_figures("healthz", health), **_figures("submit", crowd.submit), "errors": len(crowd.errors)}


def _watch(url: str, times: Times, stopped: threading.Event) -> None:
    while not stopped.wait(0.1):
        began = time.perf_counter()
        _ask(url, "GET", "/healthz")
        times.append(time.perf_counter() - began)


class _Attack:
    """Managers who preview their files as fast as they are shown, and one more account that sends waves of bombs."""

    def __init__(self, url: str, made: dict[str, Any], every: float) -> None:
        self._url, self._slug, self._stopped = url, made["slug"], threading.Event()
        self._previews: list[tuple[int, float]] = []
        self._bombs: list[tuple[int, float]] = []
        looks = [self._look(manager) for manager in made["managers"]]
        session = made["people"][0]["session"]
        bombs = [self._bomb(session, _ALLOWED if n % 2 else _BRACKETS) for n in range(_N_BOMBERS)]
        works = [(look, self._previews, 0.0) for look in looks] + [(bomb, self._bombs, every) for bomb in bombs]
        self._threads = [threading.Thread(target=self._repeat, args=work) for work in works]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @property
    def previews(self) -> dict[str, Any]:
        return _answers(self._previews)

    @property
    def bombs(self) -> dict[str, Any]:
        return _answers(self._bombs)

    def _look(self, manager: dict[str, str]) -> Callable[[], int]:
        path = f"/p/{self._slug}/import/{manager['upload']}/"
        return lambda: _ask(self._url, "GET", path, session=manager["session"])

    def _bomb(self, session: str, text: str) -> Callable[[], int]:
        body = urlencode({"guidelines": text})
        return lambda: _ask(self._url, "POST", "/preview", body, session=session)

    def _repeat(self, send: Callable[[], int], answers: list[tuple[int, float]], every: float) -> None:
        """Send, wait for the answer, and send again: `every` so many seconds, or at once where it is 0."""
        following = time.perf_counter()
        while not self._stopped.is_set():
            began = time.perf_counter()
            answers.append((send(), time.perf_counter() - began))
            following = max(following + every, time.perf_counter())
            self._stopped.wait(max(0.0, following - time.perf_counter()) if every else 0.0)


def _ask(url: str, method: str, path: str, body: str | None = None, session: str = "") -> int:
    """The status of the answer; 0 where there was none."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_SECONDS)
    headers = {"Cookie": f"sessionid={session}; csrftoken={_CSRF}", "X-CSRFToken": _CSRF, "Connection": "close"}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _figures(name: str, times: Times) -> dict[str, Any]:
    if not times:
        return {f"{name}_{what}_ms": None for what in ("p50", "p95", "max")}
    found = {"p50": np.percentile(times, 50), "p95": np.percentile(times, 95), "max": max(times)}
    return {f"{name}_{what}_ms": round(1000 * float(value), 1) for what, value in found.items()}


def _answers(answers: list[tuple[int, float]]) -> dict[str, Any]:
    statuses = Counter(str(status) for status, _seconds in answers)
    slowest = max((seconds for _status, seconds in answers), default=0.0)
    return {"statuses": dict(sorted(statuses.items())), "slowest_ms": round(1000 * slowest)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stalls",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=10_000, metavar="N", help="questions (default 10000)")
    parser.add_argument("--users", type=int, default=4, metavar="U", help="people who label (default 4)")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="of each phase (default 20)")
    parser.add_argument("--every", type=float, default=4, metavar="S", help="seconds between two waves (default 4)")
    parser.add_argument("--think", type=float, default=0.5, metavar="T", help="seconds per item (default 0.5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
