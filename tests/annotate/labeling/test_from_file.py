"""Answers of people from a file mean labels as the rows of an import do."""

from pathlib import Path

import pytest

from annotate.labeling import from_file
from annotate.models import Annotation, Item
from tests.factories import make_member, make_project, owner_of, write_jsonl
from tests.rows import make_items, make_round

pytestmark = pytest.mark.django_db
CASES = Path(__file__).parents[2] / "cases"


@pytest.fixture
def project():
    """A round that asks about the items of int_answers.jsonl, with Ann among the members."""
    project = make_project(labels=("-1", "0", "1"))
    ids = ["093", "009", "094", "092", "007", "86", "118"]
    items = make_items(project, n=len(ids))
    for item, name in zip(items, ids, strict=True):
        Item.objects.filter(pk=item.pk).update(external_id=name)
    make_round(project, items)
    ann = make_member(project)
    ann.email = "ann@example.org"
    ann.save()
    return project


def read(project, path):
    return from_file.import_annotations(project=project, path=path, by=owner_of(project))


def test_integers_are_labels(project):
    result = read(project, CASES / "int_answers.jsonl")
    assert (result.n_stored, result.refused) == (7, [])
    said = Annotation.objects.order_by("entry__position").values_list("label__name", flat=True)
    assert list(said) == ["1", "1", "1", "-1", "0", "0", "0"]


def test_a_value_that_means_no_label_is_named(project, tmp_path):
    rows = [{"id": "093", "annotator": "ann@example.org", "label": label} for label in (2, True, None, ["0", "1"])]
    result = read(project, write_jsonl(tmp_path / "answers.jsonl", rows))
    assert result.n_stored == 0
    assert [reason for _line, reason in result.refused] == [
        "'2' is not one of the labels: -1, 0, 1",
        "'true' is not one of the labels: -1, 0, 1",
        "'null' is not one of the labels: -1, 0, 1",
        """'["0","1"]' names several labels; an item has one: -1, 0, 1""",
    ]
