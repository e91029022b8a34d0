"""Decides what every template gets: the theme, the reader's time zone and their membership in the project."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from annotate.access import MAY
from annotate.errors import GoldloopError
from annotate.labeling import adjudication
from annotate.models import Member
from annotate.web.http.clock import chosen

_MOST_DISPUTES = 100  # the navigation counts no further
THEMES = {"light": "goldloop", "dark": "goldloop-dark"}  # by cookie; without one of these: what the system prefers


def site(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `theme`, `own_zone` (empty: the device's), and in a project also `member`, `project`,
    `may` (keys of access.MAY that the role allows) and `n_disputes`.
    """
    known = {"theme": THEMES.get(request.COOKIES.get("theme", ""), ""), "own_zone": chosen(request)}
    member = getattr(request, "member", None)
    try:
        role = member.role if member is not None else None
    except GoldloopError:  # this is the error page for somebody who is no member
        role = None
    if member is None or role is None:
        return known
    may = {name for name, roles in MAY.items() if role in roles}
    return {**known, "member": member, "project": member.project, "may": may, "n_disputes": _disputes(member)}


def _disputes(member: Member) -> Callable[[], int]:
    """A function that counts the disputes waiting for this person; templates that do not show it spare the query."""
    return lambda: adjudication.n_waiting(project=member.project, by=member.user, most=_MOST_DISPUTES)
