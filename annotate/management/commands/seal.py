"""manage.py seal: seal at once what waits, and print the heads of the chains."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from annotate.management.base import GoldloopCommand
from annotate.models import Project
from annotate.seals import chain, sealing


class Command(GoldloopCommand):
    help = (
        "Seal what no seal holds yet, in the chains of these projects (all projects and the site by default), and "
        "print each chain's head: keep it elsewhere, and `verify --head` proves by it that nothing sealed was "
        "rewritten since. The worker seals by itself each minute."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("projects", nargs="*", metavar="PROJECT", help="short name (slug) or public id")

    def run(self, options: dict[str, Any]) -> None:
        chosen: list[Project | None] = [_project(name) for name in options["projects"]]
        chosen = chosen or [None, *Project.objects.order_by("slug")]
        n_refused = sum(self._seal(project) for project in chosen)
        if n_refused:
            raise CommandError("Changes that nothing explains were not sealed; `manage.py verify` names them, too.")

    def _seal(self, project: Project | None) -> int:
        """Seal one chain; returns how many changes were refused."""
        done = sealing.seal_all(project)
        head = chain.head_of(project)
        name = project.slug if project else "site"
        if head is None:
            self.say(f"{name}: nothing to seal")
            return len(done.refused)
        self.say(
            f"{name}: seal {head.sequence:,} of {head.created_at:%Y-%m-%d %H:%M} UTC, {done.n_rows:,} rows newly sealed"
        )
        self.say(f"  {head.hash}")
        for sentence in done.refused:
            self.say(f"  not sealed: {sentence}")
        return len(done.refused)


def _project(name: str) -> Project:
    found = Project.objects.filter(slug=name).first() or Project.objects.filter(public_id=name).first()
    if found is None:
        raise CommandError(f"There is no project {name!r}. `manage.py status` lists all.")
    return found
