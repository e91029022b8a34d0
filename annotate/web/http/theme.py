"""Decides the theme (light, dark, or what the system prefers): kept in a cookie, so that pages come in it at once."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from annotate.web.http.context import THEMES
from annotate.web.http.guards import own_url

_YEAR = 365 * 24 * 3600


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(status=303, headers={"Location": own_url(request, request.POST.get("next", ""))})
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        response.set_cookie("theme", chosen, max_age=_YEAR, samesite="Lax", secure=request.is_secure())
    else:
        response.delete_cookie("theme", samesite="Lax")
    return response
