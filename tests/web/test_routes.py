"""Deny by default: every route, by every method, for everybody who could ask.

NEEDS is written by hand: a route that is new or opens for others than before fails until somebody has said so here.
"""

import contextlib
import copy
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from annotate.access import MAY
from annotate.models import Lease
from annotate.models.project import Role
from annotate.web.http.guards import PUBLIC_ROUTES
from tests.refusing import refusing_files, refusing_writes
from tests.web.site import Place, address, all_routes, make_newcomer, make_place

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
PAGE, ACTION, SAFE, FORM = ("GET",), ("POST",), ("GET", "HEAD"), ("GET", "HEAD", "POST")

# name: (what a member must be allowed to do; None outside projects, which methods it answers)
NEEDS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "projects-list": (None, PAGE),
    "projects-create": (None, FORM),
    "markdown-preview": (None, ACTION),
    "healthz": (None, SAFE),
    "readyz": (None, SAFE),
    "sign-in": (None, FORM),
    "sign-out": (None, ACTION),
    "password-change": (None, FORM),
    "password-reset": (None, FORM),
    "password-forgotten": (None, FORM),
    "address-prove": (None, FORM),
    "address-send": (None, ACTION),
    "address-change": (None, ACTION),
    "profile-show": (None, FORM),
    "sessions-end": (None, ACTION),
    "token-create": (None, ACTION),
    "token-revoke": (None, ACTION),
    "invitation-accept": (None, FORM),
    "theme-set": (None, ACTION),
    "accounts-list": (None, PAGE),
    "accounts-show": (None, PAGE),
    "accounts-vouch": (None, ACTION),
    "accounts-deactivate": (None, ACTION),
    "accounts-reactivate": (None, ACTION),
    "accounts-hand-over": (None, ACTION),
    "mails-send": (None, ACTION),
    "connections-list": (None, PAGE),
    "connections-create": (None, FORM),
    "connections-show": (None, FORM),
    "connections-test": (None, ACTION),
    "connections-lend": (None, ACTION),
    "connections-switch": (None, ACTION),
    "api-docs": (None, PAGE),
    "overview-show": ("view", PAGE),
    "guidelines-show": ("view", PAGE),
    "labeling-work": ("annotate", PAGE),
    "labeling-next": ("annotate", ACTION),
    "labeling-again": ("annotate", ACTION),
    "labeling-submit": ("annotate", ACTION),
    "labeling-change": ("annotate", ACTION),
    "labeling-renew": ("annotate", ACTION),
    "labeling-release": ("annotate", ACTION),
    "labeling-draft": ("annotate", ACTION),
    "labeling-reveal": ("annotate", ACTION),
    "labeling-why": ("annotate", ACTION),
    "labeling-history": ("annotate", PAGE),
    "review-list": ("review", PAGE),
    "review-show": ("review", PAGE),
    "review-decide": ("review", ACTION),
    "items-skipped": ("evidence", PAGE),
    "items-flagged": ("evidence", PAGE),
    "items-quarantined": ("download", PAGE),
    "items-list": ("evidence", PAGE),
    "items-show": ("evidence", PAGE),
    "items-withdraw": ("manage", ACTION),
    "items-bring-back": ("manage", ACTION),
    "items-correct": ("manage", FORM),
    "imports-list": ("manage", PAGE),
    "imports-upload": ("manage", ACTION),
    "imports-go-on": ("manage", ACTION),
    "imports-give-up": ("manage", ACTION),
    "imports-preview": ("manage", PAGE),
    "imports-start": ("manage", ACTION),
    "imports-count": ("manage", ACTION),
    "imports-discard": ("manage", ACTION),
    "imports-quarantine": ("download", PAGE),
    "settings-show": ("manage", FORM),
    "settings-annotator": ("manage", ACTION),
    "settings-labels": ("manage", FORM),
    "settings-labels-undo": ("manage", ACTION),
    "settings-guidelines": ("manage", FORM),
    "settings-guidelines-version": ("manage", PAGE),
    "people-list": ("manage", PAGE),
    "people-invite": ("manage", ACTION),
    "people-set": ("manage", ACTION),
    "people-release": ("manage", ACTION),
    "people-password": ("manage", ACTION),
    "people-remove": ("manage", ACTION),
    "people-hand-over": ("own", FORM),
    "invitation-send": ("manage", ACTION),
    "invitation-link": ("manage", ACTION),
    "invitation-revoke": ("manage", ACTION),
    "budget-show": ("money", PAGE),
    "budget-cap": ("manage", ACTION),
    "budget-stop": ("manage", ACTION),
    "budget-resume": ("manage", ACTION),
    "prelabel-show": ("evidence", PAGE),
    "prelabel-spent": ("money", PAGE),
    "prelabel-choose": ("manage", ACTION),
    "exports-list": ("download", PAGE),
    "exports-download": ("download", PAGE),
    "training-show": ("evidence", PAGE),
    "runs-list": ("evidence", PAGE),
    "runs-start": ("manage", ACTION),
    "runs-show": ("evidence", PAGE),
    "runs-pause": ("manage", ACTION),
    "runs-resume": ("manage", ACTION),
    "runs-cancel": ("manage", ACTION),
    "runs-retry": ("manage", ACTION),
}
PUBLIC = {"healthz", "readyz", "sign-in", "password-forgotten", "invitation-accept", "password-reset", "theme-set"}
_OF_SITE = ("connections-", "accounts-", "mails-")  # for owners of the site
IN_PROJECT = sorted(name for name, (needs, _) in NEEDS.items() if needs)
# Open for the role, but the walk sends nothing that names a question or a file that exists.
_NAMES_MORE = {"exports-download", *(name for name in NEEDS if name.startswith("labeling-"))}


