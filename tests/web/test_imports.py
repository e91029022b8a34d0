"""Importing by upload: only behind its door, shown before anything is stored, watched, and given up."""

import html
import io
import re
import tempfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import reverse

from annotate import files, tasks
from annotate.imports import ingest, uploads
from annotate.items import CORRECTIONS
from annotate.models import Import, Item, Run, Upload
from annotate.models.project import Role
from annotate.runs import lifecycle
from annotate.silver import quotes
from tests.annotate.imports.test_ingest import Stop, stop_after
from tests.bad_files import BAD_FILES, GOOD_CSV, GOOD_JSONL, ODD_FILES
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def olga(project, signed_in):
    return signed_in(owner_of(project))


def page(project, name="list", *ids):
    return reverse(f"imports-{name}", args=[project.slug, *ids])


def send(client, project, content=GOOD_CSV, name="items.csv", **more):
    return client.post(page(project, "upload"), {"file": SimpleUploadedFile(name, content)}, **more)


def text_of(response) -> str:
    return html.unescape(response.content.decode())


def kept() -> list:
    """Files in the store, and rows that speak of them."""
    store = files.path_of("uploads")
    return [*(path for path in store.rglob("*") if path.is_file()), *Upload.objects.all()]


def sent(project, content=GOOD_CSV, name="items.csv") -> Upload:
    return uploads.receive(project=project, by=owner_of(project), file_name=name, chunks=[content])


def perform(run: Run) -> Run:
    """What a worker does with it."""
    claimed = lifecycle.claim_next()
    assert claimed == run
    with lifecycle.taken_up(public_id=run.public_id, attempt=claimed.attempt) as attempt:
        tasks.perform(attempt)
    run.refresh_from_db()
    return run


def interrupted(project, monkeypatch) -> Upload:
    """An import of two rows that stopped after the first, with nobody at it."""
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 1)
    upload = sent(project)
    options = {"dialect": {"format": "csv"}, "columns": {"text": "text", "id": "id"}}
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            ingest.import_upload(project=project, by=owner_of(project), upload=upload.public_id, **options)
    Run.objects.update(state=Run.State.ERRORED)
    return upload


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


class TestThePage:
    def test_it_states_the_limit_and_what_to_do(self, olga, project):
        text = text_of(olga.get(page(project)))
        assert "up to 500.0 MB" in text and "CSV or JSON Lines" in text and "Nothing was imported yet" in text

    def test_it_lists_imports_with_what_became_of_the_rows(self, olga, project):
        send(olga, project, GOOD_CSV + b"1,other\n3,a good line\n")
        olga.post(page(project, "start", Upload.objects.get().public_id))
        perform(Run.objects.get())
        source = Import.objects.get()
        text = text_of(olga.get(page(project)))
        assert "items.csv" in text and str(owner_of(project)) in text
        assert f"{reverse('items-quarantined', args=[project.slug])}?import=1" in text
        assert page(project, "quarantine", source.public_id) in text

    def test_it_leaves_out_corrections(self, olga, project):
        Import.objects.create(project=project, file_name=CORRECTIONS, file_sha256="", state="complete")
        assert CORRECTIONS not in text_of(olga.get(page(project)))

    def test_a_run_is_watched(self, olga, project):
        run = make_run(project, kind="import", state="running", step="Importing", n_done=3, n_total=10)
        text = text_of(olga.get(page(project)))
        assert f'id="run-{run.public_id}"' in text and "3 of 10" in text

    def test_files_that_wait_are_linked(self, olga, project):
        assert page(project, "preview", sent(project).public_id) in text_of(olga.get(page(project)))

    def test_htmx_gets_the_part_alone(self, olga, project):
        assert "<html" not in text_of(olga.get(page(project), HTTP_HX_REQUEST="true"))

    def test_the_next_step_of_an_empty_project_leads_here(self, olga, project):
        assert f'href="{page(project)}">Import items' in text_of(
            olga.get(reverse("overview-show", args=[project.slug]))
        )


