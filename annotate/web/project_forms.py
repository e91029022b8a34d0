"""Forms of a project's settings and guidelines: percents, amounts of money, labels as lines or JSON."""

import json
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate import markdown, projects
from annotate.errors import InvalidInput
from annotate.models import Project
from annotate.models.base import time_zones
from annotate.models.project import Arm, GoldRule, Strategy, SuggestionPolicy, hidden_suggestions
from annotate.projects import NewLabel
from annotate.web.forms import Form

MICROS = 1_000_000
MODALITIES = {
    "text": gettext_lazy("Texts, one per item"),
    "pair": gettext_lazy("Pairs of texts"),
}
GOLD_RULES = {
    GoldRule.ONE_TRUSTED: gettext_lazy("What one trusted person says"),
    GoldRule.AGREE_K: gettext_lazy("What several people agree on"),
}
STRATEGIES = {
    Strategy.MARGIN: gettext_lazy("Smallest lead of the likeliest label (margin)"),
    Strategy.ENTROPY: gettext_lazy("Most undecided over all labels (entropy)"),
    Strategy.LEAST_CONFIDENCE: gettext_lazy("Least sure of the likeliest label"),
    Strategy.RANDOM: gettext_lazy("At random"),
}
POLICIES = {
    SuggestionPolicy.HIDDEN: gettext_lazy("Never"),
    SuggestionPolicy.REVEALED: gettext_lazy("After the first answer, on request"),
    SuggestionPolicy.SHOWN: gettext_lazy("Before the answer"),
}
_ARMS = {  # whose policy is asked for; no round draws items of the start, whose policy stays as it is
    Arm.ACTIVE: gettext_lazy("Items chosen as uncertain"),
    Arm.CONFLICT: gettext_lazy("Items on which people disagreed"),
}
_POLICY = "suggestion_{}"


def _text(label: Any, help_text: Any = "", most: int = 150, required: bool = True, **attrs: Any) -> forms.CharField:
    widget = forms.TextInput(attrs={"class": "input w-full", "autocomplete": "off", **attrs})
    return forms.CharField(label=label, help_text=help_text, max_length=most, required=required, widget=widget)


def _number(label: Any, help_text: Any = "", low: int = 0, high: int = 1_000_000) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"class": "input w-full"})
    return forms.IntegerField(label=label, help_text=help_text, min_value=low, max_value=high, widget=widget)


def _choice(label: Any, choices: dict[Any, Any], help_text: Any = "") -> forms.ChoiceField:
    widget = forms.Select(attrs={"class": "select w-full"})
    pairs = [(str(value), words) for value, words in choices.items()]
    return forms.ChoiceField(label=label, help_text=help_text, choices=pairs, widget=widget)


def _decimal(label: Any, help_text: Any, required: bool = True, **limits: Any) -> forms.DecimalField:
    widget = forms.NumberInput(attrs={"class": "input w-full", "step": "any"})
    return forms.DecimalField(label=label, help_text=help_text, required=required, widget=widget, **limits)


def long_text(label: Any, help_text: Any = "", required: bool = False, rows: int = 8, **attrs: Any) -> forms.CharField:
    widget = forms.Textarea(attrs={"class": "textarea w-full", "rows": rows, "spellcheck": "true", **attrs})
    return forms.CharField(label=label, help_text=help_text, required=required, strip=False, widget=widget)


def _guidelines(help_text: Any = "") -> forms.CharField:
    return long_text(gettext_lazy("Guidelines, in Markdown"), help_text, rows=16, maxlength=markdown.MOST_CHARACTERS)