@pytest.fixture(scope="module")
def places(rows_for_all) -> tuple[Place, Place]:
    """Both are made once: a place takes longer than asking for a page of it."""
    return make_place(), make_place("Elsewhere")


@pytest.fixture
def place(db, places) -> Place:
    return copy.deepcopy(places[0])


@pytest.fixture
def elsewhere(db, places) -> Place:
    """Another project with the same things in it, whose owner is a stranger here."""
    return copy.deepcopy(places[1])


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """What happens within did not happen for the next who asks."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def ask(client: Client, method: str, url: str, data: dict[str, str] | None = None, **headers: str) -> HttpResponse:
    cookies = copy.deepcopy(client.cookies)
    with undone():
        response = client.post(url, data, headers=headers) if data else client.generic(method, url, headers=headers)
        if response.streaming:
            list(response.streaming_content)
    client.cookies = cookies  # who signed out is still there for the next
    return response


def as_person(place: Place, who: str, signed_in) -> Client:
    return signed_in(place.people[who])


class TestTheTable:
    def test_every_route_is_written_down(self):
        assert {name for name, _, _ in all_routes()} == set(NEEDS)

    def test_names_are_given_once(self):
        names = [name for name, _, _ in all_routes()]
        assert len(names) == len(set(names))

    def test_what_a_project_page_needs_is_what_is_written(self):
        found = {name: getattr(pattern.callback, "needs", None) for name, _, pattern in all_routes()}
        assert found == {name: needs for name, (needs, _) in NEEDS.items()}

    def test_everything_under_a_project_asks_for_membership(self):
        for name, path, pattern in all_routes():
            assert path.startswith("p/<slug:slug>/") == hasattr(pattern.callback, "needs"), name

    def test_public_routes_are_few_and_outside_projects(self):
        assert PUBLIC_ROUTES == PUBLIC
        assert all(NEEDS[name][0] is None for name in PUBLIC)


@pytest.mark.portable
@pytest.mark.parametrize("name", sorted(set(NEEDS) - PUBLIC))
def test_who_is_not_signed_in_gets_nowhere(name, place):
    url, client = address(name, place), Client()
    for method in METHODS:
        response = ask(client, method, url)
        assert (response.status_code, response.url.split("?")[0]) == (302, "/sign-in"), method
    assert ask(client, "POST", url, Accept="application/json").status_code == 401
    part = ask(client, "POST", url, HX_Request="true")
    assert (part.status_code, part.headers["HX-Redirect"].split("?")[0], part.content) == (401, "/sign-in", b"")


@pytest.mark.parametrize("name", sorted(name for name in NEEDS if not NEEDS[name][0]))
def test_outside_projects_nothing_breaks(name, place, signed_in):
    clients = [Client(), *(signed_in(person) for person in (place.people["removed"], make_newcomer()))]
    for client in clients if name in PUBLIC else clients[1:]:
        for method in METHODS:
            status = ask(client, method, address(name, place)).status_code
            if method in NEEDS[name][1]:
                others = {"token-revoke": {404}, "projects-create": {403}, "address-prove": {404}}.get(name, set())
                if name.startswith(_OF_SITE):  # who are in test_connections and test_site_accounts
                    assert status == 403, method
                    continue
                assert status in {200, 204, 302, 303, 409, 422} | others, (method, status)
            else:
                assert status == 405, method


@pytest.mark.parametrize("name", IN_PROJECT)
class TestProjectRoutes:
    @pytest.mark.portable
    def test_for_others_the_project_does_not_exist(self, name, place, elsewhere, signed_in):
        """Not by a single byte: what they get is what they get for a project that nobody ever made."""
        url, nowhere = address(name, place), address(name, place, slug="never-made")
        for client in (signed_in(elsewhere.people["owner"]), as_person(place, "removed", signed_in)):
            for method in METHODS:
                real, made_up = (ask(client, method, one) for one in (url, nowhere))
                assert real.status_code == made_up.status_code == (404 if method in NEEDS[name][1] else 405), method
                assert _plain(real, place.project.slug) == _plain(made_up, "never-made")
            real, made_up = (ask(client, NEEDS[name][1][0], one, Accept="application/json") for one in (url, nowhere))
            assert real.content.replace(place.project.slug.encode(), b"never-made") == made_up.content

    def test_each_role_may_what_is_written(self, name, place, signed_in):
        needs, methods = NEEDS[name]
        for role in Role.values:
            client = as_person(place, role, signed_in)
            for method in METHODS:
                status = ask(client, method, address(name, place)).status_code
                if method not in methods:
                    assert status == 405, (role, method)
                elif role not in MAY[needs]:
                    assert status == 403, (role, method)
                else:
                    fine = {200, 201, 204, 303, 409, 422} | ({404} if name in _NAMES_MORE else set())
                    assert status in fine, (role, method, status)


@pytest.mark.portable
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("people-set", "person"),
        ("people-release", "person"),
        ("people-password", "person"),
        ("people-remove", "person"),
        ("people-hand-over", "person"),
        ("invitation-send", "invitation"),
        ("invitation-link", "invitation"),
        ("invitation-revoke", "invitation"),
        ("review-show", "item"),
        ("review-decide", "item"),
        ("items-show", "item"),
        ("items-withdraw", "item"),
        ("items-bring-back", "item"),
        ("items-correct", "item"),
        ("imports-preview", "upload"),
        ("imports-start", "upload"),
        ("imports-count", "upload"),
        ("imports-discard", "upload"),
        ("imports-quarantine", "source"),
        ("exports-download", "run"),
        ("runs-show", "run"),
        ("runs-pause", "run"),
        ("runs-resume", "run"),
        ("runs-cancel", "run"),
        ("runs-retry", "run"),
    ],
)
def test_forged_ids_are_not_found(name, key, place, elsewhere, signed_in):
    client, data = as_person(place, "owner", signed_in), {"role": "viewer"} if NEEDS[name][1] == ACTION else None
    for forged in (elsewhere.ids[key], "0" * 20, "x", "'; --", "１２３", elsewhere.project.public_id):
        assert ask(client, "GET", address(name, place, **{key: forged}), data).status_code == 404, forged


def test_every_address_that_names_something_is_tried_with_forged_names():
    named = {name for name, path, _ in all_routes() if "<str:" in path}
    assert named == {
        "people-set",
        "people-release",
        "people-password",
        "people-remove",
        "people-hand-over",
        "invitation-send",
        "invitation-link",
        "invitation-revoke",
        "review-show",
        "review-decide",
        "items-show",
        "items-withdraw",
        "items-bring-back",
        "items-correct",
        "imports-preview",
        "imports-start",
        "imports-count",
        "imports-discard",
        "imports-quarantine",
        "exports-download",
        "runs-show",
        "runs-pause",
        "runs-resume",
        "runs-cancel",
        "runs-retry",
        "invitation-accept",  # in test_accounts
        "password-reset",  # in test_accounts
        "token-revoke",  # in test_profile
        "address-prove",  # in test_addresses
        "accounts-show",  # in test_site_accounts
        "accounts-vouch",
        "accounts-deactivate",
        "accounts-reactivate",
        "accounts-hand-over",
        "mails-send",
        "connections-show",  # in test_connections
        "connections-test",
        "connections-lend",
        "connections-switch",
    }


@pytest.mark.parametrize("name", ["submit", "change", "draft", "reveal", "why"])
def test_of_forged_leases_nothing_is_said(name, place, elsewhere, signed_in):
    """Another project's, another person's in this one, one that nobody ever held: all the same."""
    client, url = as_person(place, "reviewer", signed_in), address(f"labeling-{name}", place)
    answer = {"label": "0", "key": "k" * 20, "seconds": "1"}
    leases = (elsewhere.lease.public_id, place.lease.public_id, "0" * 20)
    said = [ask(client, "POST", url, {"lease": lease, **answer}, Accept="application/json") for lease in leases]
    assert {response.status_code for response in said} <= {404, 409}
    assert len({response.content for response in said}) == 1


@pytest.mark.parametrize("name", ["renew", "release"])
def test_other_peoples_leases_stay_as_they_are(name, place, elsewhere, signed_in):
    before = list(Lease.objects.order_by("pk").values())
    client = as_person(place, "reviewer", signed_in)
    for lease in (elsewhere.lease, place.lease):
        client.post(address(f"labeling-{name}", place), {"lease": lease.public_id})
    assert list(Lease.objects.order_by("pk").values()) == before


def test_who_is_removed_is_out_at_the_next_request(place, signed_in):
    ann = place.people["annotator"]
    hers, owners = signed_in(ann), as_person(place, "owner", signed_in)
    page = address("labeling-work", place)
    assert hers.get(page).status_code == 200
    owners.post(address("people-remove", place, person=ann.public_id))
    assert hers.get(page).status_code == 404
    place.lease.refresh_from_db()
    assert place.lease.outcome == Lease.Outcome.RELEASED


def test_who_is_deactivated_is_out_at_the_next_request(place, signed_in):
    ann = place.people["annotator"]
    client = signed_in(ann)
    ann.is_active = False
    ann.save()
    assert client.get(address("labeling-work", place)).url.startswith("/sign-in")


def _plain(response: HttpResponse, slug: str) -> bytes:
    """The body without the address that was asked for and the form's token."""
    text = response.content.decode().replace(slug, "SLUG")
    parts = text.split('name="csrfmiddlewaretoken" value="')
    return "".join([parts[0], *(part.split('"', 1)[1] for part in parts[1:])]).encode()


