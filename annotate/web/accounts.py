"""Pages to sign in and out, to change or ask for a password, and behind invitations and password links."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access
from annotate.accounts import invitations, mail, passwords, tokens
from annotate.accounts import sign_in as signing_in
from annotate.accounts.invitations import AddressTaken
from annotate.accounts.sign_in import BadName, TooManyAttempts, WrongPassword
from annotate.errors import GoldloopError, InvalidInput, NotFound
from annotate.models import Invitation, Member, User
from annotate.web.forms import ForgottenForm, Form, NewPasswordForm, NewPersonForm, PasswordForm, SignInForm, role_name
from annotate.web.http.guards import client_address, home_of, own_url
from annotate.web.http.htmx import go_to

_shown_and_sent = require_http_methods(["GET", "HEAD", "POST"])


@_shown_and_sent
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    back = own_url(request, request.POST.get("next") or request.GET.get("next", ""))
    if request.user.is_authenticated:
        return redirect(back)
    form, status = SignInForm(_posted(request)), 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                login(request, signing_in.verify(client=client_address(request), **form.cleaned_data))
                return go_to(request, back)
            except (WrongPassword, TooManyAttempts) as error:
                status = _refuse(form, None, error)
    return _form_page(request, "annotate/accounts/sign_in.html", form, status, back=back, has_mail=mail.is_set())


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    back = own_url(request, request.POST.get("next", ""), default=reverse("sign-in"))
    logout(request)
    return go_to(request, back)


@_shown_and_sent
@never_cache
def forgotten_password(request: HttpRequest) -> HttpResponse:
    """Ask for a link by mail. Neither the answer nor its time tells whether the address has an account."""
    form, status, asked = ForgottenForm(_posted(request)), 200, False
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                passwords.ask(client=client_address(request), **form.cleaned_data)
                status, asked = 200, True
            except TooManyAttempts as error:
                status = _refuse(form, None, error)
    context = {"asked": asked, "has_mail": mail.is_set()}
    return _form_page(request, "annotate/accounts/forgotten.html", form, status, **context)


@_shown_and_sent
@never_cache
def change_password(request: HttpRequest) -> HttpResponse:
    form, status, by = PasswordForm(_posted(request)), 200, _person(request)
    assert by is not None  # guaranteed by SignedInOnly
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                _change_password(request, form, by)
                return go_to(request, reverse("profile-show"))
            except WrongPassword:
                status = _refuse(form, "old", InvalidInput(_("This is not your password.")))
            except (InvalidInput, TooManyAttempts) as error:
                status = _refuse(form, "new" if isinstance(error, InvalidInput) else None, error)
    return _form_page(request, "annotate/accounts/password.html", form, status, n_tokens=tokens.live(by).count())


@_shown_and_sent
@never_cache
def reset_password(request: HttpRequest, reset: str) -> HttpResponse:
    """The page behind a password link. GET only shows it; POST uses the link up, and the person then signs in."""
    form, status = NewPasswordForm(_posted(request)), 200
    if request.method == "POST":
        status = 422
        with signing_in.guessing(failures=NotFound, client=client_address(request)):
            passwords.find(token=reset)
        if form.is_valid():
            try:
                user = passwords.use(token=reset, new=form.cleaned_data["new"], client=client_address(request))
                messages.success(request, _("The new password for %(email)s is set.") % {"email": user.email})
                return go_to(request, reverse("sign-in"))
            except InvalidInput as error:
                status = _refuse(form, "new", error)
    return private(_form_page(request, "annotate/accounts/reset.html", form, status, link=passwords.find(token=reset)))


def _change_password(request: HttpRequest, form: PasswordForm, by: User) -> None:
    old, new, ends_tokens = (form.cleaned_data[name] for name in ("old", "new", "ends_tokens"))
    session = request.session.session_key or ""
    client = client_address(request)
    n_ended = passwords.change(by=by, old=old, new=new, client=client, session=session, ends_tokens=ends_tokens)
    update_session_auth_hash(request, by)  # keep this session; all others end
    said = _("Your password is changed. You were signed out everywhere else.")
    if n_ended:
        ended = ngettext("%(n)d token for programs ended.", "%(n)d tokens for programs ended.", n_ended)
        said = f"{said} {ended % {'n': n_ended}}"
    messages.success(request, said)


@_shown_and_sent
@never_cache
def accept_invitation(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind an invitation. GET only shows it, since mail programs open links; POST uses the link up."""
    by = _person(request)
    if request.method != "POST":
        invitation = invitations.find(token=token, by=by)
        return _invitation_page(request, invitation, by, NewPersonForm(email=invitation.email))
    with signing_in.guessing(failures=NotFound, client=client_address(request)):
        invitation = invitations.find(token=token, by=by)
    form, status = NewPersonForm(request.POST, email=invitation.email), 422
    try:
        if member := _join(request, invitation, form, by):
            return go_to(request, home_of(member))
    except (InvalidInput, TooManyAttempts) as error:
        status = _refuse(form, _field_of(error), error)
    return _invitation_page(request, invitation, by, form, status)


def _join(request: HttpRequest, invitation: Invitation, form: NewPersonForm, by: User | None) -> Member | None:
    """Accept the invitation, and sign a new person in; returns the membership, or None if the form has errors."""
    if by:
        return invitations.accept(invitation=invitation, by=by)
    if not form.is_valid():
        return None
    # Otherwise whoever holds a link could ask, for any address, whether it has an account.
    with signing_in.guessing(failures=AddressTaken, client=client_address(request)):
        member = invitations.accept_as_new(invitation=invitation, **form.cleaned_data)
    login(request, member.user)
    return member


def _invitation_page(
    request: HttpRequest, invitation: Invitation, by: User | None, form: Form, status: int = 200
) -> HttpResponse:
    member = access.membership(by, invitation.project) if by else None
    context = {
        "invitation": invitation,
        "role": role_name(invitation.role),
        "already": role_name(member.role) if member else "",
        "home": home_of(member) if member else "",
        "is_for_other": by and invitation.email not in ("", by.email),
    }
    return private(_form_page(request, "annotate/accounts/invitation.html", form, status, **context))


def private(response: HttpResponse) -> HttpResponse:
    """Keep the token out of the Referer header, also for our own pages.

    "no-referrer" would also remove the Origin header, which the CSRF check needs.
    """
    response.headers["Referrer-Policy"] = "strict-origin"
    return response


def _posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _person(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None


def _field_of(error: GoldloopError) -> str | None:
    if isinstance(error, TooManyAttempts):
        return None
    if isinstance(error, BadName):
        return "name"
    return "email" if isinstance(error, AddressTaken) else "password"


def _refuse(form: Form, field: str | None, error: GoldloopError) -> int:
    """Add the error's sentence to the field (None: to the form as a whole); returns the response's status."""
    form.add_error(field, str(error))
    if not isinstance(error, TooManyAttempts):
        return 422
    form.retry_after = error.seconds
    return 429


def _form_page(request: HttpRequest, template: str, form: Form, status: int, **context: Any) -> HttpResponse:
    response = render(request, template, {"form": form, **context}, status=status)
    if form.retry_after:
        response.headers["Retry-After"] = str(form.retry_after)
    return response
