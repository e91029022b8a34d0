"""Pages of LLM servers, for owners of the site: register, change, test, lend to projects, switch off."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotate.errors import Conflict, InvalidInput
from annotate.models import Connection, Project, Run
from annotate.models.connection import LIMIT_NAMES
from annotate.providers.probe import Probe
from annotate.silver import connections
from annotate.web.budget import micros_of, plain
from annotate.web.forms import Form
from annotate.web.http.guards import site_page
from annotate.web.http.htmx import go_to

_PAGE = 50  # connections, and projects that one may be lent to
_NO_ANSWER = "off"  # autocomplete off: a password that a browser fills in here would go to the LLM server


def _text(label: Any, most: int, help_text: Any = "", **attrs: Any) -> forms.CharField:
    widget = forms.TextInput(attrs={"class": "input w-full", "autocomplete": _NO_ANSWER, **attrs})
    return forms.CharField(label=label, max_length=most, help_text=help_text, widget=widget)


def _price(label: Any, help_text: Any = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        required=False,
        min_value=0,
        max_value=connections.MAX_PRICE_MICROS // 1_000_000,
        max_digits=13,
        decimal_places=6,
        widget=forms.NumberInput(attrs={"class": "input w-full", "step": "any", "autocomplete": _NO_ANSWER}),
    )


def _count(label: Any, low: int, high: int, help_text: Any = "", **more: Any) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"class": "input w-full", "autocomplete": _NO_ANSWER})
    return forms.IntegerField(label=label, min_value=low, max_value=high, help_text=help_text, widget=widget, **more)


def _check(label: Any, help_text: Any) -> forms.BooleanField:
    widget = forms.CheckboxInput(attrs={"class": "checkbox"})
    return forms.BooleanField(label=label, help_text=help_text, required=False, widget=widget)


class ConnectionForm(Form):
    name = _text(gettext_lazy("Name"), 100, gettext_lazy("Admins of projects choose it by this name."))
    base_url = _text(
        gettext_lazy("Base URL"),
        500,
        gettext_lazy("As far as /v1, for instance https://api.openai.com/v1. /chat/completions is added."),
        inputmode="url",
        spellcheck="false",
    )
    key = forms.CharField(
        label=gettext_lazy("Key"),
        required=False,
        max_length=1_000,
        widget=forms.PasswordInput(
            render_value=False, attrs={"class": "input w-full", "autocomplete": _NO_ANSWER, "spellcheck": "false"}
        ),
    )
    removes_key = _check(
        gettext_lazy("Remove the stored key"), gettext_lazy("For a server that asks for none; nothing is sent then.")
    )
    model = _text(gettext_lazy("Model"), 200, gettext_lazy("As the server calls it."), spellcheck="false")
    currency = _text(gettext_lazy("Currency"), 3, gettext_lazy("Three letters, for instance USD."))
    input_price = _price(gettext_lazy("Price of a million input tokens"))
    output_price = _price(
        gettext_lazy("Price of a million output tokens"),
        gettext_lazy("0 where it is free. Empty is unknown: it can be saved, but is not asked until it has a price."),
    )
    max_concurrency = _count(gettext_lazy("Requests at the same time"), 1, 64)
    requests_per_minute = _count(
        gettext_lazy("Requests per minute"), 1, 1_000_000, gettext_lazy("Empty: no limit of ours."), required=False
    )
    timeout_seconds = _count(gettext_lazy("Seconds until a request is given up"), 1, 600)
    limit_name = forms.ChoiceField(
        label=gettext_lazy("What the model calls the limit of an answer"),
        choices=[
            ("max_tokens", gettext_lazy("max_tokens: most servers")),
            ("max_completion_tokens", gettext_lazy("max_completion_tokens: newer models of OpenAI")),
        ],
        initial=LIMIT_NAMES[0],
        widget=forms.Select(attrs={"class": "select w-full"}),
    )
    sends_temperature = _check(
        gettext_lazy("Send temperature 0"), gettext_lazy("Not for models that refuse a temperature.")
    )
    allows_private = _check(
        gettext_lazy("May lie at a private address"),
        gettext_lazy(
            "Only for a server of your own: requests may then reach this machine and its network, which others "
            "cannot reach."
        ),
    )

    def __init__(self, data: Any = None, connection: Connection | None = None) -> None:
        super().__init__(data, initial=_initial(connection or Connection()))
        if connection is None or not connection.key_encrypted:
            del self.fields["removes_key"]
        self.fields["key"].help_text = _key_help(connection)

    @property
    def settings(self) -> dict[str, Any]:
        """The cleaned fields as the domain names them: prices in micro-units, the key only if it shall change."""
        given = dict(self.cleaned_data)
        for name in ("input_price", "output_price"):
            given[f"{name}_micros"] = micros_of(given.pop(name))
        key, removes = given.pop("key"), given.pop("removes_key", False)
        return given | ({"key": "" if removes and not key else key} if key or removes else {})


@require_GET
@never_cache
@site_page
def list_connections(request: HttpRequest) -> HttpResponse:
    page = Paginator(connections.all_of_site(_by(request)), _PAGE).get_page(request.GET.get("page"))
    rows = [(one, server_of(one)) for one in page]
    return render(request, "annotate/connections/list.html", {"rows": rows, "page": page})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@site_page
def create(request: HttpRequest) -> HttpResponse:
    form = ConnectionForm(request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return render(request, "annotate/connections/new.html", {"form": form})
    made = _saved(form, lambda: connections.create(by=_by(request), **form.settings))
    if made is None:
        return render(request, "annotate/connections/new.html", {"form": form}, status=422)
    messages.success(request, _("%(name)s is registered. Test it, then lend it to projects.") % {"name": made})
    return go_to(request, _address(made))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@site_page
def show(request: HttpRequest, connection: str) -> HttpResponse:
    found = connections.find(public_id=connection, by=_by(request))
    if request.method != "POST":
        return _page(request, found)
    form = ConnectionForm(request.POST, found)
    had_key = bool(found.key_encrypted)
    now = _saved(form, lambda: connections.change(connection=found, by=_by(request), **form.settings))
    if now is None:
        return _page(request, found, form=form, status=422)
    messages.success(request, _("%(name)s is changed.") % {"name": now})
    if had_key and not now.key_encrypted and not form.cleaned_data.get("removes_key"):
        sentence = _("The address leads to another server, which must not get the old one's key: enter its own.")
        messages.warning(request, sentence)
    return go_to(request, _address(now))


@require_POST
@never_cache
@site_page
def test(request: HttpRequest, connection: str) -> HttpResponse:
    """Ask the server a small question and show the outcome; takes up to ten seconds."""
    found = connections.find(public_id=connection, by=_by(request))
    return _page(request, found, probe=connections.test(connection=found, by=_by(request)))


@require_POST
@site_page
def lend(request: HttpRequest, connection: str) -> HttpResponse:
    """Lend the connection to exactly the checked ones of the projects shown; if one cannot have it, none changes."""
    by, wanted = _by(request), set(request.POST.getlist("projects"))
    found = connections.find(public_id=connection, by=by)
    lent = set(found.lent_to.values_list("public_id", flat=True))
    if shown := request.POST.getlist("shown"):  # the form has one page of the projects; the others stay as they are
        wanted, lent = wanted & set(shown), lent & set(shown)
    with transaction.atomic():
        for project in Project.objects.filter(public_id__in=wanted ^ lent).order_by("pk"):
            change = connections.lend if project.public_id in wanted else connections.take_back
            change(connection=found, project=project, by=by)
    n = found.lent_to.count()
    sentence = ngettext("%(name)s is lent to %(n)d project.", "%(name)s is lent to %(n)d projects.", n)
    messages.success(request, sentence % {"name": found, "n": n})
    return go_to(request, _address(found))


@require_POST
@site_page
def switch(request: HttpRequest, connection: str) -> HttpResponse:
    by, is_active = _by(request), request.POST.get("active") == "yes"
    found = connections.find(public_id=connection, by=by)
    now = connections.set_active(connection=found, is_active=is_active, by=by)
    sentence = _("%(name)s may be asked again.") if now.is_active else _("%(name)s is switched off: nobody asks it.")
    messages.success(request, sentence % {"name": now})
    return go_to(request, _address(now))


def server_of(connection: Connection) -> str:
    """The host, with the port if one is given, for lists; the full address is longer than people need."""
    return urlsplit(connection.base_url).netloc.rpartition("@")[2]


def _saved(form: ConnectionForm, save: Callable[[], Connection]) -> Connection | None:
    """Save by `save`; returns the connection, or None after adding the error to the form."""
    if not form.is_valid():
        return None
    try:
        return save()
    except (InvalidInput, Conflict) as error:
        form.add_error(None, str(error))
        return None


def _page(
    request: HttpRequest,
    connection: Connection,
    form: ConnectionForm | None = None,
    probe: Probe | None = None,
    status: int = 200,
) -> HttpResponse:
    rows = Project.objects.only("public_id", "name", "currency", "connection").order_by("name", "pk")
    page = Paginator(rows, _PAGE).get_page(request.GET.get("page"))
    context = {
        "connection": connection,
        "server": server_of(connection),
        "form": form or ConnectionForm(connection=connection),
        "probe": probe,
        "projects": _projects(connection, page),
        "page": page,
        "n_asking": _asking(connection),
    }
    return render(request, "annotate/connections/show.html", context, status=status)


def _projects(connection: Connection, shown: Iterable[Project]) -> list[dict[str, Any]]:
    """The projects shown, each with whether this connection is lent to it, chosen by it, or impossible for it."""
    lent = set(connection.lent_to.values_list("pk", flat=True))
    return [
        {
            "project": one,
            "is_lent": one.pk in lent,
            "is_asking": one.connection_id == connection.pk,
            "can": one.currency == connection.currency or one.pk in lent,
        }
        for one in shown
    ]


def _asking(connection: Connection) -> int:
    """How many pre-label runs use the connection now, or will."""
    alive = Run.objects.filter(kind="prelabel", state__in=[Run.State.QUEUED, Run.State.RUNNING])
    return alive.filter(project__connection=connection).count()


def _initial(connection: Connection) -> dict[str, Any]:
    names = (
        "name", "base_url", "model", "currency", "max_concurrency", "requests_per_minute", "timeout_seconds",
        "limit_name", "sends_temperature", "allows_private",
    )  # fmt: skip
    prices = {"input_price": connection.input_price_micros, "output_price": connection.output_price_micros}
    shown = {name: None if micros is None else plain(micros) for name, micros in prices.items()}
    return {name: getattr(connection, name) for name in names} | shown


def _key_help(connection: Connection | None) -> str:
    if connection is None or not connection.key_encrypted:
        return _("Kept encrypted and never shown again. Empty: the server asks for none.")
    if not connection.key_hint:
        return _("One is stored. Empty keeps it; a new one takes its place.")
    return _("One is stored, ending in %(hint)s. Empty keeps it; a new one takes its place.") % {
        "hint": connection.key_hint
    }


def _address(connection: Connection) -> str:
    return reverse("connections-show", args=[connection.public_id])


def _by(request: HttpRequest) -> Any:
    return request.user
