"""manage.py create_user: make a person, or let one into a project."""

import getpass
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from annotate import access, members, projects
from annotate.accounts import addresses, sign_in
from annotate.errors import Conflict, InvalidInput
from annotate.management.base import GoldloopCommand
from annotate.models import User
from annotate.models.event import record
from annotate.models.project import Role


class Command(GoldloopCommand):
    help = (
        "Make a person who can be asked for labels, and optionally let them into a project. "
        "The password is asked for, or read from the variable PASSWORD; without one nobody can sign in as them. "
        "Run again with --project for a person who exists."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", help="their e-mail, with which they sign in")
        parser.add_argument("--name", default="", help="how they are called on pages")
        parser.add_argument("--project", help="short name of a project that they join")
        parser.add_argument(
            "--role",
            default=Role.ANNOTATOR,
            choices=[role for role in Role.values if role != Role.OWNER],
            help="what they may do there (default: annotator)",
        )
        parser.add_argument(
            "--trusted", action="store_true", help="their single answer is gold where the rule is one_trusted"
        )
        parser.add_argument(
            "--site-owner",
            action="store_true",
            help="runs this site: makes projects, registers LLM servers, helps who lost a password",
        )
        parser.add_argument(
            "--unproven",
            action="store_true",
            help="do not vouch for a new person; by default whoever runs this knows who they are, and says so",
        )
        parser.add_argument("--no-password", action="store_true", help="do not ask for a password")

    def run(self, options: dict[str, Any]) -> None:
        email = options["email"].strip().lower()
        project = None
        if options["project"]:  # first, so that a mistake here makes no user
            owner = self._acting(options["project"], None)
            project = access.project_for(owner, options["project"], to="manage")
        user = User.objects.filter(email=email).first()
        if user is None:
            user = self._create(email, options)
            if not options["unproven"]:
                user = addresses.vouch(user=user, by=None)
            self.say(f"Made the user {email}, {'address not proven' if options['unproven'] else 'vouched for'}.")
        elif not options["project"] and not options["site_owner"]:
            raise Conflict(f"There is a user {email} already.")
        if options["site_owner"] and not user.is_site_owner:
            User.objects.filter(pk=user.pk).update(is_site_owner=True)
            record("site_owner.made", project=None, by=None, user=user.public_id)
            self.say(f"{email} owns this site.")
        if project:
            given = {"role": options["role"], "is_trusted": options["trusted"], "by": owner}
            if access.membership(user, project):  # a role that may do less has consequences
                members.set_member(project=project, person=user.public_id, **given)
            else:
                projects.add_member(project=project, user=user, **given)
            trusted = ", trusted" if options["trusted"] else ""
            self.say(f"{email} is {options['role']} in {project.slug}{trusted}.")

    def _create(self, email: str, options: dict[str, Any]) -> User:
        try:
            validate_email(email)
        except ValidationError:
            raise InvalidInput(f"{email!r} is not an e-mail address.") from None
        name = sign_in.checked_name(options["name"]) if options["name"] else ""
        password = None if options["no_password"] else self._password()
        return User.objects.create_user(email, password, name=name)

    @staticmethod
    def _password() -> str | None:
        password = os.environ.get("PASSWORD") or (
            getpass.getpass("Password (empty: none): ") if sys.stdin.isatty() else ""
        )
        if not password:
            return None
        try:
            validate_password(password)
        except ValidationError as error:
            raise InvalidInput(" ".join(error.messages)) from None
        return password
