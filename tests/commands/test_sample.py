"""manage.py sample."""

import pytest
from django.core.management import CommandError, call_command

from annotate.imports import ingest
from tests.factories import make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


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