def test_what_is_only_read_is_read_where_nothing_can_be_stored(place, signed_in):
    """Every page, on a database that refuses writes and a disk that takes no byte."""
    client = as_person(place, "owner", signed_in)
    for name, (_, methods) in NEEDS.items():
        if "GET" in methods and name != "readyz":
            with undone(), refusing_writes(), refusing_files():
                response = client.get(address(name, place))
                body = b"".join(response.streaming_content) if response.streaming else response.content
            is_other = {"sign-in": 302, "exports-download": 404}.get(name, 200)
            if name.startswith(_OF_SITE):
                is_other = 403
            assert response.status_code == is_other, (name, body)


def test_what_cannot_be_stored_is_a_sentence(place, signed_in):
    client, url = as_person(place, "owner", signed_in), address("settings-guidelines", place)
    for headers in ({}, {"HX-Request": "true"}, {"Accept": "application/json"}):
        with undone(), refusing_writes():
            response = client.post(url, {"guidelines": "Another guideline", "base": "1"}, headers=headers)
        assert response.status_code == 503
        assert "Nothing can be stored at the moment: this site can only be read." in response.content.decode()
        assert response.headers["Retry-After"] == "15"
        assert ("HX-Retarget" in response.headers) == ("HX-Request" in headers)


def test_nobody_guesses_a_password_that_cannot_be_counted(place):
    client, known = Client(), {"email": place.people["owner"].email, "password": "wrong"}
    with undone(), refusing_writes():
        response = client.post("/sign-in", known)
    assert response.status_code == 503
    assert "Nobody can sign in at the moment" in response.content.decode()
    assert response.headers["Retry-After"]
