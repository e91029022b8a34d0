"""manage.py connection: register, test and lend LLM servers."""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from annotate import access
from annotate.management.base import GoldloopCommand, find_user
from annotate.management.commands.set_budget import micros
from annotate.models import Connection, User
from annotate.silver import connections


class Command(GoldloopCommand):
    help = (
        "LLM servers of this site: list them, add one, ask one a question, lend one to a project. The key is read from "
        "the variable LLM_KEY, so that it is in no list of processes and no history."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as", dest="email", metavar="EMAIL", help="an owner of the site; default: the first")
        does = parser.add_subparsers(dest="what", required=True)
        does.add_parser("list", help="show all")
        new = does.add_parser("add", help="register one; its key is in LLM_KEY")
        new.add_argument("name", metavar="NAME")
        new.add_argument("base_url", metavar="URL", help="up to and with /v1")
        new.add_argument("model", metavar="MODEL")
        new.add_argument("--input-price", metavar="AMOUNT", help="for a million tokens; nothing is asked without")
        new.add_argument("--output-price", metavar="AMOUNT", help="for a million tokens")
        new.add_argument("--currency", default="USD")
        new.add_argument("--concurrency", type=int, default=8, help="requests at the same time (8)")
        new.add_argument("--per-minute", type=int, help="requests in a minute, where the server limits them")
        new.add_argument("--timeout", type=int, default=60, metavar="SECONDS")
        new.add_argument("--private", action="store_true", help="it may lie at a private address")
        for what, help_ in (("test", "ask it a small question"), ("lend", "let a project use it")):
            one = does.add_parser(what, help=help_)
            one.add_argument("connection", metavar="CONNECTION", help="its name")
            if what == "lend":
                one.add_argument("project", metavar="PROJECT")
                one.add_argument("--choose", action="store_true", help="and let the project ask it from now on")

    def run(self, options: dict[str, Any]) -> None:
        self.by = find_user(options["email"]) if options["email"] else _site_owner()
        {"list": self._list, "add": self._add, "test": self._test, "lend": self._lend}[options["what"]](options)

    def _list(self, options: dict[str, Any]) -> None:
        for row in connections.all_of_site(self.by):
            key = f"key …{row.key_hint}" if row.key_encrypted else "no key"
            lent = ", ".join(sorted(project.slug for project in row.lent_to.all())) or "nobody"
            state = "" if row.is_active else ", switched off"
            self.say(f"{row.name}: {row.model} at {row.base_url}, {key}, lent to {lent}{state}")

    def _add(self, options: dict[str, Any]) -> None:
        prices = {name: micros(options[name] or "none") for name in ("input_price", "output_price")}
        row = connections.create(
            name=options["name"],
            base_url=options["base_url"],
            model=options["model"],
            key=os.environ.get("LLM_KEY", ""),
            currency=options["currency"],
            input_price_micros=prices["input_price"],
            output_price_micros=prices["output_price"],
            max_concurrency=options["concurrency"],
            requests_per_minute=options["per_minute"],
            timeout_seconds=options["timeout"],
            allows_private=options["private"],
            by=self.by,
        )
        self.say(f"{row.name} is registered. `manage.py connection lend {row.name} PROJECT` lets a project use it.")

    def _test(self, options: dict[str, Any]) -> None:
        found = connections.test(connection=_named(options["connection"]), by=self.by)
        if not found.is_usable:
            raise CommandError(found.sentence)
        self.say(found.sentence)

    def _lend(self, options: dict[str, Any]) -> None:
        row, owner = _named(options["connection"]), self._acting(options["project"], None)
        project = access.project_for(owner, options["project"], to="manage")
        connections.lend(connection=row, project=project, by=self.by)
        if options["choose"]:
            connections.choose(project=project, connection=row, by=owner)
        self.say(f"{project.slug} may use {row.name}" + (", and does." if options["choose"] else "."))


def _named(name: str) -> Connection:
    row = connections.named(name).first()
    if row is None:
        raise CommandError(f"There is no connection {name!r}; `manage.py connection list` shows all.")
    return row


def _site_owner() -> User:
    owner = User.objects.filter(is_site_owner=True, is_active=True).order_by("pk").first()
    if owner is None:
        raise CommandError("This site has no owner yet; make one with `manage.py create_user --site-owner`.")
    return owner
