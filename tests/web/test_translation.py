"""A pseudo-locale: every translated text comes in ⟦ ⟧, so what a page says outside of them nobody can translate."""

import copy
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.db.models import CharField, TextField
from django.test import Client
from django.utils import translation

from tests.web.site import Place, address, all_routes, make_newcomer, make_place
from tests.web.test_routes import NEEDS

_SAID = ("placeholder", "aria-label", "title", "alt", "aria-description", "data-done")
# What stands in a field somebody has typed; a paper is cited as it is called.
_SILENT = {"script", "style", "code", "kbd", "samp", "textarea", "cite"}
_VOID = {"meta", "link", "input", "br", "img", "hr", "col", "wbr", "source"}
_FIXED = ("Goldloop", "Tailwind", "CSV", "JSON Lines", "SHA-256", "UTC", "Enter", "Shift", "Esc")  # names and keys
_METADATA = ("source", "secret-metadata")  # what a file said of the items of the site
# Words of our own code, whatever table they stand in: they are no data.
_CODES = {"kind", "language", "time_zone", "state", "step", "strategy", "modality", "annotator", "encoder"}


@pytest.fixture
def pseudo_locale(monkeypatch) -> None:
    def one(message: str) -> str:
        return f"⟦{message}⟧" if message else message

    def several(singular: str, plural: str, number: Any) -> str:
        return one(singular if number == 1 else plural)

    real: Any = translation._trans
    translation.gettext("")  # loads what is replaced
    monkeypatch.setattr(real, "gettext", one)
    monkeypatch.setattr(real, "ngettext", several)
    monkeypatch.setattr(real, "pgettext", lambda _, message: one(message))
    monkeypatch.setattr(real, "npgettext", lambda _, *forms: several(*forms))


