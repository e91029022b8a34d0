"""Measures import and export: rows per second, growth of memory, time to the first byte.

Runs the product's own functions on a temporary database with made-up texts of about 100 characters.
"""

import argparse
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

FIELDS = """\
Prints one JSON object on standard output, progress on standard error. Rates are medians of the repeated runs.

db                     sqlite, or postgres (then DATABASE_URL says where; a temporary database is made there)
rows                   rows of the imported file = rows of each exported file
repeats                how often both were measured, each time with a database of its own
import_rows_per_s      from the call of ingest.import_items on a JSON Lines file to its return: both passes over
                       the file, durable commits, all of it visible
import_rows_per_s_range  slowest and fastest run
export_rows_per_s      from the call of export.export to its return: JSON Lines and CSV written in one pass with
                       checksums, on disk, with the manifest; so each format at this rate, both at once.
                       Every row carries a silver label with its distribution, one in ten gold, a draw and an answer
export_rows_per_s_range  slowest and fastest run
import_rss_growth_mb   largest resident memory during the import - before it (worst run); the database's page cache
                       of up to 64 MB, which does not grow any further, is part of it
export_rss_growth_mb   the same for the export, which begins with an empty page cache
first_byte_s           from the call of export.export to the first bytes in a data file (median)
commit_s               median time of a durable write on this disk (4 KB, fsync), to compare machines by
"""

N_LABELS = 6
_LABELED = 10  # one row in ten has gold, a draw and an answer
_FEW = 200  # rows that warm up
_EVERY_SECONDS = 0.005


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="goldloop-io-") as folder:
        _set_up_django(options.db, Path(folder))
        source = _write_rows(Path(folder) / "rows.jsonl", options.rows)
        runs = [_measure(source, options.rows, Path(folder) / f"run-{run}") for run in range(options.repeats)]
        commit = _commit_seconds(Path(folder))
    print(
        json.dumps(
            {"db": options.db, "rows": options.rows, "repeats": options.repeats, **_summary(runs), "commit_s": commit}
        )
    )


def _measure(source: Path, rows: int, folder: Path) -> dict[str, float]:
    """Measure one import and one export in a new database, after a small one has loaded all modules."""
    from django.db import connection

    with _database():
        (folder / "warm").mkdir(parents=True)
        few = _head(source, folder / "few.jsonl", _FEW)
        _import_and_export(few, rows=_FEW, folder=folder / "warm", bar=False)
        connection.close()
        return _import_and_export(source, rows=rows, folder=folder, bar=True)


def _import_and_export(source: Path, *, rows: int, folder: Path, bar: bool) -> dict[str, float]:
    from django.db import connection

    from annotate.dataset import export
    from annotate.imports import ingest

    project, owner = _make_project(folder.name)
    with _watched() as watched, _shown("Import", "lines", bar) as show:
        ingest.import_items(project=project, path=source, by=owner, show=show)
    found = {"import_seconds": watched.seconds, "import_rss_growth_mb": watched.growth_mb}
    delivered = _label(project, owner)
    connection.close()  # its page cache goes with it
    out = folder / "out"
    with _watched(out) as watched, _shown("Export", "rows", bar) as show:
        manifest = export.export(delivered=delivered, directory=out, by=owner, show=show)
    if problems := export.verify_export(manifest):
        raise SystemExit(f"The export is damaged: {problems}")
    return found | {
        "export_seconds": watched.seconds,
        "export_rss_growth_mb": watched.growth_mb,
        "first_byte_s": watched.first_byte_seconds,
        "import_rows_per_s": rows / found["import_seconds"],
        "export_rows_per_s": rows / watched.seconds,
    }


