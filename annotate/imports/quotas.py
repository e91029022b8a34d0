"""Decides how much may be sent to a project in one day, which is a day of UTC: so many files, and so many bytes.

Files that were discarded count, too, and so does what is being sent at this moment: its room is reserved before a byte
of it is stored. A reservation that a crash left behind counts for a day.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Count, Sum
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import QuotaReached
from annotate.models import Project, UploadReservation, User
from annotate.models.base import database_now

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Usage:
    """What was sent to a project today, and what may be."""

    n_files: int
    n_bytes: int
    most_files: int
    most_bytes: int
    opens_at: datetime  # when the next day begins


def usage(project: Project) -> Usage:
    """What was sent to the project today, with what is being sent."""
    now = database_now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    sums = {"n_files": Count("pk"), "n_bytes": Sum("n_bytes", default=0)}
    sent = project.uploads.filter(created_at__gte=today).aggregate(**sums)
    coming = project.upload_reservations.filter(created_at__gt=now - _DAY).aggregate(**sums)
    return Usage(
        **{name: sent[name] + coming[name] for name in sums},
        most_files=settings.UPLOAD_DAILY_FILES,
        most_bytes=settings.UPLOAD_DAILY_BYTES,
        opens_at=today + _DAY,
    )


@contextmanager
def reserved(*, project: Project, by: User, n_bytes: int) -> Iterator[UploadReservation]:
    """Room for one file of at most so many bytes, as long as the body is at work; QuotaReached where there is none.

    The body deletes the reservation in the transaction that stores the row of the file.
    """
    access.require(by, project, to="manage")
    room = _reserve(project, n_bytes)
    try:
        yield room
    except BaseException:
        with suppress(DatabaseError):  # what the body met says more; a reservation that stays counts for a day
            _give_back(room)
        raise
    _give_back(room)


def _give_back(room: UploadReservation) -> None:
    """Delete the reservation, if the body did not."""
    UploadReservation.objects.filter(pk=room.pk).delete()


def sweep() -> int:
    """Delete reservations that a crash left behind and that count no more; returns how many."""
    return UploadReservation.objects.filter(created_at__lte=database_now() - _DAY).delete()[0]


@transaction.atomic
def _reserve(project: Project, n_bytes: int) -> UploadReservation:
    Project.objects.select_for_update().only("pk").get(pk=project.pk)  # one after the other: each sees those before
    used = usage(project)
    if used.n_files >= used.most_files or used.n_bytes + n_bytes > used.most_bytes:
        seconds = max(1, round((used.opens_at - database_now()).total_seconds()))
        raise QuotaReached(_sentence(used, n_bytes), seconds)
    return UploadReservation.objects.create(project=project, n_bytes=n_bytes)


def _sentence(used: Usage, n_bytes: int) -> str:
    sentence = _(
        "No more can be sent to this project today. Files: %(n_files)s of %(most_files)s. Megabytes: %(n_bytes)s of "
        "%(most_bytes)s; this file has up to %(wanted)s. The next day begins at %(opens_at)s (UTC)."
    )
    megabytes = {"most_bytes": used.most_bytes, "n_bytes": used.n_bytes, "wanted": n_bytes}
    return sentence % {
        **{name: number_format(round(value / 1e6, 1), force_grouping=True) for name, value in megabytes.items()},
        "most_files": number_format(used.most_files, force_grouping=True),
        "n_files": number_format(used.n_files, force_grouping=True),
        "opens_at": used.opens_at.strftime("%Y-%m-%d %H:%M"),
    }
