"""Decides whether this site was restored from a backup and nobody has confirmed it yet: until then no mail goes out.

The event log says so, which is in the database: all machines of a site know it, and a backup of such a site, too.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.models import Event, User
from annotate.models.event import record

RESTORED, CONFIRMED = "site.restored", "site.restore_confirmed"
_UNFINISHED = "restore.unfinished"
_WRITTEN = "manage.py restore has put all in place here, and verify has not passed yet.\n"


def unconfirmed() -> Event | None:
    """The event of the restore that nobody has confirmed yet; None if there is none."""
    # By time, which the index of the site's events holds; two in one moment by their number.
    events = Event.objects.filter(project__isnull=True, kind__in=(RESTORED, CONFIRMED))
    last = events.order_by("-at", "-pk").first()
    return last if last is not None and last.kind == RESTORED else None


def mail_is_held() -> bool:
    """Whether mail must not be sent: its recipients have it already, perhaps, from the site that the backup is of."""
    return unconfirmed() is not None


def note(**facts: Any) -> Event:
    """Record that the site was restored; `facts` are counts and public ids."""
    return record(RESTORED, project=None, by=None, **facts)


def confirm(by: User | None = None, **facts: Any) -> Event:
    """Record that somebody confirmed the restore; from now on mail is sent."""
    return record(CONFIRMED, project=None, by=by, **facts)


def unfinished_mark() -> Path:
    """The file that stands in VAR_DIR until a restore is written and verified, and stays where one was killed."""
    return Path(settings.VAR_DIR) / _UNFINISHED


def mark_unfinished() -> None:
    """Say that a restore begins to write here."""
    mark = unfinished_mark()
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text("manage.py restore began here and has not ended.\n")


def mark_written() -> None:
    """Say that all of the backup is in place, and `verify` has not yet passed; whole or not at all."""
    draft = unfinished_mark().with_name(f".{_UNFINISHED}")
    draft.write_text(_WRITTEN)
    draft.replace(unfinished_mark())


def is_written() -> bool:
    """Whether a restore waits here for nothing but `verify` to pass."""
    try:
        return unfinished_mark().read_text(errors="replace") == _WRITTEN
    except OSError:
        return False


def unfinished_sentence() -> str:
    """Why this site must not be served, worked on or backed up: a restore has not ended; empty where none has begun."""
    if not unfinished_mark().exists():
        return ""
    names = {"folder": settings.VAR_DIR, "file": _UNFINISHED}
    if is_written():
        return (
            _(
                "The site in %(folder)s was restored, and `verify` has not passed since. Run `manage.py restore "
                "--verify`. To go on in spite of what it finds, delete %(file)s there."
            )
            % names
        )
    return (
        _(
            "A restore into %(folder)s did not finish. Empty its folders and the database, delete %(file)s there, and "
            "restore again."
        )
        % names
    )
