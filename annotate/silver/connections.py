"""Decides who may use which LLM server: site owners register connections and lend them, project admins choose one."""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.models import Connection, Project, Run, User
from annotate.models.base import is_storable
from annotate.models.connection import LIMIT_NAMES
from annotate.models.event import record
from annotate.models.letter_case import WithoutCase, without_case
from annotate.providers import outbound, probe
from annotate.providers.openai import Endpoint
from annotate.providers.probe import Probe
from annotate.silver import secrets

ANNOTATOR = "openai"  # the annotator's name in projects that ask an LLM server over a connection
OFFLINE = "offline"  # the annotator that computes in this process
MAX_PRICE_MICROS = 10**12  # per million tokens, that is one unit of the currency per token
SETTINGS = frozenset({
    "name", "base_url", "model", "currency", "input_price_micros", "output_price_micros", "max_concurrency",
    "requests_per_minute", "timeout_seconds", "allows_private",
    "limit_name", "sends_temperature",
})  # fmt: skip


def all_of_site(by: User) -> QuerySet[Connection]:
    """Every connection of the site, by name; AccessDenied unless `by` owns the site."""
    _require_site_owner(by)
    return Connection.objects.order_by("name", "pk").prefetch_related("lent_to")


def find(*, public_id: str, by: User) -> Connection:
    """The connection with this public id; NotFound if there is none, AccessDenied unless `by` owns the site."""
    _require_site_owner(by)
    connection = Connection.objects.filter(public_id=public_id).first()
    if connection is None:
        raise NotFound(_("There is no such connection."))
    return connection


@transaction.atomic
def named(name: str) -> QuerySet[Connection]:
    """The connection of this name in whatever letter case; the database itself knows only the case of ASCII letters."""
    return Connection.objects.alias(plain=WithoutCase("name")).filter(plain=without_case(name))


def create(*, key: str = "", by: User, **settings: Any) -> Connection:
    """Register a connection, lent to no project yet. `key` is stored encrypted and never shown again."""
    _require_site_owner(by)
    connection = Connection(created_by=by)
    _apply(connection, settings)
    _set_key(connection, key)
    _check(connection)
    connection.save()
    record("connection.created", project=None, by=by, **_facts(connection), settings=_loggable(settings))
    return connection


@transaction.atomic
def change(*, connection: Connection, key: str | None = None, by: User, **settings: Any) -> Connection:
    """Change settings or the key: `key` None keeps the stored one, "" deletes it.

    A key is never sent to another origin (scheme, host, port) than it was entered for: a change of the origin deletes
    the key unless a new one comes with it.
    """
    _require_site_owner(by)
    row = Connection.objects.select_for_update().get(pk=connection.pk)
    before = _origin(row.base_url)
    _apply(row, settings)
    _check(row)
    is_dropped = key is None and bool(row.key_encrypted) and _origin(row.base_url) != before
    if key is not None or is_dropped:
        _set_key(row, key or "")
    _check(row)
    _keep_currency(row)
    row.save()
    has_new = key is not None
    record(
        "connection.changed", project=None, by=by, **_facts(row), settings=_loggable(settings),
        is_key_changed=has_new or is_dropped,
    )  # fmt: skip
    return row


@transaction.atomic
def set_active(*, connection: Connection, is_active: bool, by: User) -> Connection:
    """Switch a connection on or off. Runs that ask a connection which is switched off end within seconds."""
    _require_site_owner(by)
    if Connection.objects.filter(pk=connection.pk, is_active=not is_active).update(is_active=is_active):
        record("connection.activated" if is_active else "connection.deactivated", project=None, by=by,
               **_facts(connection))  # fmt: skip
    connection.refresh_from_db()
    return connection


@transaction.atomic
def lend(*, connection: Connection, project: Project, by: User) -> None:
    """Let the project's admins choose the connection; the project's own cap limits what they spend."""
    _require_site_owner(by)
    _check_currency(connection, project)
    connection.lent_to.add(project)
    record("connection.lent", project=project, by=by, **_facts(connection))


@transaction.atomic
def take_back(*, connection: Connection, project: Project, by: User) -> None:
    """Stop lending the connection: the project cannot ask it from now on, and keeps the answers that it has."""
    _require_site_owner(by)
    connection.lent_to.remove(project)
    record("connection.taken_back", project=project, by=by, **_facts(connection))


