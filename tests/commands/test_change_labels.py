"""manage.py change_labels."""

import json

import pytest
from django.core.management import CommandError, call_command

from annotate import projects
from annotate.models import Gold
from annotate.models.project import Arm
from tests.factories import make_member, make_project
from tests.rows import make_items, make_run, make_silver

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    """Four items with a machine label, one of them with gold."""
    project = make_project(("red", "green", "blue"), name="Colours")
    items = make_items(project)
    make_silver(project, items)
    red = projects.labels_of(projects.current_schema(project))[0]
    Gold.objects.create(
        project=project, item=items[0], label=red, rule="imported", origin=Arm.IMPORTED, is_blind=False
    )  # fmt: skip
    return project


@pytest.fixture
def run(tmp_path, capsys):
    def run(*words, labels=None):
        path = tmp_path / "labels.json"
        if labels is not None:
            path.write_text(json.dumps(labels))
            words = (path, *words)
        call_command("change_labels", "colours", *map(str, words))
        return capsys.readouterr().out

    return run


NEXT = ["green", {"name": "navy", "was": ["blue"]}, "pink"]


def names(project):
    return [label.name for label in projects.labels_of(projects.current_schema(project))]


def test_the_preview_stores_nothing(project, run):
    said = run("--preview", labels=NEXT)
    for line in (
        "red: retired; 1 gold labels become void; 4 machine labels are no valid answer",
        "blue: navy; 0 gold labels become void; 0 machine labels read as navy",
        "pink: new",
        "Void: 1 gold labels. Asked again: 0 items of the samples. Settled: 0 disputes.",
        "Models deliver again after training.",
    ):
        assert line in said
    assert names(project) == ["red", "green", "blue"]


def test_it_changes_them_and_takes_it_back(project, run):
    assert "now version 2" in run(labels=NEXT)
    assert names(project) == ["green", "navy", "pink"]
    assert "still version 2" in run(labels=["green", "navy", "pink"])
    assert "version 1 of the labels of colours is in force again" in run("--undo")
    assert names(project) == ["red", "green", "blue"]


def test_what_followed_keeps_it(project, run):
    run(labels=NEXT)
    make_run(project)
    with pytest.raises(CommandError, match="Long work ended since"):
        run("--undo")


@pytest.mark.parametrize(
    ("words", "labels", "sentence"),
    [
        ((), None, "Give a file of labels, or --undo"),
        (("--undo",), ["a", "b"], "Give a file of labels, or --undo"),
        (("--undo", "--preview"), None, "Give a file of labels, or --undo"),
        ((), [{"name": "a", "was": ["grey"]}, "b"], "There is no label 'grey' now"),
        ((), [{"name": "red", "new_meening": True}, "b"], "new_meening"),
        ((), ["one"], "2 to"),
    ],
)
def test_what_is_odd_is_said_in_a_sentence(project, run, words, labels, sentence):
    with pytest.raises(CommandError, match=sentence):
        run(*words, labels=labels)
    assert names(project) == ["red", "green", "blue"]


def test_a_file_that_is_no_json_is_named(project, run, tmp_path):
    (tmp_path / "broken.json").write_text('["a",\n')
    with pytest.raises(CommandError, match=r"broken.json, line 2"):
        run(tmp_path / "broken.json")


def test_only_who_manages_may(project, run):
    ann = make_member(project)
    with pytest.raises(CommandError):
        run("--as", ann.email, labels=NEXT)
    assert project.schemas.count() == 1
