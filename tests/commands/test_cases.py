"""Files of other tools by the command, with the columns of labels named, and nothing else said."""

import pytest
from django.core.management import call_command

from tests.cases import CASES, FOLDER, check, project_for

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_another_tool(name, capsys):
    project = project_for(name)
    named = [word for role, column in CASES[name].columns.items() for word in (f"--{role}-column", column)]
    call_command("import_items", project.slug, str(FOLDER / name), *named)
    check(name, project)
    assert CASES[name].warning in capsys.readouterr().out


def test_a_person_knows_better(tmp_path, capsys):
    """Encoding, delimiter, header and quotes, each against what the content tells."""
    project = project_for("no_header.csv")
    path = tmp_path / "x.csv"
    path.write_bytes('text|"good\nсуп|bad\n'.encode("koi8-r"))
    words = ("--encoding", "koi8-r", "--delimiter", "pipe", "--header", "no", "--quoting", "off")
    call_command("import_items", project.slug, str(path), *words, "--text-column", "column 1")
    texts = [item.content.payload["text"] for item in project.items.order_by("ordinal")]
    assert texts == ["text", "суп"] and "--header yes" in capsys.readouterr().out
