"""manage.py sample: how much, everything, or the items of a file; and why a round is small."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from annotate.imports import ingest
from tests.annotate.test_rounds import import_rows
from tests.factories import make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def small(tmp_path):
    project = make_project()
    import_rows(project, tmp_path, 11)
    return project


def sample(project, *options):
    out = StringIO()
    call_command("sample", project.slug, *map(str, options), stdout=out, stderr=StringIO())
    return out.getvalue()


def test_everything(small):
    assert "11 questions (8 active, 2 audit, 3 random)" in sample(small, "--everything")


def test_a_small_round_says_why(small):
    said = sample(small, "--batch", 100)
    assert "100 questions were asked for, and there are only 6." in said
    assert "label everything" in said


def test_the_ids_of_a_file(small, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("\ufeffitem-1\r\n\n  item-2 \n", encoding="utf-8")
    sample(small, "--items", path)
    asked = small.rounds.get().queue.values_list("item__external_id", flat=True)
    assert {"item-1", "item-2"} <= set(asked)


@pytest.mark.parametrize(("content", "words"), [(b"\n \n", "names no item"), (b"\xff\xfe\x00", "cannot be read")])
def test_a_file_that_names_nothing(small, tmp_path, content, words):
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=words):
        sample(small, "--items", path)
    assert not small.rounds.exists()


@pytest.fixture
def project(tmp_path):
    project = make_project(name="Mails")
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(9, llm="yes"))
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="llm")
    return project


def test_it_asks_for_items_of_one_predicted_label(project, capsys):
    call_command("sample", "mails", "--batch", "4", "--request", "yes")
    assert "4 questions (4 request)" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "sentence"), [("no", "predicted no"), ("nope", "is not one of the labels")])
def test_it_says_what_cannot_be_asked_for(project, name, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("sample", "mails", "--request", name)


def test_it_asks_in_one_way_at_a_time(project):
    with pytest.raises(CommandError, match="for everything or for the items of a file"):
        call_command("sample", "mails", "--request", "yes", "--everything")