def test(*, connection: Connection, by: User) -> Probe:
    """Ask the server one to three small questions, for at most ten seconds. The site pays: no project's cap counts."""
    _require_site_owner(by)
    found = probe.probe(endpoint_of(connection, ignore_prices=True))
    with transaction.atomic():
        if found.is_usable and found.n_alternatives < connection.n_alternatives:
            # Lowered if the server gives fewer, never raised: another number is another prompt version, under which
            # all items would be asked again.
            Connection.objects.filter(pk=connection.pk).update(n_alternatives=found.n_alternatives)
            connection.n_alternatives = found.n_alternatives
        record("connection.tested", project=None, by=by, **_facts(connection), is_usable=found.is_usable,
               n_alternatives=found.n_alternatives, cost_micros=found.cost_micros)  # fmt: skip
    return found


def usable(project: Project) -> QuerySet[Connection]:
    """The connections that this project may ask now (lent to it, and switched on), by name."""
    return Connection.objects.filter(lent_to=project, is_active=True).order_by("name", "pk")


@transaction.atomic
def choose(*, project: Project, connection: Connection | None, annotator: str = ANNOTATOR, by: User) -> Project:
    """Choose who gives the project's items silver: a connection, or None and an annotator in this process.

    Conflict while a pre-labeling is queued or running.
    """
    access.require(by, project, to="manage")
    _check_choice(project, connection, annotator)
    if project.runs.filter(kind="prelabel", state__in=[Run.State.QUEUED, Run.State.RUNNING]).exists():
        raise Conflict(_("A pre-label is under way; pause or cancel it before you choose another annotator."))
    Project.objects.filter(pk=project.pk).update(connection=connection, annotator=annotator)
    project.connection, project.annotator = connection, annotator
    chosen = connection.public_id if connection else None
    record("annotator.chosen", project=project, by=by, annotator=annotator, connection=chosen)
    return project


def of_project(project: Project) -> Connection:
    """The connection that this project has chosen; Conflict if it cannot be asked now, and why."""
    connection = Connection.objects.filter(used_by=project).first()
    if connection is None:
        raise Conflict(_("This project has no connection to an LLM server; choose one."))
    if not connection.is_active:
        raise Conflict(_("The connection %(name)s was switched off by an owner of the site.") % {"name": connection})
    if not connection.lent_to.filter(pk=project.pk).exists():
        raise Conflict(_("The connection %(name)s is not lent to this project any more.") % {"name": connection})
    _check_currency(connection, project)
    return connection


def endpoint_of(connection: Connection, *, ignore_prices: bool = False) -> Endpoint:
    """The endpoint to ask, with the decrypted key: keep it out of logs and rows. Conflict if a price is unknown.

    `ignore_prices` takes unknown prices as 0, for requests that no project pays.
    """
    prices = connection.input_price_micros, connection.output_price_micros
    if None in prices and not ignore_prices:
        raise Conflict(_("The prices of %(name)s are not known, and what has no price is not asked.")
                       % {"name": connection})  # fmt: skip
    return Endpoint(
        base_url=connection.base_url,
        model=connection.model,
        key=secrets.decrypt(connection.key_encrypted) if connection.key_encrypted else "",
        allow_private=connection.allows_private,
        input_price_micros_per_million=prices[0] or 0,
        output_price_micros_per_million=prices[1] or 0,
        timeout_seconds=connection.timeout_seconds,
        max_concurrency=connection.max_concurrency,
        requests_per_minute=connection.requests_per_minute,
        n_alternatives=connection.n_alternatives,
        limit_name=connection.limit_name,  # type: ignore[arg-type]
        temperature=0.0 if connection.sends_temperature else None,
    )


@transaction.atomic
def rotate_keys() -> int:
    """Encrypt every connection's key anew, with the first of FIELD_ENCRYPTION_KEYS; returns how many keys."""
    rows = list(Connection.objects.exclude(key_encrypted=b"").select_for_update().order_by("pk"))
    for row in rows:
        Connection.objects.filter(pk=row.pk).update(key_encrypted=secrets.rotate(row.key_encrypted))
    return len(rows)


def choose_lent(*, project: Project, public_id: str, by: User) -> Connection | None:
    """Choose, by public id, a connection that the project may ask; an empty id chooses the offline annotator."""
    connection = usable(project).filter(public_id=public_id).first() if public_id else None
    if public_id and connection is None:
        raise NotFound(_("There is no such connection for this project."))
    choose(project=project, connection=connection, annotator=ANNOTATOR if connection else OFFLINE, by=by)
    return connection


