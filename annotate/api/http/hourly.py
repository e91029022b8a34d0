"""Limits by the hour on starting imports and exports, counted by the rows of their runs, which all machines share.

Endpoints call `check` after the body is read (which says what kind of run is started) and after a repetition with the
same idempotency key was answered (which starts nothing): both are too late for a throttle class.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate.api.http.throttling import TooOften
from annotate.models.base import database_now

_HOUR = timedelta(hours=1)


def check(rows: QuerySet[Any], kind: str) -> None:
    """TooOften if `rows` holds as many rows of the last hour as settings.API_HOURLY allows for this kind of run."""
    limit, now = settings.API_HOURLY[kind], database_now()
    recent = rows.filter(created_at__gt=now - _HOUR).order_by("-created_at")
    times = list(recent.values_list("created_at", flat=True)[:limit])
    if len(times) < limit:
        return
    sentence = _("That is enough of these for this hour. Try again in %(n)d s.")
    raise TooOften((times[-1] + _HOUR - now).total_seconds(), sentence)
