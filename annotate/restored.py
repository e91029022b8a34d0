"""Decides whether this site was restored from a backup and nobody has confirmed it yet: until then no mail goes out.

The event log says so, which is in the database: all machines of a site know it, and a backup of such a site, too.
"""

from pathlib import Path
from typing import Any

from django.conf import settings

from annotate.models import Event, User
from annotate.models.event import record

RESTORED, CONFIRMED = "site.restored", "site.restore_confirmed"
_UNFINISHED = "restore.unfinished"


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
    """The file that stands in VAR_DIR while a restore writes, and stays where one was killed."""
    return Path(settings.VAR_DIR) / _UNFINISHED


def unfinished_sentence() -> str:
    """Why this site must not be served: a restore has begun and not ended; empty where none has."""
    if not unfinished_mark().exists():
        return ""
    return (
        f"A restore into {settings.VAR_DIR} did not finish. Empty its folders and the database, delete {_UNFINISHED} "
        "there, and restore again."
    )