def _summary(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("import_rows_per_s", "export_rows_per_s"):
        rates = [run[name] for run in runs]
        found[name] = round(statistics.median(rates))
        found[f"{name}_range"] = [round(min(rates)), round(max(rates))]
    for name in ("import_rss_growth_mb", "export_rss_growth_mb"):
        found[name] = round(max(run[name] for run in runs), 1)
    return found | {"first_byte_s": round(statistics.median(run["first_byte_s"] for run in runs), 4)}


# ---- the rows, and what is known of them


def _write_rows(path: Path, rows: int) -> Path:
    """Write a file of `rows` different texts of 60 to 140 characters, from 5,000 made-up words."""
    pick = random.Random(7)
    words = ["".join(pick.choices("abcdefghijklmnoprstuvw", k=pick.randint(2, 9))) for _ in range(5_000)]
    with path.open("w") as file:
        for number in tqdm(range(rows), desc="Make rows", unit=" rows", mininterval=1, leave=False):
            text = " ".join(pick.choices(words, k=pick.randint(9, 21)))
            file.write(json.dumps({"id": f"row-{number}", "text": f"{text} {number}", "source": "made up"}) + "\n")
    return path


def _head(source: Path, path: Path, rows: int) -> Path:
    with source.open() as file:
        path.write_text("".join(line for _, line in zip(range(rows), file, strict=False)))
    return path


def _make_project(name: str) -> tuple[Any, Any]:
    from annotate import projects
    from annotate.models import User

    owner, _ = User.objects.get_or_create(email="bench@example.org")
    labels = [projects.NewLabel(f"label {index}") for index in range(N_LABELS)]
    return projects.create(name=f"Bench {name}", labels=labels, by=owner), owner


def _label(project: Any, owner: Any) -> Any:
    """Give every item silver, one in ten gold with a draw and an answer; returns a frozen delivered version."""
    from django.db import transaction
    from django.utils import timezone

    from annotate import files
    from annotate.models import Annotation, DeliveredVersion, Draw, Gold, Item, Prediction, PromptVersion, bulk
    from models_ml import checkpoints

    schema = project.schemas.get()
    labels = list(schema.labels.order_by("index").values_list("pk", flat=True))
    prompt = PromptVersion.objects.create(
        project=project, version=1, annotator="offline", model="bench", schema=schema, sha256="0" * 64
    )
    ids = list(Item.objects.filter(project=project).order_by("ordinal").values_list("pk", flat=True))
    n = len(ids)
    p = np.random.default_rng(7).dirichlet(np.full(N_LABELS, 0.5), n).astype("<f4")
    said = p.argmax(axis=1)
    now = bulk.stored(timezone.now())
    some = range(0, n, _LABELED)
    with transaction.atomic():
        bulk.insert(
            Prediction,
            ("item", "prompt", "status", "label_index", "probabilities", "n_input_tokens", "n_output_tokens",
             "cost_micros", "message", "created_at", "attempt", "is_current"),
            ((ids[i], prompt.pk, "ok", int(said[i]), p[i].tobytes(), 0, 0, 0, "", now, 1, True) for i in range(n)),
        )  # fmt: skip
        bulk.insert(
            Gold,
            ("project", "item", "label", "rule", "origin", "is_blind", "is_current", "created_at"),
            ((project.pk, ids[i], labels[said[i]], "one_trusted", "active", True, True, now) for i in some),
        )
        bulk.insert(
            Draw,
            ("project", "item", "arm", "pi", "reason", "created_at"),
            ((project.pk, ids[i], "active", 1.0, "benchmark", now) for i in some),
        )
        bulk.insert(
            Annotation,
            ("public_id", "project", "item", "annotator", "label", "revision", "is_current", "is_counted", "is_blind",
             "had_file", "suggestion", "is_flagged", "comment", "price_micros", "idempotency_key", "created_at"),
            ((f"{project.pk}-{i}", project.pk, ids[i], owner.pk, labels[said[i]], 1, True, True, True, False, "hidden",
              False, "", 0, f"{project.pk}-{i}", now) for i in some),
        )  # fmt: skip
    arrays = {
        "ordinal": np.arange(n, dtype=np.int64),
        "label": said.astype(np.int16),
        "probability": p.max(axis=1),
        "model_label": said.astype(np.int16),
        "model_probability": p.max(axis=1),
        "in_a": np.zeros(n, np.uint8),
    }
    name = f"bench-{project.pk}.safetensors"
    return DeliveredVersion.objects.create(
        project=project, version=1, schema=schema, prompt=prompt, rule="combiner", delivery={},
        last_ordinal=n - 1, n_pool=n, n_in_a=0, file=name,
        file_sha256=files.save(name, [checkpoints.to_bytes(arrays, {})]), fingerprint=name,
    )  # fmt: skip


# ---- measuring


class _Watched:
    seconds = growth_mb = first_byte_seconds = 0.0


@contextmanager
def _watched(folder: Path | None = None) -> Iterator[_Watched]:
    """Measure the body: its time, growth of resident memory, and the first bytes in `folder`, polled by a thread."""
    gc.collect()
    watched, stop = _Watched(), threading.Event()
    before, began = _rss_mb(), time.perf_counter()
    peak = before

    def look() -> None:
        nonlocal peak
        while not stop.wait(_EVERY_SECONDS):
            peak = max(peak, _rss_mb())
            if folder and not watched.first_byte_seconds and _has_bytes(folder):
                watched.first_byte_seconds = time.perf_counter() - began

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        watched.seconds = time.perf_counter() - began
        stop.set()
        thread.join()
        watched.growth_mb = max(peak, _rss_mb()) - before


def _has_bytes(folder: Path) -> bool:
    try:
        return any(path.stat().st_size for path in folder.iterdir())
    except OSError:  # not made yet, or renamed between the two calls
        return False


def _rss_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:  # not Linux: the peak so far, which only ever rises
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _commit_seconds(folder: Path) -> float:
    times = []
    with (folder / "commit").open("wb") as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return round(statistics.median(times), 5)


@contextmanager
def _shown(description: str, unit: str, visible: bool) -> Iterator[Callable[[int, int | None], None]]:
    with tqdm(desc=description, unit=f" {unit}", mininterval=0.5, leave=False, disable=not visible) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


# ---- the temporary database


def _set_up_django(db: str, folder: Path) -> None:
    if db == "postgres" and not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        raise SystemExit("--db postgres needs DATABASE_URL=postgres://user:password@host/name.")
    if db == "sqlite":
        os.environ.pop("DATABASE_URL", None)
    os.environ.update(VAR_DIR=str(folder), FILES_DIR=str(folder / "files"), DJANGO_SETTINGS_MODULE="labelapp.settings")
    os.environ.pop("TEST_DATABASE", None)
    import django

    django.setup()


@contextmanager
def _database() -> Iterator[None]:
    """A new, migrated database under a temporary name, removed at the end."""
    from django.db import connection

    own = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(own, verbosity=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.io",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rows", type=int, default=100_000, metavar="N", help="rows to import and to export (default 100000)")
    add("--db", choices=["sqlite", "postgres"], default="sqlite", help="default sqlite")
    add("--repeats", type=int, default=3, metavar="R", help="runs, each with its own database (default 3)")
    return parser


if __name__ == "__main__":
    main()
