"""A file that was sent is shown before anything is imported: every column, every bad row, every choice."""

import re

import pytest

from annotate import files
from annotate.errors import InvalidInput
from annotate.imports import file_preview
from annotate.models import Import, Item, Run, Upload
from annotate.silver import quotes
from tests.bad_files import BAD_FILES, GOOD_CSV, GOOD_JSONL, ODD_FILES
from tests.factories import make_project, owner_of
from tests.web.imports.sending import interrupted, page, perform, send, sent, text_of

pytestmark = pytest.mark.django_db


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

    def test_a_sample_is_not_taken_for_the_file(self, olga, project, monkeypatch):
        monkeypatch.setattr(file_preview, "N_CHECKED", 3)
        content = b"id,text\n" + b"".join(b"%d,text %d\n" % (n, n) for n in range(6))
        text = text_of(self.look(olga, project, sent(project, content)))
        assert "Only the first 3 rows were read so far" in text
        assert "3 new items so far; about 6 in the whole file" in text
        assert "Read and import all 6 rows" in text

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
    def test_a_bomb_is_looked_at_in_part_and_refused_by_the_run(self, olga, project, settings):
        settings.IMPORT_MAX_BYTES = 50_000_000
        response = olga.get(send(olga, project, BAD_FILES["a gzip bomb"].content(), "items.csv.gz").url)
        assert response.status_code == 200 and "It seems to hold about" in text_of(response)
        assert olga.post(page(project, "start", Upload.objects.get().public_id)).status_code == 303
        with pytest.raises(InvalidInput, match="when it is unpacked"):
            perform(Run.objects.get())
        assert not any(rows.objects.exists() for rows in (Import, Item))

    @pytest.mark.parametrize(
        "case", [name for name, bad in BAD_FILES.items() if bad.expect == "refused" and name != "a gzip bomb"]
    )
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
