"""Measures a backup while people label: its time and size, and what submits take with it and without."""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.site import Site
from benchmarks.web_people import Crowd, Times

FIELDS = """\
Prints one JSON object on standard output. Milliseconds are seen by the client; clients, server and backup share the
machine's cores. Backups are taken one after the other while people label, until --seconds are over.

submit_p50_ms, submit_p95_ms     of submits while no backup is taken
during_p50_ms, during_p95_ms     of submits while backups are taken
backup_s, n_backups              of each on average, the start of the process (about 2 s) included; how many
archive_mb, packed_mb            size of the archive, plain and as .tar.gz
packed_s, check_s, restore_s     of a packed backup, of `restore --check` and `restore` with `verify`, nobody labeling
errors, lost                     of requests; acknowledged answers that the restored database lacks (never more than 0)
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="goldloop-backup-") as folder:
        print(json.dumps(measure(options, Path(folder))))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One site with so many items; figures of submits, backups and a restore into an empty folder."""
    here, there = (Site(_made(folder / name), **_database(variable)) for name, variable in _SITES.items())
    here.manage("migrate", "--verbosity", "0")
    words = ("--items", options.items, "--round", options.items, "--users", options.users, "--overlap", 1)
    made = json.loads(here.python("-m", "benchmarks.web_project", "make", *words))
    quiet, busy = (Crowd(here.url, made, think=options.think, until_empty=False, seed=seed) for seed in range(2))
    taken: Times = []
    with here.served():
        quiet.work(warm=3.0, seconds=options.seconds)
        backups = threading.Thread(target=_take_until, args=(busy, here, folder, taken))
        backups.start()
        busy.work(warm=3.0, seconds=options.seconds)
        backups.join()
    for sentence in sorted({*quiet.errors, *busy.errors})[:10]:
        print(sentence, file=sys.stderr)
    archive, packed = folder / "site.tar", folder / "site.tar.gz"
    figures = {"backup_s": round(float(np.mean(taken)), 1), "n_backups": len(taken)}
    here.manage("backup", archive)
    figures["packed_s"] = _seconds(here, "backup", packed)
    figures["check_s"] = _seconds(there, "restore", "--check", archive)
    figures["restore_s"] = _seconds(there, "restore", archive)
    acknowledged = folder / "acknowledged.txt"
    acknowledged.write_text("\n".join(quiet.acknowledged + busy.acknowledged))
    checked = json.loads(there.python("-m", "benchmarks.web_project", "check", "--acknowledged", acknowledged))
    return {
        "db": "postgres" if _database("DATABASE_URL") else "sqlite", "items": options.items, "users": options.users,
        **_percentiles("submit", quiet.submit), **_percentiles("during", busy.submit), **figures,
        "archive_mb": _megabytes(archive), "packed_mb": _megabytes(packed),
        "errors": len(quiet.errors) + len(busy.errors), "lost": checked["lost"],
    }  # fmt: skip


_SITES = {"here": "DATABASE_URL", "there": "RESTORE_DATABASE_URL"}


def _take_until(crowd: Crowd, site: Site, folder: Path, taken: Times) -> None:
    while not crowd.stopped.is_set():
        archive = folder / f"{len(taken)}.tar"
        taken.append(_seconds(site, "backup", archive))
        archive.unlink()


def _seconds(site: Site, *words: object) -> float:
    began = time.perf_counter()
    site.manage(*words)
    return round(time.perf_counter() - began, 1)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _database(variable: str) -> dict[str, str]:
    return {"DATABASE_URL": os.environ[variable]} if variable in os.environ else {}


def _percentiles(name: str, times: Times) -> dict[str, float]:
    return {f"{name}_p{q}_ms": round(float(np.percentile(times, q)) * 1000, 1) for q in (50, 95)}


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backup",
        description=f"{__doc__} On PostgreSQL where DATABASE_URL and RESTORE_DATABASE_URL name two empty databases.",
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=100_000, metavar="N", help="items of the project (100000)")
    parser.add_argument("--users", type=int, default=20, metavar="U", help="people at once (20)")
    parser.add_argument("--seconds", type=float, default=30, metavar="S", help="measured, without and with (30)")
    parser.add_argument("--think", type=float, default=2, metavar="T", help="seconds per item, on average (2)")
    options = parser.parse_args()
    if ("DATABASE_URL" in os.environ) != ("RESTORE_DATABASE_URL" in os.environ):
        sys.exit("Set both DATABASE_URL and RESTORE_DATABASE_URL, or neither.")
    return options


if __name__ == "__main__":
    main()
