"""manage.py account: vouch for an account, deactivate it, or open it again."""

from argparse import ArgumentParser
from typing import Any

from annotate import deactivation
from annotate.accounts import addresses
from annotate.errors import InvalidInput
from annotate.management.base import GoldloopCommand, find_user
from annotate.models import User
from annotate.templatetags.proofs import WORDS


class Command(GoldloopCommand):
    help = "Say what is known of an account, vouch for it, deactivate it or open it again."
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", help="with which they sign in")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--vouch", action="store_true", help="you know who holds the account")
        what.add_argument("--take-back", action="store_true", help="nobody vouches for it any more")
        what.add_argument(
            "--deactivate",
            action="store_true",
            help="sign it out everywhere, end its tokens and links, give back what it holds, pause its runs",
        )
        what.add_argument("--reactivate", action="store_true", help="open it again; what ended stays ended")
        parser.add_argument(
            "--hand-over",
            action="append",
            default=[],
            metavar="PROJECT=EMAIL",
            help="with --deactivate: who owns a project of theirs from now on; once for each",
        )

    def run(self, options: dict[str, Any]) -> None:
        user = find_user(options["email"])
        if options["vouch"]:
            user = addresses.vouch(user=user, by=None)
        elif options["take_back"]:
            user = addresses.take_back_vouch(user=user, by=None)
        elif options["deactivate"]:
            user = self._deactivate(user, options["hand_over"])
        elif options["reactivate"]:
            user = deactivation.reactivate(user=user, by=None)
        state = "" if user.is_active else ", deactivated"
        self.say(f"{user.email}: {WORDS[user.proof]}{state}.")

    def _deactivate(self, user: User, heirs: list[str]) -> User:
        if wrong := [one for one in heirs if one.count("=") != 1]:
            raise InvalidInput(f"{wrong[0]!r} does not read PROJECT=EMAIL.")
        named = dict(one.split("=") for one in heirs)
        chosen = {slug: find_user(email).public_id for slug, email in named.items()}
        done = deactivation.deactivate(user=user, by=None, heirs=chosen)
        self.say(
            f"Ended: {done.n_sessions} sessions, {done.n_tokens} tokens, {done.n_invitations} invitations, "
            f"{done.n_links} links. Given back: {done.n_leases} held items. Paused: {len(done.runs)} runs."
        )
        for one in done.handed_over:
            self.say(f"{one.new.email} owns {one.project.slug} now.")
        user.refresh_from_db()
        return user
