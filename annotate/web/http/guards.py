"""Decides who gets through to a page: signed-in people only, and to a project's pages only its members, by role."""

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

ALWAYS = frozenset({"healthz", "readyz"})  # answered whatever the state of database and disk
# The only routes that answer without a sign-in. tests/web/test_routes.py tries every route.
PUBLIC_ROUTES = frozenset(
    {*ALWAYS, "sign-in", "password-forgotten", "invitation-accept", "password-reset", "theme-set"}
)


class ProjectRequest(HttpRequest):
    """The request of a view behind `project_page`, with the project's slug and the member who asks."""

    slug: str
    member: Member


def wants_json(request: HttpRequest) -> bool:
    """Whether a script of our own pages asks, which reads JSON."""
    return request.headers.get("Accept", "") == "application/json"


def client_address(request: HttpRequest) -> str:
    """The client's network address; behind our own proxy the one that the proxy saw, not one that the client claims."""
    if settings.SECURE_PROXY_SSL_HEADER:  # BEHIND_PROXY is set
        forwarded = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
        if forwarded:
            return forwarded
    return str(request.META.get("REMOTE_ADDR", ""))


def own_url(request: HttpRequest, url: str, default: str = "/") -> str:
    """`url` if it leads to this site, else `default`: no redirect of ours leads to another site."""
    is_own = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return iri_to_uri(url) if is_own else default  # for a header: ASCII without line ends


def home_of(member: Member) -> str:
    """The address of a project's first page for this member: annotators label, all others get the overview.

    Not *Label* for reviewers: opening it would lease a question that an annotator could answer.
    """
    only_answers = member.role in access.MAY["annotate"] and member.role not in access.MAY["evidence"]
    return reverse("labeling-work" if only_answers else "overview-show", args=[member.project.slug])


class SignedInOnly(LoginRequiredMiddleware):
    """Middleware: all routes but PUBLIC_ROUTES need a sign-in. Scripts and HTMX get a 401 instead of a redirect."""

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
            return HttpResponseRedirect(settings.LOGIN_URL)  # the address of an action is no page to come back to
        return super().handle_no_permission(request, view_func)


def site_page(view: View) -> View:
    """Decorator: the view is for owners of the site only. The domain functions check it too."""

    @wraps(view)
    def guarded(request: HttpRequest, **rest: Any) -> HttpResponse:
        person: Any = request.user  # signed in, by SignedInOnly
        access.require_site_owner(person)
        return view(request, **rest)

    return guarded


def project_page(to: str, *, by_domain: bool = False) -> Callable[[View], View]:
    """Decorator: the view is for members who may do `to` (a key of access.MAY); for strangers the project is a 404.

    With `by_domain` the domain function that the view calls with `request.slug` makes this check in a query of its
    own; the decorator then makes it only if the view reads `request.member`.
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
