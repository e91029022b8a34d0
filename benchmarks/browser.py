"""Measures the annotating screen in Chromium against a slow server: time to the next item, and answers lost."""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.site import ROOT, Site, _answers, session_cookie

FIELDS = """\
Prints one JSON object on standard output, progress on standard error.

One person labels a round with the keys 1 to 3 at a steady pace, without looking whether the screen is ready, as an
expert does; a press on an item that has not been on the screen for 0.1 s is not taken, and counted below.

items                  questions of the round
server_delay_ms        real: the server sleeps for so long before it answers any request to the project
pace_ms                time between two presses
key_to_paint_p50_ms    from the key's own time stamp (the browser's, not the script's) to the end of the frame in which
key_to_paint_p95_ms    another item is on the screen: requestAnimationFrame and a timer behind it, so one frame
                       (16.7 ms) is part of it at the least. All presses count that were taken online, stalls included
key_to_paint_max_ms    the slowest of them
stalls                 presses after which no item was ahead, so that the network was waited for
event_timing_p95_ms    the browser's own figure for the same presses (Event Timing: input to next paint, in steps of
                       8 ms)
answers                rows in the database
lost                   presses on an item that are not in the database as its answer
doubled                answers in the database beyond one per item
too_early              presses that were not taken because the item had only just appeared
idle                   presses while no item was on the screen (offline: the items ahead were used up)
offline_seconds        for so long the network was gone in mid-run; presses in that time are not in the paint times
unsaved_shown_ms       from losing the network to the line that says that answers are not saved yet; null: online all
                       the time
console_errors         complaints of the page, exceptions and CSP violations included
network_errors         lines that Chromium itself writes about requests while offline
"""

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
_LABELS = ("positive", "negative", "mixed")
_START_SECONDS = 60