class Said(HTMLParser):
    """Everything in a page that people read or hear, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.pieces: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.pieces += [value for name in _SAID if (value := given.get(name))]
        if tag == "input" and given.get("type") in ("submit", "button", "reset"):
            self.pieces.append(given.get("value") or "")
        if tag not in _VOID:
            silent = tag in _SILENT or "keycap" in (given.get("class") or "").split()
            self.open.append((tag, silent or bool(self.open and self.open[-1][1])))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not (self.open and self.open[-1][1]):
            self.texts.append(" ".join(data.split()))


def untranslated(html: str, data: set[str]) -> list[str]:
    """What is said outside ⟦ ⟧ and is neither data nor a number."""
    said = Said()
    said.feed(html)
    found = []
    # A translated text may hold elements: what is between its brackets is taken out of all texts as one.
    for piece in [*said.pieces, *_outside("\n".join(said.texts)).split("\n")]:
        rest = _outside(piece)
        for known in sorted(data, key=len, reverse=True):
            rest = rest.replace(known, " ")
        if re.search(r"[^\W\d_]{2}", rest):
            found.append(piece)
    return found


def _outside(text: str) -> str:
    while text != (text := re.sub(r"⟦[^⟦⟧]*⟧", " ", text)):  # inner ones first
        pass
    return text


def known_strings() -> set[str]:
    """What people wrote into this database, and what it made up itself."""

    def leaves(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for one in value.values():
                yield from leaves(one)
        elif isinstance(value, list):
            for one in value:
                yield from leaves(one)
        elif isinstance(value, str):
            yield value

    found = set(_FIXED)
    for model in apps.get_app_config("annotate").get_models():
        names = [
            field.name
            for field in model._meta.get_fields()
            if isinstance(field, CharField | TextField) and not field.choices and field.name not in _CODES
        ]
        if names:
            for row in model._default_manager.values_list(*names):
                found.update(value for value in row if value and len(value) > 1)
        if model.__name__ == "ItemPayload":
            found.update(
                text for payload in model._default_manager.values_list("payload", flat=True) for text in leaves(payload)
            )
    return {" ".join(text.split()) for text in found} | {text[:4] for text in found if len(text) == 64}


def pages() -> list[str]:
    """Every route that answers GET with a page; the reference of the API is in English, and says so."""
    others = ("healthz", "readyz", "exports-download", "imports-quarantine", "api-docs")
    return sorted(name for name, _, _ in all_routes() if "GET" in NEEDS[name][1] and name not in others)


@pytest.fixture(scope="module")
def place_for_all(rows_for_all) -> Place:
    return make_place()


@pytest.fixture
def place(db, place_for_all: Place) -> Place:
    return copy.deepcopy(place_for_all)


@pytest.mark.usefixtures("pseudo_locale")
@pytest.mark.parametrize("who", ["owner", "annotator", "nobody"])
@pytest.mark.parametrize("name", pages())
def test_every_page_is_translated(name, who, place: Place, signed_in: Callable[..., Client]):
    client = Client() if who == "nobody" else signed_in(place.people[who])
    response = client.get(address(name, place))
    while "Location" in response.headers:
        response = client.get(response.headers["Location"])
    assert response.status_code in (200, 403, 409)  # 409: a link that was made for another account
    text = response.content.decode()
    assert "⟦" in text
    # Columns without a header are called "column 1": a name that is stored, and the same in every language.
    assert untranslated(text, known_strings() | {place.ids["token"], place.ids["reset"], "column 1", *_METADATA}) == []


@pytest.mark.usefixtures("pseudo_locale", "place")
class TestOtherStates:
    """What pages say only sometimes."""

    def test_home_without_projects(self, signed_in):
        assert untranslated(signed_in(make_newcomer()).get("/").content.decode(), known_strings()) == []

    @pytest.mark.parametrize(
        "name", ["sign-in", "password-change", "password-reset", "invitation-accept", "profile-show", "token-create"]
    )
    def test_forms_with_mistakes(self, name, place, signed_in):
        is_open = name in ("sign-in", "password-reset", "invitation-accept")
        client, url = Client() if is_open else signed_in(place.people["owner"]), address(name, place)
        wrong = {"email": "x", "password": "y", "old": "x", "new": "y", "again": "z", "name": "", "time_zone": "x"}
        response = client.post(url, wrong)
        assert response.status_code == 422
        assert untranslated(response.content.decode(), known_strings() | {"x"}) == []

    def test_a_weak_password(self, place):
        response = Client().post(address("invitation-accept", place), {"name": "Quux", "password": "12345"})
        assert response.status_code == 422
        assert untranslated(response.content.decode(), known_strings() | {"Quux"}) == []

    @pytest.mark.parametrize("path", ["/nowhere", "/p/walked/people/x/set", "/p/nowhere/"])
    def test_errors(self, path, place, signed_in):
        response = signed_in(place.people["owner"]).get(path)
        if response.status_code != 405:
            assert untranslated(response.content.decode(), known_strings() | {"nowhere"}) == []

    def test_messages(self, place, signed_in):
        owner = signed_in(place.people["owner"])
        for name in ("invitation-revoke", "people-release", "people-remove", "sessions-end"):
            page = owner.get(owner.post(address(name, place)).headers["Location"])
            assert untranslated(page.content.decode(), known_strings()) == []

    @pytest.mark.parametrize("name", ["people-invite", "people-password", "token-create"])
    def test_what_is_shown_once(self, name, place, signed_in):
        form = {"role": "viewer", "days": "7", "name": "Quux", "scope": "manage"}
        made = signed_in(place.people["owner"]).post(address(name, place), form)
        assert made.status_code == 201
        assert untranslated(made.content.decode(), known_strings()) == []


class TestTheGuardItself:
    @pytest.mark.parametrize(
        "html",
        [
            "<p>Hello</p>",
            '<input placeholder="Name">',
            '<button aria-label="Close">×</button>',
            '<input type="submit" value="Go">',
            "<p>⟦Hello⟧ there</p>",
            "<p>⟦Hello</p><p>there",
        ],
    )
    def test_it_finds_what_cannot_be_translated(self, html):
        assert untranslated(html, set())

    @pytest.mark.parametrize(
        "html",
        [
            "<p>⟦Hello ⟦dear⟧ Ann⟧ Ann 12</p>",
            '<p title="⟦x⟧"><kbd>Enter</kbd> 12 % ·</p>',
            '<input value="typed by somebody">',
            "<script>var x</script>",
            "<p>⟦Hello <b>dear ⟦old⟧</b> friend⟧</p>",
        ],
    )
    def test_it_lets_data_pass(self, html):
        assert untranslated(html, {"Ann"}) == []
