"""Deny by default, for programs: every route, by every method, for every scope of a token and every role.

NEEDS is written by hand: a route that is new or opens for others than before fails until somebody has said so here.
"""

import copy
import json
from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse

from annotate.access import MAY
from annotate.accounts import tokens
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.permissions import SCOPES, HasRole, HasScope, IsKnown, IsSiteOwner
from annotate.api.http.throttling import TokenThrottle
from annotate.imports import uploads
from annotate.models import ApiToken, GuidelineVersion, User
from annotate.models.project import Role
from annotate.silver import connections
from tests.api.conftest import Program
from tests.api.http.test_endpoint import is_problem
from tests.factories import make_user
from tests.refusing import refusing_files, refusing_writes
from tests.web.site import Place, api_routes, make_place, make_stranger

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READ, ANNOTATE, MANAGE = SCOPES
SITE = "site"  # for owners of the site

# name: by method the scope of the token, and what a member must be allowed to do (None: outside projects)
NEEDS: dict[str, dict[str, tuple[str, str | None]]] = {
    "api-schema": {"GET": (READ, None)},
    "api-me": {"GET": (READ, None)},
    "api-me-address": {"POST": (MANAGE, None)},
    "api-accounts": {"GET": (READ, SITE)},
    "api-mails": {"GET": (READ, SITE)},
    "api-mail-send": {"POST": (MANAGE, SITE)},
    "api-account": {"GET": (READ, SITE)},
    "api-account-active": {"PUT": (MANAGE, SITE)},
    "api-account-vouch": {"PUT": (MANAGE, SITE), "DELETE": (MANAGE, SITE)},
    "api-account-project-owner": {"PUT": (MANAGE, SITE)},
    "api-connections": {"GET": (READ, SITE), "POST": (MANAGE, SITE)},
    "api-connection": {"GET": (READ, SITE), "PATCH": (MANAGE, SITE)},
    "api-connection-active": {"PUT": (MANAGE, SITE)},
    "api-connection-test": {"POST": (MANAGE, SITE)},
    "api-connection-project": {"PUT": (MANAGE, SITE), "DELETE": (MANAGE, SITE)},
    "api-projects": {"GET": (READ, None), "POST": (MANAGE, None)},
    "api-project": {"GET": (READ, "view"), "PATCH": (MANAGE, "manage")},
    "api-progress": {"GET": (READ, "evidence")},
    "api-schemas": {"GET": (READ, "view"), "POST": (MANAGE, "manage")},
    "api-schema-preview": {"POST": (MANAGE, "manage")},
    "api-schema-version": {"GET": (READ, "view"), "DELETE": (MANAGE, "manage")},
    "api-guidelines": {"GET": (READ, "view"), "POST": (MANAGE, "manage")},
    "api-guidelines-version": {"GET": (READ, "view")},
    "api-items": {"GET": (READ, "evidence")},
    "api-items-withdraw": {"POST": (MANAGE, "manage")},
    "api-item": {"GET": (READ, "evidence")},
    "api-item-history": {"GET": (READ, "evidence")},
    "api-item-correct": {"POST": (MANAGE, "manage")},
    "api-item-bring-back": {"POST": (MANAGE, "manage")},
    "api-quote": {"GET": (READ, "manage")},
    "api-uploads": {"GET": (READ, "manage"), "POST": (MANAGE, "manage")},
    "api-upload-quota": {"GET": (READ, "manage")},
    "api-upload": {"GET": (READ, "manage"), "DELETE": (MANAGE, "manage")},
    "api-upload-preview": {"POST": (MANAGE, "manage")},
    "api-upload-count": {"POST": (MANAGE, "manage")},
    "api-imports": {"GET": (READ, "manage"), "POST": (MANAGE, "manage")},
    "api-import": {"GET": (READ, "manage")},
    "api-import-abandon": {"POST": (MANAGE, "manage")},
    "api-import-quarantine": {"GET": (READ, "download")},
    "api-predictions": {"GET": (READ, "download")},
    "api-estimates": {"GET": (READ, "evidence")},
    "api-annotations": {"GET": (READ, "evidence")},
    "api-seals": {"GET": (READ, "evidence")},
    "api-methods": {"GET": (READ, "evidence")},
    "api-rounds": {"GET": (READ, "evidence")},
    "api-models": {"GET": (READ, "evidence")},
    "api-runs": {"GET": (READ, "evidence"), "POST": (MANAGE, "manage")},
    "api-run": {"GET": (READ, "evidence")},
    "api-run-lines": {"GET": (READ, "evidence")},
    "api-run-pause": {"POST": (MANAGE, "manage")},
    "api-run-resume": {"POST": (MANAGE, "manage")},
    "api-run-cancel": {"POST": (MANAGE, "manage")},
    "api-run-retry": {"POST": (MANAGE, "manage")},
    "api-exports": {"GET": (READ, "download"), "POST": (MANAGE, "manage")},
    "api-export": {"GET": (READ, "download")},
    "api-export-file": {"GET": (READ, "download")},
    "api-label": {"GET": (READ, "annotate")},
    "api-label-next": {"POST": (ANNOTATE, "annotate")},
    "api-label-submit": {"POST": (ANNOTATE, "annotate")},
    "api-label-skip": {"POST": (ANNOTATE, "annotate")},
    "api-label-change": {"POST": (ANNOTATE, "annotate")},
    "api-label-renew": {"POST": (ANNOTATE, "annotate")},
    "api-label-release": {"POST": (ANNOTATE, "annotate")},
    "api-label-draft": {"PUT": (ANNOTATE, "annotate")},
    "api-label-reveal": {"POST": (ANNOTATE, "annotate")},
    "api-label-why": {"POST": (ANNOTATE, "annotate")},
    "api-label-history": {"GET": (READ, "annotate")},
    "api-disputes": {"GET": (READ, "review")},
    "api-dispute": {"GET": (READ, "review")},
    "api-adjudications": {"GET": (READ, "review"), "POST": (MANAGE, "review")},
    "api-annotator": {"GET": (READ, "manage"), "PUT": (MANAGE, "manage")},
    "api-usable-connections": {"GET": (READ, "manage")},
    "api-budgets": {"GET": (READ, "money")},
    "api-budget": {"GET": (READ, "money"), "PUT": (MANAGE, "manage")},
    "api-budget-stop": {"POST": (MANAGE, "manage")},
    "api-budget-resume": {"POST": (MANAGE, "manage")},
    "api-ledger": {"GET": (READ, "money")},
    "api-members": {"GET": (READ, "manage")},
    "api-member": {"PUT": (MANAGE, "manage"), "DELETE": (MANAGE, "manage")},
    "api-member-release": {"POST": (MANAGE, "manage")},
    "api-member-password": {"POST": (MANAGE, "manage")},
    "api-invitations": {"GET": (READ, "manage"), "POST": (MANAGE, "manage")},
    "api-invitation": {"DELETE": (MANAGE, "manage")},
    "api-invitation-send": {"POST": (MANAGE, "manage")},
    "api-invitation-link": {"POST": (MANAGE, "manage")},
    "api-owner": {"PUT": (MANAGE, "own")},
}
IN_PROJECT = sorted(name for name, ways in NEEDS.items() if {needs for _, needs in ways.values()} - {None, SITE})


