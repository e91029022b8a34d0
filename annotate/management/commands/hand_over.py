"""manage.py hand_over: make another member the owner of a project."""

from argparse import ArgumentParser
from typing import Any

from annotate import members
from annotate.errors import NotFound
from annotate.management.base import GoldloopCommand, find_user
from annotate.models import Project


class Command(GoldloopCommand):
    help = "Make another member the owner of a project; the owner until now becomes an admin, or leaves."
    takes_project = False  # its owner may be deactivated, and need not be asked

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", metavar="PROJECT", help="short name (slug) of the project")
        parser.add_argument("email", metavar="EMAIL", help="of the member who owns it from now on")
        parser.add_argument("--leaves", action="store_true", help="the owner until now leaves the project")

    def run(self, options: dict[str, Any]) -> None:
        new = find_user(options["email"])
        member = members.heirs(self._project(options["project"])).filter(user=new).first()
        if member is None:
            raise NotFound(f"{new.email} is no member of {options['project']} who signs in and does not own it.")
        done = members.make_owner(project=member.project, new=new, by=None, stays=not options["leaves"])
        self.say(f"{new.email} owns {done.project.slug} now.")
        old = "left" if done.left else "is an admin now"
        self.say(f"{done.old.email} {old}.")

    @staticmethod
    def _project(slug: str) -> Project:
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            raise NotFound(f"There is no project {slug!r}. `manage.py status` lists all.")
        return project
