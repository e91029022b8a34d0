"""The description: complete, and readable in a browser by whoever is signed in."""

import pytest
from django.test import Client

from annotate.api.http import description
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


@pytest.fixture
def signed_in() -> Client:
    client = Client()
    client.force_login(make_user("Ann"))
    return client


def test_the_page_shows_every_operation(signed_in):
    text = signed_in.get("/api/v1/docs").content.decode()
    for path, methods in description.document()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in text


def test_the_page_needs_nothing_that_the_policy_forbids(signed_in):
    response = signed_in.get("/api/v1/docs")
    text = response.content.decode()
    assert "style=" not in text
    assert "<script>" not in text
    assert "http://" not in text.replace("http://testserver/", "")
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_the_document_can_be_had_with_a_session_too(signed_in):
    assert signed_in.get("/api/v1/schema").json()["openapi"].startswith("3.")
    assert Client().get("/api/v1/schema").status_code == 401


def test_what_is_written_is_not_taken_by_the_session(signed_in):
    assert signed_in.post("/api/v1/schema", {}, content_type="application/json").status_code == 405
    assert signed_in.post("/api/v1/projects", {}, content_type="application/json").status_code == 401


def test_the_page_is_for_people_who_are_signed_in():
    assert Client().get("/api/v1/docs").url.startswith("/sign-in")