def _require_site_owner(by: User) -> None:
    if not (by.is_active and by.is_site_owner):
        raise AccessDenied(_("Connections belong to the site; only its owners register, change and lend them."))


def _apply(connection: Connection, settings: dict[str, Any]) -> None:
    if unknown := sorted(settings.keys() - SETTINGS):
        raise InvalidInput(_("A connection has no setting %(names)s.") % {"names": ", ".join(unknown)})
    for name, value in settings.items():
        setattr(connection, name, value.strip() if isinstance(value, str) else value)


def _set_key(connection: Connection, key: str) -> None:
    key = key.strip()
    connection.key_encrypted = secrets.encrypt(key) if key else b""
    # The hint of a short key would give away too much of it.
    connection.key_hint = key[-4:] if len(key) >= 12 else ""


def _check(connection: Connection) -> None:
    """InvalidInput, in sentences that never contain the key, if a setting cannot work."""
    if not all(is_storable(text) for text in (connection.name, connection.base_url, connection.model)):
        raise InvalidInput(_("A setting holds half a character or a NUL."))
    connection.currency = connection.currency.upper()
    if len(connection.currency) != 3 or not connection.currency.isascii() or not connection.currency.isalpha():
        raise InvalidInput(_("A currency has three letters, for instance USD."))
    for price in (connection.input_price_micros, connection.output_price_micros):
        if price is not None and not 0 <= price <= MAX_PRICE_MICROS:
            raise InvalidInput(_("A price lies between 0 and 1,000,000 for a million tokens."))
    if problem := outbound.base_problem(connection.base_url, allow_private=connection.allows_private):
        raise InvalidInput(_("The base URL %(problem)s.") % {"problem": problem})
    endpoint_of(connection, ignore_prices=True)  # InvalidInput for a key that could split a header, or a bad limit
    if not (1 <= connection.max_concurrency <= 64 and 1 <= connection.timeout_seconds <= 600):
        raise InvalidInput(_("Between 1 and 64 requests go out at the same time, and each may take 1 to 600 seconds."))
    if connection.limit_name not in LIMIT_NAMES:
        raise InvalidInput(_("The limit of an answer is called one of %(names)s.") % {"names": ", ".join(LIMIT_NAMES)})
    if connection.requests_per_minute == 0:
        raise InvalidInput(_("At least one request goes out in a minute; leave the limit empty for none."))
    if named(connection.name).exclude(pk=connection.pk).exists():
        raise InvalidInput(_("There is a connection of this name already."))
    try:
        # Excluded: the address, whose form base_problem has judged by its own rules, and prices, which may be unknown.
        connection.full_clean(exclude=["base_url", "key_encrypted", "input_price_micros", "output_price_micros"])
    except ValidationError as error:
        fields = error.message_dict.items()
        raise InvalidInput("; ".join(f"{name}: {' '.join(texts)}" for name, texts in fields)) from error


def _check_choice(project: Project, connection: Connection | None, annotator: str) -> None:
    if (connection is None) == (annotator == ANNOTATOR):
        raise InvalidInput(_("Choose a connection for %(name)s, and none for others.") % {"name": ANNOTATOR})
    if connection is None:
        if annotator != OFFLINE:
            raise InvalidInput(_("There is no annotator %(name)r.") % {"name": annotator})
        return
    if not usable(project).filter(pk=connection.pk).exists():
        raise NotFound(_("There is no such connection."))
    _check_currency(connection, project)


def _check_currency(connection: Connection, project: Project) -> None:
    if connection.currency != project.currency:
        sentence = _(
            "%(name)s is paid in %(theirs)s and this project counts in %(ours)s; one project has one currency."
        )
        raise Conflict(sentence % {"name": connection, "theirs": connection.currency, "ours": project.currency})


def _keep_currency(connection: Connection) -> None:
    for project in Project.objects.filter(connection=connection):
        _check_currency(connection, project)


def _origin(base_url: str) -> tuple[str, str | None, int | None]:
    url = urlsplit(base_url)
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}.get(url.scheme)


def _facts(connection: Connection) -> dict[str, Any]:
    return {"connection": connection.public_id, "name": connection.name}


def _loggable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings for the event log, with only the server of the address: more people read the log."""
    loggable = {name: value for name, value in settings.items() if name not in ("base_url", "name")}
    return loggable | ({"server": urlsplit(settings["base_url"]).netloc} if "base_url" in settings else {})