# The walk names nothing of these that exists.
_NAMES_MORE = {"api-dispute", "api-export", "api-export-file", "api-import-quarantine", "api-schema-version"}


@pytest.fixture(scope="module")
def place_for_all(rows_for_all: None) -> Place:
    place = make_place()
    place.ids |= {"project": place.project.slug, "version": 1, "kind": "machine"}
    owner = make_user("Site", is_site_owner=True)
    settings = {"name": "Server", "base_url": "http://127.0.0.1:9/v1", "model": "m", "allows_private": True}
    place.ids["connection"] = connections.create(by=owner, **settings).public_id
    place.people["site owner"] = owner
    chunks = [b'{"text": "Plugh"}']
    sent = uploads.receive(project=place.project, by=place.people["owner"], file_name="a.jsonl", chunks=chunks)
    place.ids |= {"upload": sent.public_id, "source": place.project.imports.first().public_id}
    return place


@pytest.fixture
def place(db: None, place_for_all: Place) -> Place:
    return copy.deepcopy(place_for_all)


def address(name: str, place: Place, **other: Any) -> str:
    pattern = next(pattern for known, _, pattern in api_routes() if known == name)
    ids = {**place.ids, **other}
    return reverse(name, kwargs={key: ids[key] for key in pattern.pattern.converters})


