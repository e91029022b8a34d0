"""manage.py rotate_keys: encrypt stored secrets with the newest key."""

from typing import Any

from annotate.management.base import GoldloopCommand
from annotate.silver import connections


class Command(GoldloopCommand):
    help = (
        "Encrypt the keys of all LLM connections under the first of FIELD_ENCRYPTION_KEYS. To replace a key: put a new "
        "one in front of the list, run this, then take the old one away."
    )
    takes_project = False

    def run(self, options: dict[str, Any]) -> None:
        n = connections.rotate_keys()
        self.say(f"{n} {'key is' if n == 1 else 'keys are'} encrypted under the first of FIELD_ENCRYPTION_KEYS.")
