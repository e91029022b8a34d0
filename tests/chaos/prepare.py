"""`python -m tests.chaos.prepare FOLDER`: a project with an open round in the site's database; prints how to get in."""

import json
import sys
from pathlib import Path

import django


def main(folder: str) -> None:
    django.setup()
    from annotate import rounds
    from annotate.accounts import tokens
    from annotate.imports import ingest
    from benchmarks.site import session_cookie
    from tests.factories import make_member, make_project, owner_of, write_jsonl

    project = make_project(labels=("card", "transfer"))
    owner, ann = owner_of(project), make_member(project, "Ann")
    path = write_jsonl(Path(folder) / "items.jsonl", [{"id": str(n), "text": f"question {n}"} for n in range(60)])
    ingest.import_items(project=project, path=path, by=owner)
    rounds.draw_round(project=project, batch=60, by=owner)
    secrets = {
        name: tokens.create(by=who, name="t", scope="manage")[1] for name, who in (("owner", owner), ("ann", ann))
    }
    print(json.dumps({"slug": project.slug, **secrets, "cookie": session_cookie(owner)}))


if __name__ == "__main__":
    main(sys.argv[1])
