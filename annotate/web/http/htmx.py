"""Decides whether a request gets a whole page or a fragment. The only module that reads HX- headers."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


class SeeOther(HttpResponseRedirect):
    """A redirect after a POST: the browser requests the page with GET."""

    status_code = 303


def wants_fragment(request: HttpRequest) -> bool:
    """Whether HTMX wants a part of the page; for a boosted link or a restored page it wants the whole."""
    htmx = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_page(
    request: HttpRequest, template: str, fragment: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """The whole `template`, or only its partial `fragment` if HTMX wants one; both have the same URL."""
    name = f"{template}#{fragment}" if wants_fragment(request) else template
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser to `url` after a POST: by a redirect, or for HTMX by its header."""
    if wants_fragment(request):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return SeeOther(url)