# Outside the page's own script, in the capture phase before it: what was on the screen when a key went down,
# and when something else had been painted.
_WATCH = """
window.presses = [];
document.addEventListener("keydown", (event) => {
  if (!/^Digit[123]$/.test(event.code)) return;
  const item = document.getElementById("item");
  const ready = document.getElementById("labeling").dataset.ready;
  window.presses.push({at: event.timeStamp, label: Number(event.code.slice(5)) - 1, lease: item?.dataset.lease ?? null,
    taken: Boolean(item) && ready === item.dataset.lease, online: navigator.onLine, painted: null, waited: false});
}, true);
const watch = () => new MutationObserver(() => {
  const last = window.presses.findLast((press) => press.taken);
  if (!last || last.painted !== null || last.isSeen) return;
  const item = document.getElementById("item");
  if (!item) last.waited = true;
  if (!item || item.dataset.lease === last.lease) return;
  last.isSeen = true;
  requestAnimationFrame(() => setTimeout(() => { last.painted = performance.now(); }));
}).observe(document.getElementById("labeling"), {childList: true, subtree: true});
document.addEventListener("DOMContentLoaded", watch);
window.timings = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (one.name === "keydown") window.timings.push(one.duration);
}).observe({type: "event", durationThreshold: 16, buffered: true});
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP refused ${event.blockedURI} (${event.violatedDirective})`));
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="goldloop-browser-") as folder:
        site = Site(Path(folder), SERVER_DELAY_MS=str(options.server_delay_ms))
        cookie = _prepare(site, options.items)
        with _served(site):
            seen = _label(site, cookie, options)
        found = _compare(seen["presses"])
    print(json.dumps({**_asked(options), **_times(seen), **found, **seen["counts"]}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=FIELDS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--server-delay-ms", type=int, default=300)
    parser.add_argument("--pace-ms", type=int, default=400, help="time between two presses (default: a fast person)")
    parser.add_argument("--offline-seconds", type=float, default=0, help="cut the network for so long in mid-run")
    return parser


# ---- a project, and a server that is slow


def _prepare(site: Site, n_items: int) -> str:
    """Make a project with a round of `n_items` questions; returns the session cookie of its owner."""
    os.environ.update(site.environment)
    import django
    from django.conf import settings

    if settings.configured and not str(settings.VAR_DIR).startswith(str(site.folder)):
        raise SystemExit("This benchmark needs a process of its own: python -m benchmarks.browser")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    owner = _make_round(site.folder, n_items)
    return session_cookie(owner)


def _make_round(folder: Path, n_items: int) -> Any:
    from annotate import projects, rounds
    from annotate.imports import ingest
    from annotate.models import User

    owner = User.objects.create_user("olga@example.org", name="Olga")
    labels = [projects.NewLabel(name, f"The writer's view is {name}.") for name in _LABELS]
    # Everything for the audit: drawn at random, so no model is needed.
    rules = {"audit_share": 1.0, "audit_target": n_items, "strategy": "random"}
    project = projects.create(name="Speed", slug="speed", labels=labels, by=owner, seed=1, **rules)
    rows = folder / "rows.jsonl"
    text = "Review {}. A quiet film that takes its time, and mostly earns it; the second half drags, though."
    rows.write_text("".join(json.dumps({"id": f"r{n}", "text": text.format(n)}) + "\n" for n in range(n_items)))
    ingest.import_items(project=project, path=rows, by=owner)
    drawn = rounds.draw_round(project=project, batch=n_items, by=owner)
    if drawn.queue.count() != n_items:
        raise SystemExit(f"The round has {drawn.queue.count()} questions instead of {n_items}.")
    return owner


@contextmanager
def _served(site: Site) -> Iterator[None]:
    """Serve the slow application by gunicorn, as `manage.py serve` would, while the body runs."""
    words = [sys.executable, "-m", "gunicorn", "benchmarks.slow_site:application", "--bind", f"127.0.0.1:{site.port}"]
    words += ["--worker-class", "gthread", "--workers", "2", "--threads", "8", "--no-control-socket"]
    words += ["--log-level", "warning"]
    with site.log.open("ab") as log:
        server = subprocess.Popen(words, cwd=ROOT, env=site.environment, stdout=log, stderr=log)  # noqa: S603
    try:
        until = time.monotonic() + _START_SECONDS
        while not _answers(site.url):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"The site did not start:\n{site.said()}")
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(20)


# ---- a person at the keyboard


def _label(site: Site, cookie: str, options: argparse.Namespace) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("There is no Chromium: apt-get install chromium, or CHROMIUM=/path.")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 800})
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": site.url}])
        context.add_init_script(_WATCH)
        context.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        context.on("weberror", lambda error: complaints.append(f"exception: {error.error}"))
        page = context.new_page()
        page.goto("/p/speed/label/")
        page.wait_for_selector("#labeling[data-ready]:not([data-ready=''])")
        page.wait_for_timeout(3 * options.server_delay_ms + 500)  # until the items ahead are here
        unsaved_ms = _press_all(page, options)
        page.wait_for_function(
            "() => !Object.keys(localStorage).some((key) => key.startsWith('goldloop.answer.'))", timeout=60_000
        )
        page.wait_for_timeout(500)
        presses, timings = page.evaluate("[window.presses, window.timings]")
        browser.close()
    network = [line for line in complaints if "net::ERR_INTERNET_DISCONNECTED" in line]
    others = [line for line in complaints if line not in network]
    for line in others:
        print(line, file=sys.stderr)
    counts = {"unsaved_shown_ms": unsaved_ms, "console_errors": len(others), "network_errors": len(network)}
    return {"presses": presses, "timings": timings, "counts": counts}


def _press_all(page: Any, options: argparse.Namespace) -> int | None:
    """Press keys at the given pace until every item is answered; on the way the network is cut for a while."""
    pick = random.Random(7)
    offline = _Offline(page, options)
    deadline = time.monotonic() + 60 + options.offline_seconds + 3 * options.items * max(options.pace_ms, 50) / 1000
    with tqdm(total=options.items, desc="Label", unit=" items", mininterval=1, leave=False) as bar:
        while bar.n < options.items:
            if time.monotonic() > deadline:
                raise SystemExit(f"Only {bar.n} of {options.items} items came up in time.")
            began = time.monotonic()
            page.keyboard.press(f"Digit{pick.randint(1, len(_LABELS))}")
            bar.update(page.evaluate("window.presses.filter((press) => press.taken).length") - bar.n)
            offline.follow(bar.n)
            rest = options.pace_ms / 1000 - (time.monotonic() - began)
            if rest > 0:
                page.wait_for_timeout(1000 * rest)
    offline.end()
    return offline.unsaved_ms


class _Offline:
    """Cuts the network after a third of the items, for the given time."""

    def __init__(self, page: Any, options: argparse.Namespace) -> None:
        self.page, self.seconds, self.begin_at = page, options.offline_seconds, options.items // 3
        self.began: float | None = None
        self.unsaved_ms: int | None = None

    def follow(self, n_done: int) -> None:
        if not self.seconds or n_done < self.begin_at:
            return
        if self.began is None:
            self.page.context.set_offline(True)
            self.began = time.monotonic()
        elif self.unsaved_ms is None and self.page.locator("#unsaved").is_visible():
            self.unsaved_ms = round(1000 * (time.monotonic() - self.began))
        if time.monotonic() - self.began >= self.seconds:
            self.end()

    def end(self) -> None:
        if self.began is not None and self.seconds:
            self.page.context.set_offline(False)
            self.seconds = 0


# ---- what became of it


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "items": options.items,
        "server_delay_ms": options.server_delay_ms,
        "pace_ms": options.pace_ms,
        "offline_seconds": options.offline_seconds,
    }


def _times(seen: dict[str, Any]) -> dict[str, Any]:
    taken = [press for press in seen["presses"] if press["taken"] and press["online"]]
    waits = sorted(press["painted"] - press["at"] for press in taken if press["painted"] is not None)
    return {
        "key_to_paint_p50_ms": _quantile(waits, 0.5),
        "key_to_paint_p95_ms": _quantile(waits, 0.95),
        "key_to_paint_max_ms": _quantile(waits, 1.0),
        "stalls": sum(press["waited"] for press in taken),
        "event_timing_p95_ms": _quantile(sorted(seen["timings"]), 0.95),
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    return round(values[min(int(share * len(values)), len(values) - 1)], 1) if values else None


def _compare(presses: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Compare the stored answers with the keys that were pressed on each item."""
    from django.db import connection

    from annotate.models import Annotation, Lease

    connection.close()
    entries = dict(Lease.objects.values_list("public_id", "entry_id"))
    rows = Annotation.objects.select_related("label").all()
    stored = {row.entry_id: row.label.index for row in rows if row.label and row.is_current and row.is_counted}
    taken = [press for press in presses if press["taken"]]
    per_item = Counter(row.entry_id for row in rows)
    return {
        "answers": len(rows),
        "lost": sum(stored.get(entries[press["lease"]]) != press["label"] for press in taken),
        "doubled": sum(n - 1 for n in per_item.values()),
        "too_early": sum(press["lease"] is not None and not press["taken"] for press in presses),
        "idle": sum(press["lease"] is None for press in presses),
    }


if __name__ == "__main__":
    main()