def ask(program: Program, method: str, url: str) -> Any:
    with transaction.atomic():
        response = program.ask(method, url, None if method == "GET" else {})
        transaction.set_rollback(True)
    return response


class TestTheTable:
    def test_every_route_is_written_down(self):
        assert {name for name, _, _ in api_routes()} == set(NEEDS)

    def test_every_route_lies_where_failures_are_problems(self):
        assert all(path.startswith("api/v1/") for _, path, _ in api_routes())

    def test_what_a_route_needs_is_what_is_written(self):
        for name, path, pattern in api_routes():
            found = {}
            for method in METHODS:
                asked = getattr(getattr(pattern.callback.cls, method.lower(), None), "operation", None)
                if asked:
                    assert asked.needs is None or not asked.for_site_owners, name
                    found[method] = (asked.scope, SITE if asked.for_site_owners else asked.needs)
            assert found == NEEDS[name], name
            assert ("<slug:project>" in path) == (name in IN_PROJECT), name

    def test_every_route_goes_through_the_one_door(self):
        for name, _, pattern in api_routes():
            assert issubclass(pattern.callback.cls, Endpoint), name
            assert pattern.callback.cls.permission_classes == [IsKnown, HasScope, IsSiteOwner, HasRole], name
            assert pattern.callback.cls.throttle_classes == [TokenThrottle], name
            names = [one.__name__ for one in pattern.callback.cls.authentication_classes]
            assert names == (["BearerToken", "Session"] if name == "api-schema" else ["BearerToken"]), name

    def test_reading_never_takes_more_than_the_scope_read(self):
        for name, ways in NEEDS.items():
            for method, (scope, _) in ways.items():
                assert (scope == READ) == (method == "GET"), name


@pytest.mark.portable
def test_without_a_token_nobody_gets_anywhere(place):
    program = Program(None)
    for name in NEEDS:
        for method in METHODS:
            response = ask(program, method, address(name, place))
            assert response.status_code == 401, (name, method)
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert b"Quux" not in response.content


# The two who reach every route between them make every statement.
_PORTABLE = [pytest.param(role, marks=pytest.mark.portable) for role in Role.values if role != Role.OWNER]


@pytest.mark.parametrize("role", [Role.OWNER.value, "site owner", *_PORTABLE])
def test_each_role_and_scope_may_what_is_written(role, place):
    programs = {scope: Program(place.people[role], scope) for scope in SCOPES}
    for name, ways in NEEDS.items():
        for method, way in ways.items():
            for scope, program in programs.items():
                status = ask(program, method, address(name, place)).status_code
                assert status in _expected(way, role, scope), (name, method, scope, status)


@pytest.mark.portable
def test_there_are_no_other_methods(place):
    program = Program(place.people["owner"])
    for name, ways in NEEDS.items():
        for method in set(METHODS) - set(ways):
            assert ask(program, method, address(name, place)).status_code == 405, (name, method)


def _expected(way: tuple[str, str | None], role: str, scope: str) -> set[int]:
    takes, needs = way
    if SCOPES.index(ApiToken.Scope(scope)) < SCOPES.index(ApiToken.Scope(takes)):
        return {403}
    if needs == SITE:
        # Nothing is sent with it: what needs a body says so.
        return {200, 201, 204, 404, 409, 422} if role == "site owner" else {403}
    if needs is None:
        return {200, 201, 409, 422}
    if role == "site owner":  # who runs the site is no member of its projects
        return {404}
    return {200, 201, 204, 404, 409, 422} if role in MAY[needs] else {403}


