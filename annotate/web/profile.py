"""The page *Profile*: one's own name, time zone and address, sessions, and API tokens."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.accounts import addresses, mail, sign_in, tokens
from annotate.errors import Conflict, InvalidInput
from annotate.models import User
from annotate.models.base import database_now, time_zones
from annotate.web.forms import SCOPES, AddressForm, ProfileForm, TokenForm
from annotate.web.http.clock import OF_THE_DEVICE, UTC
from annotate.web.http.htmx import go_to

_FIELD_IDS = "new_%s"  # of the second form: both forms have a field "name"


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def show(request: HttpRequest) -> HttpResponse:
    by = _person(request)
    if request.method != "POST":
        return page(request, by)
    form = ProfileForm(request.POST)
    if form.is_valid():
        try:
            sign_in.change_profile(by=by, **form.cleaned_data)
            messages.success(request, _("Your profile is changed."))
            return go_to(request, reverse("profile-show"))
        except InvalidInput as error:
            form.add_error("name", str(error))
    return page(request, by, profile=form, status=422)


@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    n = sign_in.sign_out_elsewhere(by=_person(request), session=request.session.session_key or "")
    ended = ngettext("You were signed out in %(n)d other place.", "You were signed out in %(n)d other places.", n)
    messages.success(request, ended % {"n": n} if n else _("You were signed in nowhere else."))
    return go_to(request, reverse("profile-show"))


@require_POST
@never_cache
def create_token(request: HttpRequest) -> HttpResponse:
    """Make a token. The response itself shows the secret; showing it after a redirect would mean storing it."""
    by, form = _person(request), TokenForm(request.POST, auto_id=_FIELD_IDS)
    if not form.is_valid():
        return page(request, by, token=form, status=422)
    try:
        made, secret = tokens.create(by=by, **form.cleaned_data)
    except (InvalidInput, Conflict) as error:
        form.add_error("name" if isinstance(error, InvalidInput) else None, str(error))
        return page(request, by, token=form, status=422)
    return page(request, by, status=201, made=made, secret=secret)


@require_POST
def revoke_token(request: HttpRequest, api_token: str) -> HttpResponse:
    ended = tokens.revoke(by=_person(request), public_id=api_token)
    messages.success(request, _("The token “%(name)s” is revoked; it works no longer.") % {"name": ended.name})
    return go_to(request, reverse("profile-show"))


def page(
    request: HttpRequest,
    by: User,
    profile: ProfileForm | None = None,
    token: TokenForm | None = None,
    address: AddressForm | None = None,
    status: int = 200,
    **made: Any,
) -> HttpResponse:
    """The page, with the forms as they were sent where something in them was wrong."""
    now = database_now()
    zone = {OF_THE_DEVICE: "", UTC: "UTC"}.get(by.time_zone, by.time_zone)
    context = {
        "profile": profile or ProfileForm(initial={"name": by.name, "time_zone": zone}),
        "form": token or TokenForm(auto_id=_FIELD_IDS),
        "tokens": [{"token": one, "scope": SCOPES[one.Scope(one.scope)]} for one in tokens.live(by, now)],
        "most": tokens.MAX_LIVE,
        "zones": zones(),
        "has_mail": mail.is_set(),
        "address": address or AddressForm(auto_id="address_%s"),
        "link": addresses.open_links(by, now).last(),
        **made,
    }
    return render(request, "annotate/profile/show.html", context, status=status)


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # guaranteed by SignedInOnly
    return request.user


def zones() -> list[str]:
    """The time zones to choose from: those named after places, without hundreds of old names and offsets."""
    return sorted(zone for zone in time_zones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/")))
