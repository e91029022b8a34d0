"""Decides how every command behaves: who acts, what they may do, failures as sentences, progress bars."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from annotate import access, outages
from annotate.errors import GoldloopError
from annotate.management import readiness
from annotate.models import Project, User
from annotate.models.project import Role


class GoldloopCommand(BaseCommand):
    """Base of all commands. Subclasses write `add(parser)` and `run(options)`; a GoldloopError becomes one sentence."""

    takes_project = True
    needs = "manage"  # what the acting person must be allowed to do in the project (a key of access.MAY)

    def add_arguments(self, parser: ArgumentParser) -> None:
        if self.takes_project:
            parser.add_argument("project", metavar="PROJECT", help="short name (slug) or public id of the project")
            parser.add_argument(
                "--as",
                dest="email",
                metavar="EMAIL",
                help="who does it, for the event log and the right to; default: the project's owner",
            )
        self.add(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            if self.takes_project:
                self.by = self._acting(options["project"], options["email"])
                self.project = access.project_for(self.by, options["project"], to=self.needs)
            self.run(options)
        except GoldloopError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, OSError) as error:  # a table or column that a migration makes, perhaps; or a full disk
            if isinstance(error, DatabaseError) and (obstacle := readiness.database_obstacle()):
                raise CommandError(obstacle) from error
            if outage := outages.of(error):
                raise CommandError(f"{outage.sentence} ({error})") from error
            raise
        except KeyboardInterrupt:
            raise CommandError("Stopped. What was finished is kept; the same command goes on from there.") from None

    def add(self, parser: ArgumentParser) -> None:
        """Add the arguments of this command."""

    def run(self, options: dict[str, Any]) -> None:
        """Do the work of this command; `self.by` is the acting person, `self.project` the project, if it takes one."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Print a line to standard output."""
        try:
            self.stdout.write(text)
        except BrokenPipeError:  # the reader, such as `head`, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def progress(self, description: str, unit: str) -> Callable[[int, int | None], None]:
        """A callback (done, total) that draws a progress bar with rate and remaining time on standard error.

        In a terminal the bar disappears at the end; into a file it writes a line every ten seconds.
        """
        bars: list[Any] = []  # the bar is made at the first call: work without steps shows none

        def show(done: int, total: int | None) -> None:
            if not bars:
                moves = sys.stderr.isatty()
                bars.append(tqdm(desc=description, unit=f" {unit}", leave=False, mininterval=0.2 if moves else 10))
            (bar,) = bars
            bar.total = total
            bar.update(done - bar.n)
            if total is not None and done >= total:
                bar.close()
                bars.clear()

        return show

    @staticmethod
    def _acting(project: str, email: str | None) -> User:
        if email:
            return find_user(email)
        owner = User.objects.filter(
            memberships__role=Role.OWNER,
            memberships__project__in=Project.objects.filter(slug=project) | Project.objects.filter(public_id=project),
        ).first()
        if owner is None:
            raise CommandError(f"There is no project {project!r}. `manage.py status` lists all.")
        return owner


def find_user(email: str) -> User:
    """The user with this e-mail address; CommandError says how to make one if there is none."""
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        raise CommandError(f"There is no user {email}. Make one with `manage.py create_user {email}`.")
    return user
