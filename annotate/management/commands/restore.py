"""manage.py restore: put a site back from a backup, check a backup, or verify or confirm a restored site."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError

from annotate import restored
from annotate.backups import aftermath, checking, restoring
from annotate.backups.archive import Manifest
from annotate.management import passphrases
from annotate.management.base import GoldloopCommand
from annotate.models import Project


class Command(GoldloopCommand):
    help = (
        "Put a site back from a file that `manage.py backup` wrote: into an empty database of the same kind and empty "
        "folders (DATABASE_URL, VAR_DIR, FILES_DIR). Then `verify` runs for each project; until it has passed, the "
        "site is not served. Leases and sessions are ended, paid runs paused, and no mail is sent until --confirm. "
        "--check only reads the backup, all of it."
    )
    takes_project = False

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument("archive", metavar="IN", type=Path, nargs="?", help="the backup")
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check", action="store_true", help="only read the backup and say whether it can be restored"
        )
        what.add_argument(
            "--verify",
            action="store_true",
            help="verify this restored site again: that was stopped, or found something",
        )
        what.add_argument(
            "--confirm", action="store_true", help="this restored site is the one now: send mail, resume paid runs"
        )
        parser.add_argument("--secrets", type=Path, metavar="FILE", help="the file that `backup --secrets-to` wrote")
        parser.add_argument(
            "--without-secrets",
            action="store_true",
            help="the secrets are lost: go on without, and delete the keys of LLM servers, which nobody can read",
        )
        passphrases.add(parser, "open the secrets")

    def run(self, options: dict[str, Any]) -> None:
        if bool(options["archive"]) == (options["confirm"] or options["verify"]):
            raise CommandError("Give a backup to restore or check, or --verify or --confirm for a restored site.")
        if options["confirm"]:
            self._confirm()
        elif options["verify"]:
            self._verify_again()
        elif options["check"]:
            self._check(options)
        else:
            self._restore(options)

    def _check(self, options: dict[str, Any]) -> None:
        passphrase = passphrases.read(options)
        checked = checking.check(options["archive"], passphrase=passphrase, show=self.progress("Check", "B"))
        self._describe(checked.manifest)
        if checked.n_older:
            self.say(f"  older than this version: restoring it applies {checked.n_older} more migrations")
        self.say("Whole, and this version can restore it.")

    def _restore(self, options: dict[str, Any]) -> None:
        manifest, ended = restoring.restore(
            options["archive"],
            secrets_file=options["secrets"],
            without_secrets=options["without_secrets"],
            passphrase=passphrases.read(options),
            show=self.progress("Restore", "B"),
        )
        self._describe(manifest)
        self.say(
            f"Ended: {ended.n_leases} leases, {ended.n_sessions} sessions, {ended.n_written_off} calls in flight "
            f"(written off); {len(ended.paused)} paid runs paused, {ended.n_runs} given back to the queue or ended."
        )
        if ended.keys_forgotten:
            self.say(f"Keys of LLM servers that were deleted, to be entered again: {len(ended.keys_forgotten)}.")
        self._verify()

    def _verify_again(self) -> None:
        if not restored.is_written():
            raise CommandError(restored.unfinished_sentence() or "No restored site waits here to be verified.")
        self._verify()

    def _verify(self) -> None:
        """Let the site be served if `verify` finds nothing in any project; CommandError says how to go on otherwise."""
        if violations := self._violations():
            found = "\n".join(violations)
            raise CommandError(f"Restored, but `verify` found:\n{found}\n{restored.unfinished_sentence()}")
        restored.unfinished_mark().unlink(missing_ok=True)
        self.say("Restored. Mail is held, and paid runs wait, until `manage.py restore --confirm`.")

    def _violations(self) -> list[str]:
        violations = []
        for project in Project.objects.order_by("slug"):
            self.say(f"verify {project.slug}")
            try:
                call_command("verify", project.slug, stdout=self.stdout)
            except CommandError as error:
                violations.append(f"{project.slug}: {error}")
        return violations

    def _confirm(self) -> None:
        if sentence := restored.unfinished_sentence():
            raise CommandError(sentence)
        n_resumed, others = aftermath.confirm()
        self.say(f"Confirmed: mail is sent again; {n_resumed} paid runs go on.")
        for sentence in others:
            self.stderr.write(f"not resumed: {sentence}")

    def _describe(self, manifest: Manifest) -> None:
        counts = ", ".join(f"{n:,} {name}" for name, n in manifest.counts.items())
        self.say(f"A site on {manifest.database['kind']} at {manifest.made_at}: {counts}")
        for folder in manifest.not_included:
            self.say(f"  not in the backup: exports in {folder}")
        for name in manifest.damaged:
            self.say(f"  damaged before the backup: {name}")
