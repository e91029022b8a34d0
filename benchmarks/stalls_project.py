"""Rows and files of the stalls benchmark: the project of the web benchmark, managers, and the files that they preview.

Runs in a process of its own with the settings of the temporary site; prints JSON.
"""

import argparse
import gzip
import json
from typing import Any

import django

_MARKS = "\u0301\u0327"  # combining marks, which a composed text has in another order


def main() -> None:
    django.setup()
    options = _parser().parse_args()
    print(json.dumps(make(options)))


def make(options: argparse.Namespace) -> dict[str, Any]:
    """The project and the people of benchmarks/web_project.py, and a manager with one sent file for each attack."""
    from annotate import projects
    from annotate.imports import uploads
    from annotate.models import Project, User
    from annotate.models.project import Role
    from benchmarks import web_project
    from benchmarks.site import session_cookie

    made = web_project.make(options)
    project = Project.objects.get(slug=made["slug"])
    owner, managers = User.objects.get(email="owner@example.org"), list[dict[str, str]]()
    for name, content in worst_files().items():
        manager = User.objects.create_user(f"{name}@example.org")
        projects.add_member(project=project, user=manager, role=Role.ADMIN, is_trusted=True, by=owner)
        sent = uploads.receive(project=project, by=manager, file_name=f"{name}.txt", chunks=[content])
        managers.append({"file": name, "upload": sent.public_id, "session": session_cookie(manager)})
    return {**made, "managers": managers}


def worst_files() -> dict[str, bytes]:
    """Files that cost a preview most: by their content unpacked, in characters, columns and broken quotes."""
    lines = b'{"text": "a"}\n' * 7_000_000
    names = [f"c{number}" for number in range(900)]
    wide = ",".join(["text", *names]) + "\n" + (",".join(["x"] + ["label 1"] * 900) + "\n") * 140
    marked = "".join(f'{{"text": "{number}", "gold": "a{_MARKS * 12_000}"}}\n' for number in range(20))
    return {
        "gzip": gzip.compress(lines),  # 97 kB that unpack to 98 MB
        "marks": marked.encode(),
        "columns": wide.encode(),
        "quotes": b"text,label\n" + b'"a,b\n' * 200_000,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls_project", description=__doc__)
    for name in ("--items", "--round", "--users", "--overlap"):
        parser.add_argument(name, type=int)
    return parser


if __name__ == "__main__":
    main()
