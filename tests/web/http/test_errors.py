"""What goes wrong, in the form that was asked for; nothing leaks, and every answer carries the headers."""

import pytest
from django.db import OperationalError
from django.test import Client

from annotate.web import projects
from tests.factories import make_member, make_project, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.portable]
_SECRET = "the trace that nobody sees"


@pytest.fixture
def ann():
    return make_user("Ann")


@pytest.fixture
def broken(monkeypatch):
    def crash(*_, **__):
        raise RuntimeError(_SECRET)

    monkeypatch.setattr(projects.my_projects, "standings", crash)


def signed(user, **options) -> Client:
    client = Client(raise_request_exception=False, **options)
    client.force_login(user)
    return client


def failures(ann, settings):
    """(status, a function that provokes it with these headers) for each kind."""
    project = make_project(slug="strict")
    viewer = make_member(project, "Vera", "viewer")
    huge = {"email": "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)}
    return {
        400: lambda **headers: signed(ann).get("/", headers={"Host": "evil.example", **headers}),
        403: lambda **headers: signed(viewer).get("/p/strict/people", headers=headers),
        404: lambda **headers: signed(ann).get("/nowhere", headers=headers),
        413: lambda **headers: signed(ann).post("/password", huge, headers=headers),
        "csrf": lambda **headers: signed(ann, enforce_csrf_checks=True).post("/password", headers=headers),
        500: lambda **headers: signed(ann).get("/", headers=headers),
    }


KINDS = (400, 403, 404, 413, "csrf", 500)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("kind", KINDS)
class TestEachFailure:
    def test_as_a_page(self, kind, ann, settings):
        response = failures(ann, settings)[kind]()
        assert response.status_code == (403 if kind == "csrf" else kind)
        text = response.content.decode()
        assert text.startswith("<!doctype html>")
        assert 'role="alert"' in text
        assert text.count("<h1") == 1
        assert _SECRET not in text
        assert "Traceback" not in text

    def test_as_json(self, kind, ann, settings):
        response = failures(ann, settings)[kind](Accept="application/json")
        assert response.status_code == (403 if kind == "csrf" else kind)
        error = response.json()["error"]
        assert set(error) == {"kind", "message"}
        assert _SECRET not in error["message"]

    def test_as_a_message_for_htmx(self, kind, ann, settings):
        response = failures(ann, settings)[kind](HX_Request="true")
        if kind == 400:
            return  # a wrong Host fails before it is known who asks
        assert response.headers["HX-Retarget"] == "#message"
        assert response.content.strip().startswith(b'<div id="message"')

    def test_it_carries_the_headers(self, kind, ann, settings):
        headers = failures(ann, settings)[kind]().headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "same-origin"


class TestCrash:
    def test_without_a_database_it_still_says_something(self, ann, monkeypatch):
        def gone(*_, **__):
            raise OperationalError(_SECRET)

        client = signed(ann)
        monkeypatch.setattr(projects.my_projects, "standings", gone)
        monkeypatch.setattr("annotate.web.http.errors.render", gone)
        response = client.get("/")
        assert response.status_code == 500
        assert response.content == b"Something broke on our side. What was stored before is safe."


class TestHeaders:
    @pytest.mark.parametrize("path", ["/sign-in", "/static/site.js", "/static/icon.svg", "/static/goldloop.css"])
    def test_pages_and_files_carry_them(self, client, path):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
