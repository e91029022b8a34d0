"""manage.py import_items: what a newcomer sees."""

import pytest
from django.core.management import CommandError, call_command

from annotate.imports import ingest
from annotate.models import Item
from tests.annotate.imports.taking_in import Stop, stop_after
from tests.factories import make_member, make_project, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project(name="Mails")


def run(capsys, *words) -> str:
    call_command("import_items", *map(str, words))
    return capsys.readouterr().out


def test_it_says_what_came_of_the_file(project, tmp_path, capsys):
    path = write_jsonl(tmp_path / "items.jsonl", [*rows_of(3), *rows_of(1), {"id": 9}])
    said = run(capsys, "mails", path)
    assert "3 new items, 0 brought back, 1 duplicates, 1 rejected lines from items.jsonl." in said
    assert 'line 5: has no "text"' in said


def test_it_names_no_more_than_ten_reasons(project, tmp_path, capsys):
    said = run(capsys, "mails", write_jsonl(tmp_path / "items.jsonl", [[i] for i in range(25)]))
    assert said.count("  line ") == 10 and "and 15 more" in said
    assert "Nothing in this file could be used" in said


def test_it_says_how_many_labels_came_in(project, tmp_path, capsys):
    path = write_jsonl(tmp_path / "x", [{"text": "a", "y": "yes", "s": "no"}, {"text": "b", "s": "what"}])
    said = run(capsys, "mails", path, "--gold-field", "y", "--silver-field", "s")
    assert "1 of the new items came with a gold label in 'y'." in said
    assert "1 of the new items came with a machine's label in 's'." in said


def test_it_shows_a_typing_error_in_a_column_name(project, tmp_path, capsys):
    path = write_jsonl(tmp_path / "x", [{"text": "a", "y": "yes"}])
    assert "0 of the new items came with a gold label in 'yy'." in run(capsys, "mails", path, "--gold-field", "yy")


def put(path, content: bytes):
    path.write_bytes(content)
    return path


def test_it_reads_a_table_by_the_names_of_its_columns(project, tmp_path, capsys):
    said = run(capsys, "mails", put(tmp_path / "x", b"uid;Review;n\n7;good;1\n8;bad;2\n"))
    assert "Reading CSV in UTF-8: text from 'Review', id from 'uid'." in said and "2 new items" in said
    assert [(item.external_id, item.content.payload["text"]) for item in Item.objects.order_by("ordinal")] == [
        ("7", "good"),
        ("8", "bad"),
    ]


def test_it_takes_the_columns_that_are_named(project, tmp_path, capsys):
    path = put(tmp_path / "x", b"text,b,c\n1,good,k1\n2,bad,k2\n")
    run(capsys, "mails", path, "--text-column", "b", "--id-column", "c")
    assert Item.objects.get(external_id="k1").content.payload == {"text": "good"}
    other = write_jsonl(tmp_path / "y", [{"body": "a text", "key": 5}])
    run(capsys, "mails", other, "--text-column", "body", "--id-column", "key")
    assert Item.objects.get(external_id="5").content.payload == {"text": "a text"}


def test_it_says_what_it_guessed_and_takes_what_it_is_told(project, tmp_path, capsys):
    path = put(tmp_path / "x", "id,text\n1,a\tÄrger\n".encode("latin-1"))
    assert "its encoding is a guess" in run(capsys, "mails", path)
    words = ("--encoding", "latin-1", "--delimiter", "tab", "--text-column", "Ärger", "--format", "csv")
    run(capsys, "mails", put(tmp_path / "y", "id\tÄrger\n2\tx,y\n".encode("latin-1")), *words)
    assert Item.objects.get(external_id="2").content.payload == {"text": "x,y"}


def test_it_goes_on_with_a_table(project, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
    path = put(tmp_path / "x", b"id,text\n" + b"".join(b"%d,text %d\n" % (n, n) for n in range(9)))
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            run(capsys, "mails", path)
    assert "9 new items" in run(capsys, "mails", path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("mails", "/nowhere/items.jsonl"), "There is no file"),
        (("mails", "/"), "is a directory"),
        (("mails",), "Which file"),
        (("nobody", "x"), "There is no project 'nobody'"),
        (("mails", "--abandon"), "has no unfinished import"),
    ],
)
def test_it_answers_a_mistake_with_a_sentence(project, capsys, words, reason):
    with pytest.raises(CommandError, match=reason):
        run(capsys, *words)


def test_it_asks_for_the_column_of_the_text(project, tmp_path, capsys):
    path = put(tmp_path / "x", b"a,b\n1,2\n")
    with pytest.raises(CommandError, match="Which column holds the text"):
        run(capsys, "mails", path)
    with pytest.raises(CommandError, match="There is no column 'c'; there are: 'a', 'b'"):
        run(capsys, "mails", path, "--text-column", "c")


def test_it_acts_for_the_person_named(project, tmp_path, capsys):
    ann = make_member(project)
    with pytest.raises(CommandError, match="to manage takes"):
        run(capsys, "mails", write_jsonl(tmp_path / "x", rows_of(1)), "--as", ann.email)


def test_it_abandons_and_starts_another_file(project, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            run(capsys, "mails", write_jsonl(tmp_path / "a", rows_of(9)))
    said = run(capsys, "mails", write_jsonl(tmp_path / "b", rows_of(2, "other")), "--abandon")
    assert "4 hidden items were deleted" in said and "2 new items" in said
    assert Item.objects.count() == 2
