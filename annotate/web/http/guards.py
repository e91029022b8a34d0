"""Who gets through: everybody signs in, and a project's pages open only through its membership."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.encoding import iri_to_uri
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme

from annotate import access
from annotate.models import Member
from annotate.web.http.htmx import wants_fragment

View = Callable[..., HttpResponse]

# Everything that answers without a sign-in; all other routes are denied. tests/web/test_routes.py walks them all.
PUBLIC_ROUTES = frozenset({"healthz", "sign-in", "invitation-accept", "password-reset", "theme-set"})


class ProjectRequest(HttpRequest):
    """What a view behind `project_page` gets: the request with the membership that let it in."""

    slug: str
    member: Member


def wants_json(request: HttpRequest) -> bool:
    """A script of ours asks, which reads sentences from JSON."""
    return request.headers.get("Accept", "") == "application/json"


def client_address(request: HttpRequest) -> str:
    """Where the request came from; behind our own proxy what that proxy saw, never what the client claims."""
    if settings.SECURE_PROXY_SSL_HEADER:  # BEHIND_PROXY is set
        seen = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
        if seen:
            return seen
    return str(request.META.get("REMOTE_ADDR", ""))


def own_url(request: HttpRequest, url: str, default: str = "/") -> str:
    """`url` where it leads to this site, else `default`: nobody is sent elsewhere by a link they trusted."""
    is_own = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return iri_to_uri(url) if is_own else default  # it becomes a header: no line ends, only ASCII


def home_of(member: Member) -> str:
    """Where a project begins for this person: with questions, or with an overview for who decides or only reads.

    A reviewer who comes to decide must not take a question from an annotator by arriving.
    """
    only_answers = member.role in access.MAY["annotate"] and member.role not in access.MAY["evidence"]
    return reverse("labeling-work" if only_answers else "overview-show", args=[member.project.slug])


class SignedInOnly(LoginRequiredMiddleware):
    """Deny by default. Scripts and HTMX get an answer they can act on instead of a redirected page."""

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        if match is not None and match.url_name in PUBLIC_ROUTES:
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> HttpResponseBase:  # type: ignore[override]
        if wants_json(request):
            return JsonResponse({"error": {"kind": "signed_out", "sign_in": reverse("sign-in")}}, status=401)
        if wants_fragment(request):
            here = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
            return HttpResponse(status=401, headers={"HX-Redirect": f"{settings.LOGIN_URL}?next={quote(here)}"})
        if request.method not in ("GET", "HEAD"):
            return HttpResponseRedirect(settings.LOGIN_URL)  # an action's address is no page to come back to
        return super().handle_no_permission(request, view_func)


def project_page(to: str, *, by_domain: bool = False) -> Callable[[View], View]:
    """The view opens for members who may do `to` (access.MAY); to all others the project does not exist.

    With `by_domain` the domain function that gets `request.slug` checks the same in a query of its own, and the
    door does so only once `request.member` is looked at.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: ProjectRequest, slug: str, **rest: Any) -> HttpResponse:
            request.slug = slug
            person: Any = request.user
            if by_domain:
                request.member = SimpleLazyObject(lambda: access.member_of(person, slug, to=to))  # type: ignore[assignment]
            else:
                request.member = access.member_of(person, slug, to=to)
            return view(request, **rest)

        guarded.needs = to  # type: ignore[attr-defined]  # the route test reads it
        return guarded

    return decorate
