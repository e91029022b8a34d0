"""manage.py export."""

import pytest
from django.core.management import CommandError, call_command

from annotate.dataset import export
from annotate.imports import ingest
from tests.factories import make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    project = make_project(name="Mails")
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(3, llm="yes"))
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="llm")
    return project


def test_it_writes_both_formats_and_says_where(project, tmp_path, capsys):
    call_command("export", "mails", "--out", str(tmp_path / "out"))
    manifest = tmp_path / "out" / "mails-v1.manifest.json"
    assert str(manifest) in capsys.readouterr().out
    assert export.verify_export(manifest) == []


def test_it_exports_nothing_new_under_the_same_version(project, tmp_path):
    for _ in range(2):
        call_command("export", "mails", "--out", str(tmp_path / "out"))
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_it_writes_one_format(project, tmp_path):
    call_command("export", "mails", "--out", str(tmp_path / "out"), "--format", "csv")
    assert [path.suffix for path in sorted((tmp_path / "out").iterdir())] == [".csv", ".json"]


def test_it_answers_a_mistake_with_a_sentence(project, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CommandError, match="cannot be a folder"):
        call_command("export", "mails", "--out", str(tmp_path / "file"))
