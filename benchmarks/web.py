"""Measures the annotating screen's requests, next and submit, with many people at once: latency, rate, errors.

Starts the real server (`manage.py serve`) on a temporary folder and sends real HTTP over kept connections.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.site import Site
from benchmarks.web_people import Crowd, Times

FIELDS = """\
Prints one JSON object on standard output, progress on standard error. Milliseconds are seen by the client, from the
first byte sent to the last byte read, after --warm seconds. A person asks for items, looks at one for the think time
(exponential, mean --think), sends the answer, tells the server what is on the screen now and asks for more: one submit
and one next per label, as the page does, but one after the other. Clients and server share the machine's cores.

db                     sqlite, or postgres (DATABASE_URL; the database is used as it is, and must be empty)
items, round           items of the project; questions of its open round, all answerable by everybody
users, think_s         people at once, and how long each looks at an item
next_p50_ms ...        POST label/next: leases, their HTML, progress
submit_p50_ms ...      POST label/submit: answer, gold, all durable
labels_per_s           acknowledged answers per second of the measured time
requests               measured requests, next and submit
errors                 HTTP 400 and above, time-outs, broken connections, and "database is locked" in the server's log
late                   answers to an item that somebody took over in the moment it came on the screen (409, or stored
                       and not counted): expected near the end of a round, stored but not counted, no error
duplicates             questions with more counted answers than their overlap
over_assigned          questions that were ever held or answered by more people than their overlap: from the rows of
                       all leases with their times, and from n_taken
lost                   acknowledged answers that the database does not have (never more than 0)
verify                 with --race: what `manage.py verify` says of all rows afterwards, "ok" or its sentence
ratio_1m_10k           with --scaling: next p50 at 1,000,000 items against 10,000, both with --round questions

--race: everybody at once without thinking until no question is left; --seconds is then only a limit.
"""

_RACE_USERS, _RACE_ITEMS = 50, 100
_SCALES = (10_000, 1_000_000)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if options.db == "postgres" and not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        raise SystemExit("--db postgres needs DATABASE_URL=postgres://user:password@host/name, of an empty database.")
    found = measure(options, options.items, options.round)
    if options.scaling:
        few, many = (
            found if items == options.items else measure(options, items, min(options.round, items)) for items in _SCALES
        )
        found["ratio_1m_10k"] = round(many["next_p50_ms"] / few["next_p50_ms"], 2)
    print(json.dumps(found))


def measure(options: argparse.Namespace, items: int, n_questions: int) -> dict[str, Any]:
    """Use one site with so many items until the time or the queue is over; returns latencies and checks of its rows."""
    with tempfile.TemporaryDirectory(prefix="goldloop-web-") as folder:
        site = Site(Path(folder), **_variables(options.db))
        site.manage("migrate", "--verbosity", "0")
        _say(f"Making {items:,} items and a round of {n_questions:,} questions …")
        words = ("--items", items, "--round", n_questions, "--users", options.users, "--overlap", options.overlap)
        made = json.loads(site.python("-m", "benchmarks.web_project", "make", *words))
        crowd = Crowd(site.url, made, think=0.0 if options.race else options.think, until_empty=options.race)
        with site.served():
            _say(f"{options.users} people at once …")
            crowd.work(warm=0.0 if options.race else options.warm, seconds=options.seconds)
        acknowledged = Path(folder) / "acknowledged.txt"
        acknowledged.write_text("\n".join(crowd.acknowledged))
        checked = json.loads(site.python("-m", "benchmarks.web_project", "check", "--acknowledged", acknowledged))
        locked = site.said().count("database is locked")
        for sentence in sorted(crowd.errors)[:10]:
            _say(sentence)
        verdict = {"verify": _verify(site, made["slug"])} if options.race else {}
    return {
        "db": options.db,
        "items": items,
        "round": n_questions,
        "users": options.users,
        "think_s": crowd.think,
        **_percentiles("next", crowd.next),
        **_percentiles("submit", crowd.submit),
        "labels_per_s": round(len(crowd.submit) / crowd.seconds, 1),
        "requests": len(crowd.next) + len(crowd.submit),
        "errors": len(crowd.errors) + locked,
        "late": crowd.n_late,
        **checked,
        **verdict,
    }


def _verify(site: Site, slug: str) -> str:
    try:
        site.manage("verify", slug)
    except RuntimeError as error:
        return str(error)
    return "ok"


def _percentiles(name: str, times: Times) -> dict[str, float | None]:
    if not times:
        return {f"{name}_p{q}_ms": None for q in (50, 95, 99)}
    return {f"{name}_p{q}_ms": round(float(np.percentile(times, q)) * 1000, 1) for q in (50, 95, 99)}


def _variables(db: str) -> dict[str, str]:
    names: Iterable[str] = ["WEB_PROCESSES", "WEB_THREADS"] + (["DATABASE_URL"] if db == "postgres" else [])
    return {name: os.environ[name] for name in names if name in os.environ}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.web",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--items", type=int, metavar="N", help=f"items of the project (default 100000; race: {_RACE_ITEMS})")
    add("--round", type=int, metavar="N", help="questions of the open round (default: as many as items)")
    add("--users", type=int, metavar="U", help=f"people at once (default 8; race: {_RACE_USERS})")
    add("--overlap", type=int, default=1, metavar="N", help="people asked per item (default 1)")
    add("--seconds", type=float, default=30, metavar="S", help="measured time (default 30)")
    add("--warm", type=float, default=3, metavar="S", help="time before it, not measured (default 3)")
    add("--think", type=float, default=1, metavar="T", help="seconds per item, on average (default 1)")
    add("--db", choices=("sqlite", "postgres"), default="sqlite", help="default sqlite")
    add("--race", action="store_true", help="everybody at once until nothing is left")
    add("--scaling", action="store_true", help="also measure 10,000 and 1,000,000 items")
    options = parser.parse_args(arguments)
    options.items = options.items or (_RACE_ITEMS if options.race else 100_000)
    options.users = options.users or (_RACE_USERS if options.race else 8)
    options.round = min(options.round or options.items, options.items)
    return options


if __name__ == "__main__":
    main()
