"""What every page knows: the theme, its reader's time zone and the membership that opened it."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from annotate.access import MAY
from annotate.errors import GoldloopError
from annotate.labeling import adjudication
from annotate.models import Member
from annotate.web.http.clock import chosen

_MOST_DISPUTES = 100  # counted for the navigation
THEMES = {"light": "goldloop", "dark": "goldloop-dark"}  # anything else: what the system prefers


def site(request: HttpRequest) -> dict[str, Any]:
    """`theme` and `own_zone` (empty: the device's) for <html>; in a project `member`, `project` and `may`, by role."""
    known = {"theme": THEMES.get(request.COOKIES.get("theme", ""), ""), "own_zone": chosen(request)}
    member = getattr(request, "member", None)
    try:
        role = member.role if member is not None else None
    except GoldloopError:  # this very page says that they do not belong here
        role = None
    if member is None or role is None:
        return known
    may = {name for name, roles in MAY.items() if role in roles}
    return {**known, "member": member, "project": member.project, "may": may, "n_disputes": _disputes(member)}


def _disputes(member: Member) -> Callable[[], int]:
    """How many questions wait for this person's decision, asked for only where a page shows it."""
    return lambda: adjudication.n_waiting(project=member.project, by=member.user, most=_MOST_DISPUTES)