class SettingsForm(Form):
    """A project's settings as people type them; `settings()` returns them as the domain names them."""

    name = _text(gettext_lazy("Name"))
    target_accuracy = _decimal(
        gettext_lazy("Target accuracy, in percent (optional)"),
        gettext_lazy("How often delivered labels should be right; pages say how far it is to there."),
        required=False, min_value=Decimal("0.01"), max_value=Decimal("99.99"), decimal_places=2,
    )  # fmt: skip
    gold_rule = _choice(
        gettext_lazy("What makes an answer gold"), GOLD_RULES, gettext_lazy("Fixed while a round is open.")
    )
    overlap = _number(
        gettext_lazy("People per question"), gettext_lazy("For rounds drawn from now on."), low=1, high=100
    )
    agree_k = _number(
        gettext_lazy("How many must agree"),
        gettext_lazy("Only where several people must agree; never more than people per question."), low=1, high=100,
    )  # fmt: skip
    strategy = _choice(
        gettext_lazy("Which items are uncertain"), STRATEGIES, gettext_lazy("For rounds drawn from now on.")
    )
    audit_target = _number(
        gettext_lazy("Audit sample"),
        gettext_lazy("Items answered blind, from which accuracy is estimated. Fixed with the first round."),
    )
    reference_target = _number(
        gettext_lazy("Reference sample"), gettext_lazy("Random items that choose between models.")
    )
    currency = _text(
        gettext_lazy("Currency"),
        gettext_lazy("Three capital letters. Fixed once money has moved."),
        most=3,
        minlength=3,
    )
    human_price = _decimal(
        gettext_lazy("Price of one answer, in the currency"),
        gettext_lazy("0 where people are not paid per answer. For questions handed out from now on."),
        min_value=0, max_value=MICROS, decimal_places=6,
    )  # fmt: skip
    time_zone = _text(
        gettext_lazy("Time zone"),
        gettext_lazy("When a day begins, for instance Europe/Berlin."), most=64, list="time-zones",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for arm, words in _ARMS.items():
            self.fields[_POLICY.format(arm)] = _choice(words, POLICIES)

    def clean_time_zone(self) -> str:
        zone: str = self.cleaned_data["time_zone"]
        if zone not in time_zones():
            raise forms.ValidationError(_("There is no such time zone; choose one of the list."))
        return zone

    def clean_currency(self) -> str:
        currency: str = self.cleaned_data["currency"]
        if len(currency) != 3 or not currency.isascii() or not (currency.isalpha() and currency.isupper()):
            raise forms.ValidationError(_("A currency is three capital letters, for instance EUR."))
        return currency

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("gold_rule") == GoldRule.AGREE_K and given.get("agree_k", 0) > given.get("overlap", 1_000):
            self.add_error("agree_k", _("Not more than people per question: nobody else answers."))
        return given

    def settings(self) -> dict[str, Any]:
        given = dict(self.cleaned_data)
        target = given["target_accuracy"]
        own = ("name", "overlap", "gold_rule", "agree_k", "strategy", "audit_target", "reference_target", "currency")
        return {
            **{name: given[name] for name in own},
            "time_zone": given["time_zone"],
            "target_accuracy": None if target is None else float(target / 100),
            "human_price_micros": int(given["human_price"] * MICROS),
            "suggestion_policy": {arm: self._policy(arm) for arm in hidden_suggestions()},
        }

    def _policy(self, arm: str) -> str:
        name = _POLICY.format(arm)
        return str(self.cleaned_data.get(name) or self.initial.get(name, SuggestionPolicy.HIDDEN.value))

    def policies(self) -> list[forms.BoundField]:
        return [self[_POLICY.format(arm)] for arm in _ARMS]


def initial_of(project: Project) -> dict[str, Any]:
    """The initial values of SettingsForm for this project."""
    plain = ("name", "overlap", "gold_rule", "agree_k", "strategy", "audit_target", "reference_target", "currency")
    target = project.target_accuracy
    policy = hidden_suggestions() | project.suggestion_policy
    return {
        **{name: getattr(project, name) for name in plain},
        "time_zone": project.time_zone,
        "target_accuracy": None if target is None else f"{100 * target:.2f}".rstrip("0").rstrip("."),
        "human_price": f"{Decimal(project.human_price_micros) / MICROS:f}",
        **{_POLICY.format(arm): shown for arm, shown in policy.items()},
    }


class CreateForm(SettingsForm):
    slug = _text(
        gettext_lazy("Short name"),
        gettext_lazy("For addresses and commands: a-z, digits, hyphens. Empty: made of the name. It stays."),
        most=60, required=False, pattern="[a-z0-9\\-]*", spellcheck="false",
    )  # fmt: skip
    modality = _choice(gettext_lazy("What is labeled"), MODALITIES, gettext_lazy("Fixed from now on."))
    labels = long_text(
        gettext_lazy("Labels"),
        gettext_lazy("One per line, two or more; or JSON. What each means can be written next."),
        required=True, spellcheck="false",
    )  # fmt: skip
    guidelines = _guidelines(gettext_lazy("How to decide. They can be changed at any time."))

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if not all(letter in "abcdefghijklmnopqrstuvwxyz0123456789-" for letter in slug):
            raise forms.ValidationError(_("Only a-z, digits and hyphens."))
        return slug

    def clean_labels(self) -> list[NewLabel]:
        return read_labels(self.cleaned_data["labels"])

    def clean_guidelines(self) -> str:
        markdown = unix_lines(self.cleaned_data["guidelines"])
        if markdown.strip():
            checked(projects.check_guidelines, markdown)
        return markdown


def read_labels(text: str, today: Collection[str] = ()) -> list[NewLabel]:
    """Labels from lines, or from JSON as for `manage.py create_project`; ValidationError says what is wrong.

    `today`: the names that the project has already.
    """
    return checked(projects.parse_labels, lines_or_json(text), today)


def lines_or_json(text: str) -> Any:
    """A list of lines, or what the JSON holds; ValidationError says what is wrong with the JSON."""
    text = text.strip()
    if not text.startswith(("[", "{")):
        return lines_of(text)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        names = {"line": error.lineno, "wrong": error.msg}
        raise forms.ValidationError(_("This JSON is broken in line %(line)d: %(wrong)s.") % names) from None
    except RecursionError:
        raise forms.ValidationError(_("This JSON is nested too deeply.")) from None


class GuidelinesForm(Form):
    guidelines = _guidelines()

    def clean_guidelines(self) -> str:
        return unix_lines(self.cleaned_data["guidelines"])


def unix_lines(text: str) -> str:
    """The text with LF line ends: browsers send CR LF, and a text saved unchanged must stay the same."""
    return text.replace("\r\n", "\n")


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def checked(check: Any, *values: Any) -> Any:
    try:
        return check(*values)
    except InvalidInput as error:
        raise forms.ValidationError(str(error)) from None
