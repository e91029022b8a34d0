"""Rows of the web benchmark: makes the project that people label, and afterwards checks its rows.

Runs in a process of its own with the settings of the temporary site; prints JSON.
"""

import argparse
import itertools
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import django

N_LABELS = 6
_SLUG = "bench"
_CHUNK = 10_000


def main() -> None:
    django.setup()
    options = _parser().parse_args()
    print(json.dumps(check(options.acknowledged) if options.what == "check" else make(options)))


def make(options: argparse.Namespace) -> dict[str, Any]:
    """A project with items, people with sessions, and an open round."""
    from annotate import projects
    from annotate.models import User
    from annotate.models.project import Role
    from benchmarks.site import session_cookie

    owner = User.objects.create_user("owner@example.org")
    labels = [projects.NewLabel(f"label {index}", "What it means.") for index in range(N_LABELS)]
    project = projects.create(name="Bench", slug=_SLUG, labels=labels, by=owner, overlap=options.overlap, seed=1)
    projects.set_guidelines(project=project, markdown="# How to label\n\nRead it, then choose.", by=owner)
    _import(project, owner, options.items)
    open_round(project, owner, options.round)
    people = [User.objects.create_user(f"person-{number}@example.org") for number in range(options.users)]
    for person in people:
        projects.add_member(project=project, user=person, role=Role.ANNOTATOR, is_trusted=True, by=owner)
    sessions = [{"id": person.public_id, "session": session_cookie(person)} for person in people]
    return {"slug": project.slug, "n_labels": N_LABELS, "people": sessions}


def check(acknowledged: Path) -> dict[str, int]:
    """Counts of what must not be: too many answers, too many holders at a time, acknowledged answers not stored."""
    from annotate.models import Annotation, Lease, QueueEntry

    counted = Annotation.objects.filter(is_current=True, is_counted=True, label__isnull=False)
    answers: dict[int, int] = defaultdict(int)
    for entry in counted.values_list("entry", flat=True):
        answers[entry] += 1
    holds: dict[int, list[Any]] = defaultdict(list)
    for entry, *hold in Lease.objects.values_list("entry", "granted_at", "ended_at", "outcome"):
        holds[entry].append(hold)
    touched = holds.keys() | answers.keys()
    entries = QueueEntry.objects.values_list("pk", "overlap", "n_taken", "state")
    duplicates = over_assigned = 0
    for entry, overlap, n_taken, _state in entries.iterator():
        over_assigned += n_taken > overlap
        if entry in touched:
            duplicates += answers[entry] > overlap
            over_assigned += n_taken <= overlap < most_at_once(holds[entry])
    keys = set(acknowledged.read_text().split())
    stored = set(Annotation.objects.values_list("idempotency_key", flat=True).iterator())
    return {"duplicates": duplicates, "over_assigned": over_assigned, "lost": len(keys - stored)}


def most_at_once(holds: Iterable[tuple[Any, Any, str | None]]) -> int:
    """The most people at any time who held or had answered one question; an answer counts from then on."""
    changes = []
    for granted_at, ended_at, outcome in holds:
        changes.append((granted_at, 1))
        if ended_at is not None and outcome != "answered":
            changes.append((ended_at, -1))  # sorts before a grant of the same moment
    return max(itertools.accumulate((change for _, change in sorted(changes)), initial=0))


def _import(project: Any, owner: Any, n: int) -> None:
    from annotate.imports import ingest

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.jsonl"
        with path.open("w") as file:
            for number in range(n):
                text = f"Question {number}: " + "what does this sentence say, and how sure can anybody be? " * 2
                file.write(json.dumps({"id": f"item-{number}", "text": text}) + "\n")
        ingest.import_items(project=project, path=path, by=owner)


def open_round(project: Any, owner: Any, n: int) -> None:
    """Open a round of `n` questions without the sampler, which would first need vectors of all items."""
    from django.db import transaction

    from annotate.models import Draw, Item, QueueEntry, Round

    items = list(Item.objects.filter(project=project).order_by("prn").values_list("pk", flat=True)[:n])
    with transaction.atomic():
        new = Round.objects.create(
            project=project, index=1, batch=n, shares={}, strategy="random", seed=1, opened_by=owner
        )
        for first in range(0, n, _CHUNK):
            some = list(enumerate(items[first : first + _CHUNK], start=first + 1))
            Draw.objects.bulk_create(
                Draw(project=project, item_id=item, round=new, arm="active", pi=1.0, reason="benchmark")
                for _, item in some
            )
            QueueEntry.objects.bulk_create(
                QueueEntry(round=new, item_id=item, position=position, overlap=project.overlap, is_blind=True)
                for position, item in some
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_project", description=__doc__)
    parser.add_argument("what", choices=("make", "check"))
    for name in ("--items", "--round", "--users", "--overlap"):
        parser.add_argument(name, type=int)
    parser.add_argument("--acknowledged", type=Path)
    return parser


if __name__ == "__main__":
    main()
