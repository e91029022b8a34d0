"""Decides how a command is told a passphrase: by the first line of a file, or by a prompt; never by its arguments."""

import getpass
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

_SHORTEST = 12


def add(parser: ArgumentParser, what: str) -> None:
    """Add the two options; `what` they are for."""
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help=f"{what} with the first line of this file")
    parser.add_argument("--passphrase", action="store_true", help=f"{what} with a passphrase, which is asked for")


def read(options: dict[str, Any], *, twice: bool = False) -> str | None:
    """The passphrase; None if neither option is there. `twice`: a new one, which must be long and typed twice alike."""
    path = options["passphrase_file"]
    if path:
        try:
            found = path.read_text().partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}.") from None
    elif options["passphrase"]:
        found = getpass.getpass("Passphrase: ")
        if twice and getpass.getpass("Again: ") != found:
            raise CommandError("The two differ; nothing was done.")
    else:
        return None
    if twice and len(found) < _SHORTEST:
        raise CommandError(f"The passphrase is too short: give at least {_SHORTEST} characters.")
    return str(found)
