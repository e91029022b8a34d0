"""The only place that looks at HX- headers: page or fragment, and messages that replace neither."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


class SeeOther(HttpResponseRedirect):
    """After a POST: the browser comes back with a GET, whatever it sent before."""

    status_code = 303


def wants_fragment(request: HttpRequest) -> bool:
    """HTMX asked for a part of the page; a boosted link or a restored page wants all of it."""
    htmx = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_page(
    request: HttpRequest, template: str, fragment: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """`template` as a whole, or only its partial `fragment` where HTMX asked; both under one URL."""
    name = f"{template}#{fragment}" if wants_fragment(request) else template
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def go_to(request: HttpRequest, url: str) -> HttpResponse:
    """After a POST: a redirect; for HTMX the same as an instruction to load that page."""
    if wants_fragment(request):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return SeeOther(url)