def test_for_others_the_project_does_not_exist(place):
    """Not by a single byte: what they get is what they get for a project that nobody ever made."""
    for person in (make_stranger(), place.people["removed"]):
        program = Program(person)
        for name in IN_PROJECT:
            url, nowhere = address(name, place), address(name, place, project="never-made")
            for method in NEEDS[name]:
                real, made_up = ask(program, method, url), ask(program, method, nowhere)
                assert real.status_code == made_up.status_code == 404, (name, method)
                assert real.content.replace(place.project.slug.encode(), b"never-made") == made_up.content


@pytest.mark.parametrize("key", ["person", "invitation", "run", "item"])
def test_things_of_another_project_are_not_found(key, place):
    other, program = make_place("Elsewhere"), Program(place.people["owner"])
    for name, path, _ in api_routes():
        if f":{key}>" not in path:
            continue
        for method in NEEDS[name]:
            response = ask(program, method, address(name, place, **{key: other.ids[key]}))
            assert response.status_code in (404, 422), (name, method)
            assert b"Plugh" not in response.content


def test_who_is_removed_or_deactivated_is_out_at_the_next_request(place):
    program = Program(place.people["annotator"])
    assert program.get(address("api-project", place)).status_code == 200
    owner = Program(place.people["owner"])
    url = address("api-member", place, person=program.user.public_id)
    assert owner.delete(url).status_code == 200
    assert program.get(address("api-project", place)).status_code == 404
    User.objects.filter(pk=program.user.pk).update(is_active=False)
    assert program.get(address("api-project", place)).status_code == 401


def test_a_role_that_changes_counts_at_once(place):
    program = Program(place.people["admin"])
    assert program.get(address("api-members", place)).status_code == 200
    member = place.project.members.get(user=program.user)
    member.role = Role.ANNOTATOR
    member.save()
    assert program.get(address("api-members", place)).status_code == 403


def test_tokens_and_keys_are_in_no_answer(place):
    """Of every address that can be read, by the one who may read most."""
    owner = place.people["owner"]
    owner.is_site_owner = True
    owner.save()
    program = Program(owner, READ)
    digests = [*ApiToken.objects.values_list("token_sha256", flat=True), owner.password]
    for name, ways in NEEDS.items():
        if "GET" in ways:
            body = b"".join(program.get(address(name, place))).decode()
            assert not [one for one in digests if one in body], name
            assert "token_sha256" not in body and "key_encrypted" not in body, name
    assert json.loads(Program(owner).get("/api/v1/me").content)["email"] == owner.email
    assert tokens.live(owner).exists()


def test_what_is_only_read_is_read_where_nothing_can_be_stored(place, settings):
    """On a database that refuses writes and a disk that takes no byte; that a token is used is not noted then."""
    settings.API_THROTTLES = {"request": (1.0, 100_000), "submit": (1.0, 100_000)}
    programs = [Program(place.people[who]) for who in ("owner", "site owner")]
    for name, ways in NEEDS.items():
        if "GET" not in ways:
            continue
        needs, url = ways["GET"][1], address(name, place)
        with transaction.atomic(), refusing_writes(), refusing_files():
            response = programs[needs == SITE].get(url)
            body = b"".join(response.streaming_content) if response.streaming else response.content
        # The project has no connection to quote the price of.
        usual = {409} if name == "api-quote" else {200, 404} if name in _NAMES_MORE else {200}
        assert response.status_code in usual, (name, body)
    assert programs[0].token.last_used_at is None


def test_what_cannot_be_stored_is_a_problem(place):
    program, url = Program(place.people["owner"]), address("api-guidelines", place)
    before = GuidelineVersion.objects.count()
    with transaction.atomic(), refusing_writes():
        response = program.post(url, {"markdown": "Another."}, Idempotency_Key="a")
        transaction.set_rollback(True)
    assert is_problem(response, 503)
    assert response.json()["type"] == "urn:goldloop:problem:read_only"
    assert response.headers["Retry-After"] == "15"
    assert GuidelineVersion.objects.count() == before
    assert program.post(url, {"markdown": "Another."}, Idempotency_Key="a").status_code == 201
