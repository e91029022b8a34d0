"""Proving and changing one's own address: the page behind a mailed link, and the buttons on the profile."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.accounts import addresses
from annotate.accounts.sign_in import TooManyAttempts, WrongPassword
from annotate.errors import Conflict, InvalidInput
from annotate.models import User
from annotate.web.accounts import private
from annotate.web.forms import AddressForm
from annotate.web.http.guards import client_address
from annotate.web.http.htmx import go_to
from annotate.web.profile import page


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def prove(request: HttpRequest, proof: str) -> HttpResponse:
    """The page behind a mailed link. GET only shows it, since mail programs open links; POST uses the link up."""
    by = _person(request)
    if request.method != "POST":
        link = addresses.find(token=proof, by=by)
        return private(render(request, "annotate/accounts/address.html", {"link": link}))
    proven = addresses.use(token=proof, by=by, client=client_address(request))
    messages.success(request, _("%(email)s is proven to be your address.") % {"email": proven.email})
    return go_to(request, reverse("profile-show"))


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Mail the link that proves the present address."""
    link = addresses.send_link(by=_person(request))
    messages.success(request, _on_its_way(link.mailed_to))
    return go_to(request, reverse("profile-show"))


@require_POST
@never_cache
def change(request: HttpRequest) -> HttpResponse:
    """Mail a link to another address, which takes the place of the present one when the link is used."""
    by, form = _person(request), AddressForm(request.POST, auto_id="address_%s")
    if not form.is_valid():
        return page(request, by, address=form, status=422)
    try:
        link = addresses.ask_for_change(by=by, client=client_address(request), **form.cleaned_data)
    except WrongPassword:
        form.add_error("password", _("This is not your password."))
        return page(request, by, address=form, status=422)
    except (InvalidInput, Conflict) as error:
        form.add_error("email", str(error))
        return page(request, by, address=form, status=422)
    except TooManyAttempts as error:
        form.add_error(None, str(error))
        response = page(request, by, address=form, status=429)
        response.headers["Retry-After"] = str(error.seconds)
        return response
    messages.success(request, _on_its_way(link.mailed_to))
    return go_to(request, reverse("profile-show"))


def _on_its_way(email: str) -> str:
    return _("A link is on its way to %(email)s. It works once, within 24 hours.") % {"email": email}


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # guaranteed by SignedInOnly
    return request.user
