"""What reaches the site over a wire, however odd: an answer below 500, nothing kept, nothing cached."""

import io
import tempfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT

from tests.factories import make_project, make_user

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def anybody():
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


class Untouched(io.RawIOBase):
    """A body that nobody may read."""

    def read(self, *_):
        raise AssertionError("the body was read")


class TestTooLarge:
    @pytest.mark.parametrize("content_type", [FORM, MULTIPART_CONTENT, "application/json"])
    def test_it_is_refused_unread(self, anybody, settings, content_type):
        length = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
        body = {"wsgi.input": Untouched(), "CONTENT_LENGTH": str(length), "CONTENT_TYPE": content_type}
        assert anybody.post("/sign-in", **body).status_code == 413

    def test_scripts_get_json(self, anybody, settings):
        body = {"wsgi.input": Untouched(), "CONTENT_LENGTH": "99999999", "CONTENT_TYPE": FORM}
        response = anybody.post("/sign-in", headers={"Accept": "application/json"}, **body)
        assert response.json()["error"]["kind"] == "too_large"

    def test_the_size_must_be_known(self, anybody):
        body = {"wsgi.input": Untouched(), "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_TYPE": FORM}
        assert anybody.post("/sign-in", **body).status_code == 411

    def test_a_size_that_is_none(self, anybody):
        assert anybody.post("/sign-in", CONTENT_LENGTH="many").status_code == 400

    def test_nothing_of_a_file_is_kept(self, anybody, monkeypatch):
        def kept(*_, **__):
            raise AssertionError("a file was opened")

        monkeypatch.setattr(tempfile, "NamedTemporaryFile", kept)
        file = SimpleUploadedFile("data.csv", b"x" * 900_000)
        assert anybody.post("/sign-in", {"email": "a@b.example", "file": file}).status_code == 403


class TestNotReadable:
    @pytest.mark.parametrize(
        "charset", ["hex", "rot13", "idna", "utf-7", "unicode_escape", "utf-16", "latin-1", "none"]
    )
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_other_charsets(self, anybody, charset, method):
        ask = anybody.generic
        assert ask(method.upper(), "/sign-in", "next=%2F", f"{FORM}; charset={charset}").status_code == 400

    @pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"'])
    def test_our_own_charset(self, client, charset):
        response = client.generic("POST", "/sign-in", "email=x", f"{FORM}; charset={charset}")
        assert response.status_code == 422

    @pytest.mark.parametrize("charset", ["hex", "none", "utf-7"])
    def test_a_name_in_another_charset_is_no_crash(self, anybody, charset):
        part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name*={charset}''%41\r\n\r\nx\r\n--{BOUNDARY}--\r\n"
        assert anybody.generic("POST", "/sign-in", part, MULTIPART_CONTENT).status_code in (400, 403)

    def test_a_body_without_its_boundary(self, anybody):
        assert anybody.generic("POST", "/sign-in", "x", "multipart/form-data").status_code == 400

    def test_a_body_that_breaks_off(self, anybody):
        class Gone(io.RawIOBase):
            def read(self, *_):
                raise ConnectionResetError

        body = {"wsgi.input": Gone(), "CONTENT_LENGTH": "10", "CONTENT_TYPE": FORM}
        assert anybody.post("/sign-in", **body).status_code == 400

    @pytest.mark.parametrize("bytes_sent", ["%ED%A0%80", "%FF", "%00", "\\ud800", "%F0%9F%92"])
    @pytest.mark.parametrize("field", ["next", "email", "password"])
    def test_no_characters_are_no_crash(self, client, bytes_sent, field):
        client.raise_request_exception = False
        assert client.get(f"/sign-in?{field}={bytes_sent}").status_code == 200
        body = f"email=a%40b.example&password=x&{field}={bytes_sent}"
        assert client.generic("POST", "/sign-in", body, FORM).status_code == 422

    def test_half_of_a_pair_is_a_sentence(self, anybody, monkeypatch):
        def store(*_):
            "\ud800".encode()

        make_project(slug="strict")
        anybody.force_login(make_user("Ann"))
        monkeypatch.setattr("annotate.web.projects.my_projects.standings", store)
        response = anybody.get("/", headers={"Accept": "application/json"})
        assert (response.status_code, response.json()["error"]["kind"]) == (422, "invalid")


class TestWhereItLeads:
    @pytest.mark.parametrize("back", ["/\nX: y", "/\r\nX: y", "/\u00e4\u4f60", "/?q=\U0001f600", "/a b"])
    def test_it_is_ascii_on_one_line(self, client, back):
        response = client.post("/theme", {"theme": "dark", "next": back})
        location = response.headers["Location"]
        assert response.status_code == 303
        assert location.startswith("/")
        assert location.isascii()
        assert not set(location) & set("\r\n ")
        assert "X" not in response.headers


class TestCaching:
    @pytest.mark.parametrize("path", ["/", "/nowhere", "/p/nowhere/items"])
    def test_pages_are_kept_by_nobody(self, client, path):
        assert client.get(path).headers["Cache-Control"] == "private, no-store"

    def test_what_is_refused_is_kept_by_nobody(self, anybody):
        assert anybody.post("/sign-in").headers["Cache-Control"] == "private, no-store"

    def test_a_page_may_say_otherwise(self, client):
        assert "max-age=0" in client.get("/healthz").headers["Cache-Control"]

    def test_files_are_kept(self, client):
        assert "private" not in client.get("/static/site.js").headers["Cache-Control"]
