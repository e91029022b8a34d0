"""What every page knows: the theme and the membership that opened it."""

from typing import Any

from django.http import HttpRequest

from annotate.access import MAY
from annotate.errors import GoldloopError

THEMES = {"light": "goldloop", "dark": "goldloop-dark"}  # anything else: what the system prefers


def site(request: HttpRequest) -> dict[str, Any]:
    """`theme` for <html>, and in a project `member`, `project` and `may` (what the role allows)."""
    theme = THEMES.get(request.COOKIES.get("theme", ""), "")
    member = getattr(request, "member", None)
    try:
        role = member.role if member is not None else None
    except GoldloopError:  # this very page says that they do not belong here
        role = None
    if member is None or role is None:
        return {"theme": theme}
    may = {name for name, roles in MAY.items() if role in roles}
    return {"theme": theme, "member": member, "project": member.project, "may": may}
