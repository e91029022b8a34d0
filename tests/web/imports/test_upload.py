"""Sending a file: only behind its door, kept whole or not at all."""

import io
import tempfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from annotate import files
from annotate.models import Import, Item, Run, Upload
from annotate.models.project import Role
from tests.bad_files import GOOD_CSV
from tests.factories import make_member, make_user, owner_of
from tests.refusing import refusing_uploads
from tests.web.imports.sending import kept, page, send, sent, text_of

pytestmark = pytest.mark.django_db


class Untouched(io.RawIOBase):
    """A body that nobody may read."""

    def read(self, *_):
        raise AssertionError("the body was read")


def unread(project, length=400_000_000):
    return {"wsgi.input": Untouched(), "CONTENT_LENGTH": str(length), "CONTENT_TYPE": MULTIPART_CONTENT}


class TestSending:
    def test_it_keeps_the_file_and_leads_to_its_preview(self, olga, project):
        response = send(olga, project)
        upload = Upload.objects.get()
        assert (response.status_code, response.url) == (303, page(project, "preview", upload.public_id))
        assert files.checked_path(upload.file, upload.file_sha256).read_bytes() == GOOD_CSV
        assert (upload.file_name, upload.n_bytes, upload.created_by) == ("items.csv", len(GOOD_CSV), owner_of(project))
        assert not Item.objects.exists() and not Import.objects.exists() and not Run.objects.exists()

    def test_a_large_file_comes_whole_and_leaves_one_copy(self, olga, project):
        content = b"id,text\n" + b"".join(b"%d,some text of a row\n" % n for n in range(120_000))
        send(olga, project, content)
        [path, upload] = kept()
        assert path.read_bytes() == content and upload.n_bytes == len(content) > 2_000_000

    @pytest.mark.parametrize("content", [GOOD_CSV, b"id,text\n" + b"1,some text of a row\n" * 10_000])
    def test_of_a_file_for_which_there_is_no_room_nothing_is_kept(self, olga, project, content):
        with refusing_uploads():
            response = send(olga, project, content)
        assert response.status_code == 503
        assert "the disk of this site is full" in text_of(response)
        assert kept() == []

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("../../etc/items.csv", "items.csv"),
            ("C:\\Users\\olga\\items.csv", "items.csv"),
            ("a\x07\u202eb.csv", "ab.csv"),
            ("ünï <b>1.csv", "ünï <b>1.csv"),
        ],
    )
    def test_of_a_name_only_its_last_part_is_kept(self, olga, project, name, expected):
        assert send(olga, project, name=name).status_code == 303
        assert Upload.objects.get().file_name.startswith(expected)
        assert not set(Upload.objects.get().file_name) & set("/\\\x07\u202e")

    def test_a_name_of_300_characters_is_shortened_before_its_ending(self, olga, project):
        send(olga, project, name="x" * 300 + ".csv")
        upload = Upload.objects.get()
        assert len(upload.file_name) <= 200 and upload.file_name.endswith(".csv")
        assert olga.get(page(project, "preview", upload.public_id)).status_code == 200

    def test_the_name_is_shown_as_text(self, olga, project):
        upload = sent(project, name="<img src=x>.csv")
        body = olga.get(page(project, "preview", upload.public_id)).content.decode()
        assert "<img src=x>" not in body and "&lt;img src=x&gt;.csv" in body

    def test_no_file_chosen(self, olga, project):
        for body in ({}, {"file": "text"}):
            response = olga.post(page(project, "upload"), body)
            assert (response.status_code, kept()) == (422, [])
            assert "Choose a file first." in text_of(response)

    def test_a_form_of_another_type_has_no_file(self, olga, project):
        response = olga.post(page(project, "upload"), "file=x", content_type="application/x-www-form-urlencoded")
        assert (response.status_code, kept()) == (422, [])

    def test_an_empty_file(self, olga, project):
        response = send(olga, project, b"")
        assert (response.status_code, kept()) == (422, [])
        assert "items.csv is empty." in text_of(response)

    def test_a_file_over_the_limit_is_dropped_while_it_comes(self, olga, project, settings):
        settings.UPLOAD_MAX_BYTES = 100_000
        response = send(olga, project, b"x" * 300_000)
        assert (response.status_code, kept()) == (413, [])
        assert "items.csv is larger than 100,000 bytes, the most that is taken." in text_of(response)

    def test_beyond_the_quota_nothing_is_kept_and_it_says_when_it_opens(self, olga, project, settings):
        settings.UPLOAD_DAILY_FILES = 1
        assert send(olga, project).status_code == 303
        before = kept()
        response = send(olga, project)
        assert (response.status_code, kept()) == (429, before) and int(response.headers["Retry-After"]) > 0
        assert "Files: 1 of 1." in text_of(response) and "files: 1 of 1" in text_of(olga.get(page(project)))

    def test_a_file_at_the_limit_is_taken(self, olga, project, settings):
        settings.UPLOAD_MAX_BYTES = len(GOOD_CSV)
        assert send(olga, project).status_code == 303

    def test_a_body_far_over_the_limit_is_refused_unread(self, olga, project, settings):
        settings.UPLOAD_MAX_BYTES = 5_000_000
        response = olga.post(page(project, "upload"), **unread(project, 6_000_001))
        assert response.status_code == 413
        assert "more than 5.0 MB" in text_of(response)

    def test_only_the_first_file_of_its_field_is_taken(self, olga, project):
        more = {"file": [SimpleUploadedFile("a.csv", GOOD_CSV), SimpleUploadedFile("b.csv", b"b")]}
        olga.post(page(project, "upload"), {"other": SimpleUploadedFile("o.csv", b"other"), **more})
        assert [upload.file_name for upload in Upload.objects.all()] == ["a.csv"]

    def test_a_body_that_breaks_off_leaves_nothing(self, olga, project):
        body = encode_multipart(BOUNDARY, {"file": SimpleUploadedFile("items.csv", b"x" * 500_000)})

        class Broken(io.BytesIO):
            def read(self, *sizes):
                if self.tell() > 200_000:
                    raise ConnectionResetError
                return super().read(*sizes)

        there = {"wsgi.input": Broken(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": MULTIPART_CONTENT}
        assert olga.post(page(project, "upload"), **there).status_code == 400
        assert kept() == []

    def test_a_body_without_its_boundary(self, olga, project):
        response = olga.generic("POST", page(project, "upload"), "x", "multipart/form-data")
        assert (response.status_code, kept()) == (400, [])

    def test_sent_twice_it_is_two_files_and_no_items(self, olga, project):
        assert [send(olga, project).status_code for _ in range(2)] == [303, 303]
        assert Upload.objects.count() == 2 and not Item.objects.exists()


class TestTheDoor:
    """For others nothing of a file is read, and nothing written."""

    def test_who_is_not_signed_in(self, project):
        response = Client().post(page(project, "upload"), **unread(project))
        assert (response.status_code, response.url) == (302, "/sign-in")

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_members_who_do_not_manage(self, project, signed_in, role):
        client = signed_in(make_member(project, role=role))
        assert client.post(page(project, "upload"), **unread(project)).status_code == 403
        assert client.get(page(project)).status_code == 403
        assert send(client, project).status_code == 403 and kept() == []

    def test_strangers(self, project, signed_in):
        client = signed_in(make_user())
        assert client.post(page(project, "upload"), **unread(project)).status_code == 404
        assert client.get(page(project)).status_code == 404

    def test_other_pages_take_no_files(self, olga, project):
        assert olga.post("/sign-in", **unread(project)).status_code == 413

    def test_without_the_forms_token_nothing_is_kept(self, project):
        client = Client(enforce_csrf_checks=True)
        client.force_login(owner_of(project))
        response = send(client, project)
        assert (response.status_code, kept()) == (403, [])
        assert "This page was open for too long" in text_of(response)

    def test_with_the_forms_token_it_is(self, project):
        client = Client(enforce_csrf_checks=True)
        client.force_login(owner_of(project))
        body = client.get(page(project)).content.decode()
        token = body.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = {"csrfmiddlewaretoken": token, "file": SimpleUploadedFile("items.csv", GOOD_CSV)}
        assert client.post(page(project, "upload"), form).status_code == 303

    def test_every_other_action_wants_the_token(self, project):
        client, upload = Client(enforce_csrf_checks=True), sent(project)
        client.force_login(owner_of(project))
        for url in (
            *(page(project, name, upload.public_id) for name in ("start", "discard")),
            *(page(project, name) for name in ("go-on", "give-up")),
        ):
            assert client.post(url).status_code == 403, url

    def test_nothing_is_written_outside_the_store(self, olga, project, monkeypatch):
        real, folders = tempfile.TemporaryFile, []

        def noted(*args, **options):
            folders.append(options["dir"])
            return real(*args, **options)

        monkeypatch.setattr(tempfile, "TemporaryFile", noted)
        send(olga, project)
        assert folders == [files.path_of("uploads")]