class TestPreview:
    def look(self, client, project, upload, **said):
        return client.get(page(project, "preview", upload.public_id), said)

    def test_it_shows_what_an_import_would_make_of_it(self, olga, project):
        content = "Nr;Anmerkung;label;Ort\n1;Grüße;yes;Köln\n2;Löwe;perhaps;Bonn\n2;Bär;no;\n".encode("cp1252")
        upload = sent(project, content)
        chosen = {"column_text": "Anmerkung", "column_id": "Nr", "column_gold": "label"}
        response = self.look(olga, project, upload, **chosen)
        text = text_of(response)
        for words in (
            "Semicolon (;)", "Windows-1252 (Western European)", "Grüße", "Köln", "Import 3 rows",
            "perhaps", "no label of this project", "Line", "none of the project's labels",
        ):  # fmt: skip
            assert words in text, words
        assert response.status_code == 200 and not Item.objects.exists() and not Import.objects.exists()

    def test_a_guess_is_called_a_guess(self, olga, project):
        upload = sent(project, "id,text\n1,Café\n2,Bär\n".encode("cp1252"))
        assert "a guess: look at the samples" in text_of(self.look(olga, project, upload))

    def test_it_says_what_pre_labeling_would_cost(self, olga, project, monkeypatch):
        upload = sent(project, GOOD_CSV)
        assert "would cost" not in text_of(self.look(olga, project, upload))
        monkeypatch.setattr(quotes, "of_new", lambda **asked: 1_500_000 * asked["n_items"])
        assert re.search("would cost about <span[^>]*>3.00.USD</span>", text_of(self.look(olga, project, upload)))

    def test_json_lines(self, olga, project):
        text = text_of(self.look(olga, project, sent(project, GOOD_JSONL, "items.jsonl")))
        assert "JSON Lines" in text and "Import 2 rows" in text and 'name="encoding"><option' not in text

    def test_another_encoding_can_be_chosen(self, olga, project):
        upload = sent(project, "id,text\n1,Привет\n".encode("cp1251"))
        assert "Привет" in text_of(self.look(olga, project, upload, encoding="cp1251"))

    def test_with_another_delimiter_columns_are_proposed_anew(self, olga, project):
        upload = sent(project, b"id;text\n1;a\n2;b\n")
        said = {"was_delimiter": "comma", "was_encoding": "utf-8", "encoding": "utf-8", "delimiter": "semicolon"}
        text = text_of(self.look(olga, project, upload, **said, column_text="id;text", column_id=""))
        assert "Import 2 rows" in text

    def test_columns_that_cannot_be_are_a_sentence_and_no_button(self, olga, project):
        for said, sentence in (
            ({"column_text": "text", "column_id": "text"}, "must be different columns"),
            ({"column_text": ""}, "Which column holds the text?"),
            ({"column_text": "nowhere"}, "There is no column 'nowhere'"),
        ):
            response = self.look(olga, project, sent(project), **said)
            assert sentence in text_of(response) and "Import 2 rows" not in text_of(response)
            assert "Show again" in text_of(response)

    @pytest.mark.parametrize(
        "said", [{"encoding": "rot13"}, {"delimiter": "x"}, {"format": "xml"}, {"header_line": "9"}]
    )
    def test_choices_that_there_are_not(self, olga, project, said):
        response = self.look(olga, project, sent(project), **said)
        assert response.status_code == 422 and "There is no" in text_of(response)

    def test_columns_called_like_methods_are_data(self, olga, project):
        text = text_of(self.look(olga, project, sent(project, b"text,items,values\na,one,two\n")))
        assert "<code>items</code>: <code>one</code>" in text

    def test_pairs(self, signed_in):
        pairs = make_project(modality="pair")
        upload = sent(pairs, b"premise,hypothesis\na,b\nc,d\n")
        text = text_of(self.look(signed_in(owner_of(pairs)), pairs, upload))
        assert "First text" in text and "Import 2 rows" in text

    def test_another_projects_upload_is_not_there(self, olga, project, signed_in):
        other = make_project()
        upload = sent(other)
        assert self.look(olga, project, upload).status_code == 404
        for name in ("start", "discard"):
            assert olga.post(page(project, name, upload.public_id)).status_code == 404
        assert not Run.objects.exists() and files.path_of(upload.file).exists()

    def test_one_that_was_thrown_away_is_not_there(self, olga, project, django_capture_on_commit_callbacks):
        upload = sent(project)
        with django_capture_on_commit_callbacks(execute=True):
            assert olga.post(page(project, "discard", upload.public_id)).url == page(project)
        assert not files.path_of(upload.file).exists()
        assert self.look(olga, project, upload).status_code == 404

    def test_another_unfinished_import_stands_in_the_way(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        text = text_of(self.look(olga, project, sent(project)))
        assert "is not finished" in text and "Import 2 rows" not in text


@pytest.mark.portable
class TestEveryBadFile:
    @pytest.mark.parametrize("case", [name for name, bad in BAD_FILES.items() if bad.expect == "refused"])
    def test_what_cannot_be_read_is_a_sentence(self, olga, project, settings, case):
        settings.IMPORT_MAX_BYTES = 50_000_000
        bad = BAD_FILES[case]
        said = {name: {"\t": "tab"}.get(value, value) for name, value in bad.choices.items()}
        response = send(olga, project, bad.content(), bad.name)
        if response.status_code == 303:
            response = olga.get(response.url, said)
            started = olga.post(page(project, "start", Upload.objects.get().public_id), said)
            assert started.status_code == 422 and bad.sentence in text_of(started)
        assert response.status_code in (200, 422) and bad.sentence in text_of(response)
        assert "Import " + "1 row" not in text_of(response)
        assert not any(rows.objects.exists() for rows in (Import, Item, Run))

    @pytest.mark.parametrize("case", [name for name, bad in BAD_FILES.items() if bad.expect == "quarantined"])
    def test_a_bad_row_is_shown_with_its_reason_and_set_aside(self, olga, project, case):
        bad = BAD_FILES[case]
        response = olga.get(send(olga, project, bad.content(), bad.name).url)
        assert response.status_code == 200 and bad.sentence in text_of(response)
        olga.post(page(project, "start", Upload.objects.get().public_id))
        run = perform(Run.objects.get())
        assert (run.state, Item.objects.count()) == ("succeeded", bad.n_good)
        response = olga.get(page(project, "quarantine", Import.objects.get().public_id))
        told = b"".join(response.streaming_content).decode("utf-8-sig").replace('""', '"')
        assert bad.sentence in told and response["Content-Disposition"].startswith("attachment")

    @pytest.mark.parametrize("case", ODD_FILES)
    def test_what_only_looks_odd_can_be_imported(self, olga, project, case):
        name, content, expected = ODD_FILES[case]
        text = text_of(olga.get(send(olga, project, content, name).url))
        assert f"Import {len(expected)} rows" in text


class TestStarting:
    def form(self, client, project, upload):
        """The fields of the form that the preview shows."""
        body = client.get(page(project, "preview", upload.public_id)).content.decode()
        part = body.split(page(project, "start", upload.public_id))[1].split("</form>")[0]
        pieces = part.split('<input type="hidden" name="')[1:]
        found = ((piece.split('"')[0], piece.split('value="')[1].split('"')[0]) for piece in pieces)
        return {name: html.unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}

    def test_it_imports_with_the_choices_of_the_form(self, olga, project):
        upload = sent(project, "uid\tReview\n1\tGrüße\n2\tTschüß\n".encode("cp1252"))
        shown = self.form(olga, project, upload)
        assert (shown["delimiter"], shown["encoding"], shown["column_text"]) == ("tab", "cp1252", "Review")
        response = olga.post(page(project, "start", upload.public_id), shown)
        assert (response.status_code, response.url) == (303, page(project))
        run = perform(Run.objects.get())
        assert run.parameters["dialect"]["delimiter"] == "\t"
        assert [item.content.payload["text"] for item in Item.objects.in_pool().order_by("pk")] == ["Grüße", "Tschüß"]

    def test_two_clicks_start_one_run(self, olga, project):
        upload = sent(project)
        shown = self.form(olga, project, upload)
        for _ in range(2):
            assert olga.post(page(project, "start", upload.public_id), shown).status_code == 303
        assert Run.objects.count() == 1

    def test_a_click_on_a_page_of_before_starts_nothing_again(self, olga, project):
        upload = sent(project)
        shown = self.form(olga, project, upload)
        olga.post(page(project, "start", upload.public_id), shown)
        perform(Run.objects.get())
        olga.post(page(project, "start", upload.public_id), shown)
        assert Run.objects.count() == 1 and Item.objects.count() == 2

    def test_while_another_file_is_imported_it_says_so(self, olga, project):
        first, second = sent(project), sent(project, b"id,text\n9,other\n")
        olga.post(page(project, "start", first.public_id))
        assert olga.post(page(project, "start", second.public_id)).status_code == 409

    def test_a_file_under_way_cannot_be_thrown_away(self, olga, project):
        upload = sent(project)
        olga.post(page(project, "start", upload.public_id))
        response = olga.post(page(project, "discard", upload.public_id))
        assert response.status_code == 409 and "is being imported" in text_of(response)


class TestUnfinished:
    def test_it_can_go_on(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        text = text_of(olga.get(page(project)))
        assert "read, then it stopped" in text and "Go on" in text
        assert olga.post(page(project, "go-on")).status_code == 303
        run = perform(Run.objects.get(state="queued"))
        assert (run.state, Import.objects.get().state, Item.objects.count()) == ("succeeded", "complete", 2)

    def test_it_can_be_given_up(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        assert olga.post(page(project, "give-up")).status_code == 303
        run = perform(Run.objects.get(state="queued"))
        assert run.state == "succeeded" and not Import.objects.exists() and not Item.objects.exists()

    def test_while_a_run_is_at_it_nothing_is_offered(self, olga, project, monkeypatch):
        interrupted(project, monkeypatch)
        Run.objects.update(state=Run.State.PAUSED, finished_at=None)
        assert "An import is not finished" not in text_of(olga.get(page(project)))

    def test_without_one_there_is_nothing_to_tell(self, olga, project):
        for name in ("go-on", "give-up"):
            assert olga.post(page(project, name)).status_code == 409
        assert not Run.objects.exists()

    def test_one_of_the_server_goes_on_there(self, olga, project):
        Import.objects.create(project=project, file_name="x.jsonl", file_sha256="0", options={"fields": {}})
        text = text_of(olga.get(page(project)))
        assert f"manage.py import_items {project.slug}" in text and "Go on" not in text
        assert olga.post(page(project, "go-on")).status_code == 409


class TestQuarantine:
    def test_viewers_may_and_reviewers_may_not(self, project, signed_in):
        source = Import.objects.create(project=project, file_name="x", file_sha256="0", state="complete")
        url = page(project, "quarantine", source.public_id)
        statuses = [signed_in(make_member(project, role=role)).get(url).status_code for role in ("viewer", "reviewer")]
        assert statuses == [200, 403]

    def test_another_projects_import_is_not_there(self, olga, project):
        source = Import.objects.create(project=make_project(), file_name="x", file_sha256="0", state="complete")
        assert olga.get(page(project, "quarantine", source.public_id)).status_code == 404
