"""manage.py backup: all of a site in one file."""

import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from annotate import restored
from annotate.backups import taking
from annotate.backups.archive import Manifest
from annotate.management import passphrases, readiness
from annotate.management.base import GoldloopCommand

_IN_ENVIRONMENT = (
    "  not in the archive: {names} (from the environment). Keep it yourself; the archive holds a fingerprint, by which "
    "`restore` tells whether the right one is set."
)


class Command(GoldloopCommand):
    help = (
        "Write all of the site into one file, while people work: database, stored files, exports and secrets. The "
        "file is readable by its owner only; an existing one is never overwritten. Put it back with `manage.py "
        "restore`. A name that ends in .gz or .tgz packs it."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("out", metavar="OUT", type=Path, help="the new file, for instance /backups/goldloop.tar")
        parser.add_argument("--without-secrets", action="store_true", help="leave SECRET_KEY and encryption key out")
        parser.add_argument(
            "--secrets-to", type=Path, metavar="FILE", help="write the secrets into this new file, not into the archive"
        )
        passphrases.add(parser, "encrypt the secrets")
        parser.add_argument(
            "--despite-damage",
            action="store_true",
            help="take the backup although stored files differ from what the database says of them",
        )

    def run(self, options: dict[str, Any]) -> None:
        if obstacle := restored.unfinished_sentence() or readiness.database_obstacle():
            raise CommandError(obstacle)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped; nothing was left."))  # drafts are cleared away
        manifest = taking.take(
            options["out"],
            holds_secrets=not options["without_secrets"],
            secrets_to=options["secrets_to"],
            passphrase=passphrases.read(options, twice=True),
            despite_damage=options["despite_damage"],
            show=self.progress("Backup", "B"),
        )
        self._report(options["out"], manifest)

    def _report(self, out: Path, manifest: Manifest) -> None:
        counts = ", ".join(f"{n:,} {name}" for name, n in manifest.counts.items())
        self.say(
            f"{out}: {out.stat().st_size:,} bytes, {len(manifest.members):,} files. The site at {manifest.made_at}:"
        )
        self.say(f"  {counts}")
        self.say(f"  secrets: {_WHERE[manifest.secrets['where']]}{', encrypted' * manifest.secrets['is_encrypted']}")
        in_force = manifest.secrets["in_force"]
        if given := [one["variable"] for one in in_force if one["from"] == "environment"]:
            self.say(_IN_ENVIRONMENT.format(names=", ".join(given)))
        for folder in manifest.not_included:
            self.say(f"  not in the archive: exports in {folder}")
        for name in manifest.damaged:
            self.say(f"  damaged before the backup: {name}")


_WHERE = {"inside": "in the archive", "apart": "in a file apart", "none": "left out"}
