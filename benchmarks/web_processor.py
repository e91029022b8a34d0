"""Measures the processor time of one answer: the requests next and submit, without server or network.

Calls the WSGI application in one thread on a temporary folder and reads the thread's own processor time, so that
a machine busy with other work gives nearly the same figures.
"""

import argparse
import cProfile
import io
import json
import os
import pstats
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.site import Site

FIELDS = """\
Prints one JSON object; milliseconds of processor time (user and system) of the thread that answers.

db                     sqlite, or postgres (DATABASE_URL; the database is used as it is, and must be empty)
items, users, answers  of the project; people in turn; measured answers, one next and one submit each
next_ms, submit_ms     mean of POST label/next and POST label/submit through all middleware
answer_ms              both together
queries                of one next and one submit, those that open and end transactions not counted

--profile N: the N functions with most time of their own, and with most time in all, on standard error.
"""

_CSRF = "b" * 32
_WARM = 30


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.made:
        print(json.dumps(_measured(json.loads(options.made), options)))
        return
    with tempfile.TemporaryDirectory(prefix="goldloop-processor-") as folder:
        variables = {"DATABASE_URL": os.environ["DATABASE_URL"]} if options.db == "postgres" else {}
        site = Site(Path(folder), **variables)
        site.manage("migrate", "--verbosity", "0")
        words = ("--items", options.items, "--round", options.items, "--users", options.users, "--overlap", 1)
        made = site.python("-m", "benchmarks.web_project", "make", *words)
        again = ["--items", options.items, "--users", options.users, "--answers", options.answers, "--db", options.db]
        report = Path(folder) / "profile.txt"
        profile = ["--profile", options.profile, "--report", report] if options.profile else []
        print(site.python("-m", "benchmarks.web_processor", *again, *profile, "--made", made).strip())
        if options.profile:
            print(report.read_text(), file=sys.stderr)


def _measured(made: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    people = [_Person(made, number, person) for number, person in enumerate(made["people"])]
    for turn in range(_WARM + 2 * len(people)):
        people[turn % len(people)].answer()
    n_queries = _counted(people[0])
    for person in people:
        person.seconds = dict.fromkeys(person.seconds, 0.0)
    profile = cProfile.Profile(time.thread_time) if options.profile else None
    for turn in range(options.answers):
        people[turn % len(people)].answer(profile)
    if profile:
        options.report.write_text(_report(profile, options.profile))
    total = {name: 1000 * sum(person.seconds[name] for person in people) / options.answers for name in _NAMES}
    return {
        "db": options.db,
        "items": options.items,
        "users": options.users,
        "answers": options.answers,
        **{f"{name}_ms": round(total[name], 2) for name in _NAMES},
        "answer_ms": round(sum(total.values()), 2),
        "queries": n_queries,
    }


_NAMES = ("next", "submit")


class _Person:
    """A person who asks for the next question and answers it, by the requests of the page's script."""

    def __init__(self, made: dict[str, Any], number: int, person: dict[str, str]) -> None:
        from labelapp.wsgi import application

        self._application: Any = application
        self._made, self._person = made, person
        self._random = random.Random(number)
        self._ahead: list[str] = []
        self.seconds = dict.fromkeys(_NAMES, 0.0)

    def answer(self, profile: cProfile.Profile | None = None) -> None:
        if not self._ahead:
            self._ahead = [item["lease"] for item in self._post("next", {}, None)["items"]]
        shown = self._ahead.pop(0)
        reply = self._post("next", {"have": [shown, *self._ahead], "shown": shown}, profile)
        self._ahead += [item["lease"] for item in reply["items"]]
        label = self._random.randrange(self._made["n_labels"])
        key = str(uuid.UUID(int=self._random.getrandbits(128)))
        self._post("submit", {"lease": shown, "label": label, "key": key}, profile)

    def _post(self, name: str, fields: dict[str, Any], profile: cProfile.Profile | None) -> dict[str, Any]:
        environ = self._environ(name, urlencode({"person": self._person["id"], **fields}, doseq=True).encode())
        status: list[str] = []
        if profile:
            profile.enable()
        began = time.thread_time()
        reply = self._application(environ, lambda line, headers: status.append(line))
        body = b"".join(reply)
        reply.close()
        self.seconds[name] += time.thread_time() - began
        if profile:
            profile.disable()
        if not status[0].startswith("200"):
            raise RuntimeError(f"{name}: {status[0]} {body[:200]!r}")
        return dict(json.loads(body))

    def _environ(self, name: str, body: bytes) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": f"/p/{self._made['slug']}/label/{name}",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "localhost",
            "HTTP_ACCEPT": "application/json",
            "HTTP_COOKIE": f"sessionid={self._person['session']}; csrftoken={_CSRF}",
            "HTTP_X_CSRFTOKEN": _CSRF,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }


def _counted(person: _Person) -> int:
    from django.db import connection

    seen: list[str] = []

    def count(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(count):
        person.answer()
    return sum(not sql.startswith(("SAVEPOINT", "RELEASE", "BEGIN")) for sql in seen)


def _report(profile: cProfile.Profile, n: int) -> str:
    text = io.StringIO()
    found = pstats.Stats(profile, stream=text)
    for order in ("tottime", "cumulative"):
        found.sort_stats(order).print_stats(n)
    return text.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.web_processor",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--items", type=int, default=10_000, metavar="N", help="default 10000")
    add("--users", type=int, default=20, metavar="U", help="default 20")
    add("--answers", type=int, default=400, metavar="N", help="default 400")
    add("--db", choices=("sqlite", "postgres"), default="sqlite", help="default sqlite")
    add("--profile", type=int, default=0, metavar="N", help="how many functions to name (default none)")
    add("--made", help=argparse.SUPPRESS)
    add("--report", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
