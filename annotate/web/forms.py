"""Forms of accounts and people, and the words for their choices."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_texts
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from annotate.accounts import mail
from annotate.accounts.invitations import GIVABLE, MAX_DAYS
from annotate.accounts.tokens import MAX_DAYS as MAX_TOKEN_DAYS
from annotate.models import ApiToken
from annotate.models.base import time_zones
from annotate.models.project import Role
from annotate.web.http.clock import OF_THE_DEVICE, UTC

ROLES = {
    Role.OWNER: _("Owner"),
    Role.ADMIN: _("Admin"),
    Role.REVIEWER: _("Reviewer"),
    Role.ANNOTATOR: _("Annotator"),
    Role.VIEWER: _("Viewer"),
}
DUTIES = {
    Role.ADMIN: _("Admin: manages people and runs, answers questions"),
    Role.REVIEWER: _("Reviewer: answers questions, decides disagreements, sees the figures"),
    Role.ANNOTATOR: _("Annotator: answers questions"),
    Role.VIEWER: _("Viewer: sees the figures, downloads exports"),
}


SCOPES = {
    ApiToken.Scope.READ: _("Read what you may see"),
    ApiToken.Scope.ANNOTATE: _("Read, and answer questions as you"),
    ApiToken.Scope.MANAGE: _("All that you may do in your projects"),
}


def role_name(role: str) -> str:
    """A role in the reader's language."""
    return str(ROLES[Role(role)])


_password_rules: Callable[[], Any] = lazy(lambda: " ".join(map(str, password_validators_help_texts())), str)


def _password(label: Any, autocomplete: str, help_text: Any = "") -> forms.CharField:
    widget = forms.PasswordInput(attrs={"class": "input w-full", "autocomplete": autocomplete})
    return forms.CharField(label=label, help_text=help_text, max_length=1000, strip=False, widget=widget)


def _email(label: Any, required: bool = True, help_text: Any = "", **attrs: Any) -> forms.EmailField:
    widget = forms.EmailInput(attrs={"class": "input w-full", **attrs})
    return forms.EmailField(label=label, required=required, help_text=help_text, max_length=254, widget=widget)


class Form(forms.Form):
    retry_after = 0  # seconds until the next try, after too many

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class SignInForm(Form):
    email = _email(_("E-mail address"), autocomplete="username", autofocus=True)
    password = _password(_("Password"), "current-password")


class ForgottenForm(Form):
    email = _email(
        _("E-mail address"), autocomplete="username", autofocus=True, help_text=_("The one with which you sign in.")
    )


class AddressForm(Form):
    email = _email(
        _("New address"), autocomplete="off", help_text=_("A link is sent there; once you use it, you sign in with it.")
    )
    password = _password(_("Your password"), "current-password")


class NewPasswordForm(Form):
    new = _password(_("New password"), "new-password", _password_rules())
    again = _password(_("New password again"), "new-password")

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if self.cleaned_data.get("new") not in (None, again):
            raise forms.ValidationError(_("The two new passwords differ."))
        return again


class PasswordForm(NewPasswordForm):
    old = _password(_("Your password until now"), "current-password")
    ends_tokens = forms.BooleanField(
        label=_("End my tokens for programs, too"),
        required=False,
        help_text=_("If somebody else may have known the password, they may have made one."),
        widget=forms.CheckboxInput(attrs={"class": "checkbox"}),
    )
    field_order = ("old", "new", "again", "ends_tokens")


class ProfileForm(Form):
    name = forms.CharField(
        label=_("Your name"),
        max_length=150,
        widget=forms.TextInput(attrs={"class": "input w-full", "autocomplete": "name"}),
        help_text=_("Shown to those who manage your projects."),
    )
    time_zone = forms.CharField(
        label=_("Time zone"),
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"class": "input w-full", "list": "time-zones", "autocomplete": "off"}),
        help_text=_("For instance Europe/Berlin. Empty: as the device says on which you read."),
    )

    def clean_time_zone(self) -> str:
        zone: str = self.cleaned_data["time_zone"]
        if zone and zone not in time_zones():
            raise forms.ValidationError(_("There is no such time zone; choose one of the list."))
        return {"": OF_THE_DEVICE, "UTC": UTC}.get(zone, zone)


class TokenForm(Form):
    name = forms.CharField(
        label=_("What it is for"),
        max_length=100,
        widget=forms.TextInput(attrs={"class": "input w-full", "autocomplete": "off"}),
    )
    scope = forms.ChoiceField(
        label=_("What it may do"),
        choices=[(scope.value, words) for scope, words in SCOPES.items()],
        initial=ApiToken.Scope.READ.value,
        widget=forms.Select(attrs={"class": "select w-full"}),
    )
    days = forms.IntegerField(
        label=_("Valid for days"),
        initial=90,
        min_value=1,
        max_value=MAX_TOKEN_DAYS,
        widget=forms.NumberInput(attrs={"class": "input w-full"}),
    )


class NewPersonForm(Form):
    """For whoever accepts an invitation without an account; an address named by the invitation is fixed."""

    name = forms.CharField(
        label=_("Your name"),
        max_length=150,
        widget=forms.TextInput(attrs={"class": "input w-full", "autocomplete": "name"}),
        help_text=_("Shown to those who manage the project."),
    )
    email = _email(_("E-mail address"), autocomplete="username", help_text=_("You sign in with it."))
    password = _password(_("Choose a password"), "new-password", _password_rules())

    def __init__(self, *args: Any, email: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if email:
            self.fields["email"].required = False  # the invitation's address is used, whatever is sent
            self.fields["email"].widget.attrs["readonly"] = True
            self.initial["email"] = email


class InviteForm(Form):
    role = forms.ChoiceField(
        label=_("Role"),
        choices=[(role.value, DUTIES[role]) for role in reversed(GIVABLE)],
        initial=Role.ANNOTATOR.value,
        widget=forms.Select(attrs={"class": "select w-full"}),
    )
    email = _email(
        _("E-mail address (optional)"),
        required=False,
        help_text=_("Then only this person can use the link. Nothing is sent: pass the link on yourself."),
        autocomplete="off",
    )
    by_hand = forms.BooleanField(
        label=_("Show me the link instead of mailing it"),
        required=False,
        help_text=_("You pass it on yourself; it then proves no address."),
        widget=forms.CheckboxInput(attrs={"class": "checkbox"}),
    )
    days = forms.IntegerField(
        label=_("Valid for days"),
        initial=7,
        min_value=1,
        max_value=MAX_DAYS,
        widget=forms.NumberInput(attrs={"class": "input w-full"}),
    )
    is_trusted = forms.BooleanField(
        label=_("Trusted"),
        required=False,
        help_text=_("One answer of a trusted person is gold, where the project's rule is one trusted person."),
        widget=forms.CheckboxInput(attrs={"class": "checkbox"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if mail.is_set():
            self.fields["email"].help_text = _(
                "The link is mailed there and shown to nobody else, which proves the address. Empty: you get the link."
            )
        else:
            del self.fields["by_hand"]


class HeirForm(Form):
    """Whether the owner until now stays, as an admin."""

    stays = forms.TypedChoiceField(
        label=_("Afterwards"),
        choices=[("yes", _("You stay, as an admin")), ("no", _("You leave the project"))],
        coerce=lambda word: word == "yes",
        initial="yes",
        widget=forms.RadioSelect(attrs={"class": "radio"}),
    )


class MemberForm(Form):
    role = forms.ChoiceField(choices=[(role.value, ROLES[role]) for role in GIVABLE])
    is_trusted = forms.BooleanField(required=False)
