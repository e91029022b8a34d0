"""Rows for tests. The cast: Olga owns, Ann annotates, Ravi reviews, Sam is a stranger."""

import itertools
import json
from pathlib import Path
from typing import Any

from annotate import projects
from annotate.labeling import answers, leases
from annotate.models import Connection, Label, Project, QueueEntry, Round, User
from annotate.models.project import Role
from annotate.silver import connections

_numbers = itertools.count(1)
LABELS = ("yes", "no", "maybe")
KEY = bytes(range(32))
LLM_KEY = "sk-canary-4f1d9b7ae2"  # of a connection; found in nothing that is answered, logged or stored in the open


def make_user(name: str = "Sam", **fields: Any) -> User:
    return User.objects.create_user(f"{name.lower()}{next(_numbers)}@example.org", name=name, **fields)


def make_project(labels: tuple[str, ...] = LABELS, by: User | None = None, **settings: Any) -> Project:
    settings = {"key": KEY, "seed": 1, "name": f"Project {next(_numbers)}", **settings}
    return projects.create(labels=[projects.NewLabel(name) for name in labels], by=by or make_user("Olga"), **settings)


def owner_of(project: Project) -> User:
    return User.objects.get(memberships__project=project, memberships__role=Role.OWNER)


def make_member(project: Project, name: str = "Ann", role: str = Role.ANNOTATOR, is_trusted: bool = True) -> User:
    user = make_user(name)
    projects.add_member(project=project, user=user, role=role, is_trusted=is_trusted, by=owner_of(project))
    return user


def make_connection(by: User, **changes: Any) -> Connection:
    """An LLM server that `by`, an owner of the site, has registered."""
    given = {"name": f"Server {next(_numbers)}", "base_url": "https://llm.example.org/v1", "model": "m-1",
             "key": LLM_KEY, "input_price_micros": 150_000, "output_price_micros": 600_000}  # fmt: skip
    return connections.create(by=by, **(given | changes))


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(n: int, prefix: str = "item", **fields: Any) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}-{i}", "text": f"{prefix} number {i}", **fields} for i in range(n)]


def pair_rows_of(n: int, prefix: str = "pair", **fields: Any) -> list[dict[str, Any]]:
    texts = ((f"{prefix} number {i}", f"number {i} of {prefix}") for i in range(n))
    return [{"id": f"{prefix}-{i}", "text_a": a, "text_b": b, **fields} for i, (a, b) in enumerate(texts)]


def answer_round(project: Project, label: str = "yes", by: User | None = None, leave: int = 0) -> int:
    """Answer the open round's questions (all but the last `leave`) through the same door as anybody."""
    person = by or owner_of(project)
    current = project.rounds.get(state=Round.State.OPEN)
    chosen = Label.objects.get(schema=projects.current_schema(project), name=label)
    entries = list(current.queue.filter(state=QueueEntry.State.OPEN).order_by("position"))
    for entry in entries[: len(entries) - leave]:
        lease = leases.lease(entry=entry, annotator=person)
        answer = answers.Answer(label=chosen, seconds=1.0)
        key = f"key-{next(_numbers)}"
        answers.submit(lease_id=lease.public_id, project=project, answer=answer, key=key, by=person)
    return len(entries) - leave
